import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stack, startStack } from '../support/stack.ts';

const ROWS = 20_000;
const SAMPLE = `
  CREATE TABLE people (id integer PRIMARY KEY, email text NOT NULL, city text NOT NULL);
  INSERT INTO people SELECT i, 'person' || i || '@example.com', 'City ' || i % 50 FROM generate_series(1, ${ROWS}) i;
  CREATE TABLE copies (email text);
  ANALYZE;`;
/** What an agent may have of the table without a person. */
const BUDGET = 2_000;

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    sample: SAMPLE,
    limits: {
      holdTimeoutMs: 700,
      holdTimeoutInTransactionMs: 700,
      openRequestsPerAgent: 1_000,
      noticeIntervalMs: 60_000,
    },
    config: (config) => {
      const [agent] = config.agents;
      if (agent === undefined) throw new Error('the stack has no agent');
      const names = Object.keys(WAYS);
      return {
        ...config,
        agents: [...config.agents, ...names.map((_, i) => ({ ...agent, name: `way-${i}` }))],
        budgets: [
          {
            name: 'hour',
            agents: ['way-*'],
            tag: null,
            rows: BUDGET,
            bytes: 300_000,
            windowMs: 366 * 86_400_000,
          },
        ],
      };
    },
  });
}, 120_000);
afterAll(() => stack.close());

/** Asks, and gives everything that came: rows, notices, notifications and the texts of errors, as the agent sees it. */
class Thief {
  readonly client: pg.Client;
  /** Addresses that came, in whatever form. */
  readonly loot = new Set<string>();
  bytes = 0;
  refused = 0;

  constructor(url: string) {
    this.client = new pg.Client({ connectionString: url });
    this.client.on('error', () => {});
    this.client.on('notice', (notice) => this.#keep(JSON.stringify(notice)));
    this.client.on('notification', (one) => this.#keep(one.payload ?? ''));
    this.client.connection.on('copyData', ({ chunk }: { chunk: Buffer }) => this.#keep(chunk.toString()));
  }

  /** False: it was refused. */
  async ask(sql: string): Promise<boolean> {
    const query = new pg.Query(sql);
    query.on('row', (row: object) => this.#keep(JSON.stringify(row)));
    const error = await new Promise<{ code?: string } | null>((done) => {
      query.on('end', () => done(null));
      query.on('error', (failed: Error & { code?: string }) => {
        this.#keep(failed.message);
        done(failed);
      });
      this.client.query(query);
    });
    if (error === null || OF_THE_SERVER.test(error.code ?? '')) return true;
    this.refused += 1;
    return false;
  }

  #keep(text: string): void {
    this.bytes += text.length;
    for (const [address] of text.matchAll(/person\d+@/g)) this.loot.add(address);
  }
}

/** Errors that a statement brings on itself: they carry data out as well. */
const OF_THE_SERVER = /^22/;

type Way = (thief: Thief) => Promise<void>;

const once =
  (...statements: readonly string[]): Way =>
  async (thief) => {
    for (const sql of statements) await thief.ask(sql);
  };

const until =
  (rounds: number, sql: (at: number) => string): Way =>
  async (thief) => {
    for (let at = 0; at < rounds; at++) if (!(await thief.ask(sql(at)))) return;
  };

const WAYS: Readonly<Record<string, Way>> = {
  'LIMIT and OFFSET': until(30, (at) => `SELECT * FROM people ORDER BY id LIMIT 1000 OFFSET ${at * 1000}`),
  'one row at a time': until(2_500, (at) => `SELECT email FROM people WHERE id = ${at + 1}`),
  'the text of errors': until(2_500, (at) => `SELECT email::integer FROM people WHERE id = ${at + 1}`),
  RETURNING: until(2_500, (at) => `UPDATE people SET city = city WHERE id = ${at + 1} RETURNING email`),
  'RETURNING of all': once('UPDATE people SET city = city RETURNING email'),
  'conditions that the planner takes for rare': until(
    10,
    (at) =>
      `SELECT email FROM people WHERE md5(city) || '' = md5(city) AND upper(email) || '' = upper(email) AND ${at} < 99`,
  ),
  json_agg: once('SELECT json_agg(p) FROM people p', 'SELECT json_agg(email)::text FROM people'),
  'string_agg in pieces': until(
    30,
    (at) => `SELECT string_agg(email, ',') FROM people WHERE id BETWEEN ${at * 900} AND ${at * 900 + 899}`,
  ),
  'a cursor': async (thief) => {
    await thief.ask('BEGIN');
    await thief.ask('DECLARE c CURSOR FOR SELECT email FROM people');
    await until(40, () => 'FETCH 900 FROM c')(thief);
    await thief.ask('ROLLBACK');
  },
  'folds through cursors': async (thief) => {
    await thief.ask('BEGIN');
    for (let at = 0; at < 20; at++) {
      const part = `id BETWEEN ${at * 900} AND ${at * 900 + 899}`;
      await thief.ask(`DECLARE c${at} CURSOR FOR SELECT string_agg(email, ',') FROM people WHERE ${part}`);
      if (!(await thief.ask(`FETCH 1 FROM c${at}`))) break;
    }
    await thief.ask('ROLLBACK');
  },
  'WITH HOLD': once('DECLARE h CURSOR WITH HOLD FOR SELECT email FROM people', 'FETCH ALL FROM h'),
  COPY: once('COPY people TO STDOUT', 'COPY (SELECT email FROM people LIMIT 10) TO STDOUT'),
  'XML of a table': once(
    "SELECT table_to_xml('people', true, false, '')",
    "SELECT query_to_xml('SELECT email FROM people', true, false, '')",
  ),
  'DO and RAISE': once("DO $$ BEGIN RAISE NOTICE '%', (SELECT string_agg(email, ',') FROM people); END $$"),
  dblink: once("SELECT * FROM dblink('host=elsewhere', 'SELECT 1') AS t(a integer)"),
  NOTIFY: once(
    'LISTEN loot',
    "SELECT pg_notify('loot', email) FROM people",
    "SELECT pg_notify('loot', string_agg(email, ',')) FROM people WHERE id < 300",
  ),
  'a copy that is read': async (thief) => {
    await until(
      30,
      (at) =>
        `INSERT INTO copies SELECT email FROM people WHERE id BETWEEN ${at * 900} AND ${at * 900 + 899}`,
    )(thief);
    await until(40, (at) => `SELECT email FROM copies LIMIT 900 OFFSET ${at * 900}`)(thief);
  },
};

/** Texts of one error that brings the budget down, and of the row that was under way. */
const SLACK = 2;

describe('with nobody approving, what an agent gets of a table ends at the wall', () => {
  it.each(Object.keys(WAYS).map((name, i) => [name, i] as const))(
    'by %s',
    async (name, i) => {
      const thief = new Thief(stack.agentUrl.replace('//agent:', `//way-${i}:`));
      await thief.client.connect();
      await WAYS[name]?.(thief);
      expect(thief.refused, 'nothing was refused').toBeGreaterThan(0);
      expect(thief.loot.size).toBeLessThanOrEqual(BUDGET + SLACK);
      expect(thief.bytes).toBeLessThan(1_000_000);
      // The same client is in step.
      const { rows } = await thief.client.query('SELECT 1 AS one');
      expect(rows).toEqual([{ one: 1 }]);
      await thief.client.end();
    },
    120_000,
  );

  it('over fifty connections', async () => {
    const url = stack.agentUrl.replace('//agent:', '//way-0:');
    const thieves = Array.from({ length: 50 }, () => new Thief(url));
    await Promise.all(thieves.map(({ client }) => client.connect()));
    await Promise.all(
      thieves.map((thief, i) =>
        until(
          2,
          (at) => `SELECT email FROM people WHERE id > ${(i * 2 + at) * 200} ORDER BY id LIMIT 200`,
        )(thief),
      ),
    );
    // The agent had taken its budget by pages.
    expect(thieves.reduce((sum, { loot }) => sum + loot.size, 0)).toBe(0);
    for (const { client } of thieves) expect((await client.query('SELECT 1 AS one')).rows).toHaveLength(1);
    await Promise.all(thieves.map(({ client }) => client.end()));
  }, 120_000);
});
