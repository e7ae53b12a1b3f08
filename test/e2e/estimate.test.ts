import pg from 'pg';
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { decodeErrorFields } from '../../src/protocol/backend.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';

/** `a` and `b` are equal, which the planner does not know; `kind` "new" came after ANALYZE; `wide` is mostly TOAST. */
const SAMPLE = `
  CREATE TABLE fooled (id integer PRIMARY KEY, a integer, b integer, kind text) WITH (autovacuum_enabled = off);
  INSERT INTO fooled SELECT i, i % 20, i % 20, 'old' FROM generate_series(1, 60000) i;
  CREATE TABLE wide (id integer PRIMARY KEY, grp integer, body text) WITH (autovacuum_enabled = off);
  INSERT INTO wide SELECT i, i % 3, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 2000) j)
    FROM generate_series(1, 300) i;
  CREATE TABLE groups (grp integer, name text) WITH (autovacuum_enabled = off);
  INSERT INTO groups SELECT i % 30, 'g' || i FROM generate_series(0, 29) i;
  CREATE TABLE notes (id integer);
  ANALYZE;
  INSERT INTO fooled SELECT i, 100, 100, 'new' FROM generate_series(60001, 65000) i;`;

const CORRELATED = 'SELECT id, a FROM fooled WHERE a = 3 AND b = 3';
const STALE = "SELECT id FROM fooled WHERE kind = 'new'";
const WIDE = 'SELECT w.id, w.body FROM wide w JOIN groups g ON g.grp = w.grp';
const FOOLED: readonly (readonly [string, string])[] = [
  ['columns that belong together', CORRELATED],
  ['conditions that it knows nothing of', 'SELECT id FROM fooled WHERE id % 1 = 0 AND id % 1 = 0'],
  ['statistics that are out of date', STALE],
];

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ sample: SAMPLE });
});
afterAll(() => stack.close());

const Q = serialize.query;
const P = (text: string, name = '') => serialize.parse({ text, name });
const B = (portal = '', values: (string | null)[] = [], statement = '') =>
  serialize.bind({ portal, statement, values });
const E = (portal = '', rows = 0) => serialize.execute({ portal, rows });
const S = serialize.sync();

const types = (frames: readonly Buffer[]) =>
  frames.map((frame) => String.fromCharCode(frame[0] ?? 0)).join('');
const rowsIn = (frames: readonly Buffer[]) => frames.filter((frame) => frame[0] === 0x44).length;

const eventually = (holds: () => Promise<void>) => vi.waitFor(holds, { timeout: 20_000, interval: 100 });

async function audited(text: string) {
  const [row] = await stack.audited(
    `SELECT class, decision, outcome, rows::int, sqlstate, reasons FROM audit.statements
     WHERE sql LIKE $1 || '%' ORDER BY seq DESC LIMIT 1`,
    [text],
  );
  return row;
}

describe('a read of a size that only the planner knows', () => {
  it('flows where it expects few rows, as a query and with parameters', async () => {
    const client = new pg.Client({ connectionString: stack.agentUrl });
    await client.connect();
    expect((await client.query('SELECT id FROM fooled WHERE a = 3 AND id > 59900')).rows).toHaveLength(5);
    const sql = 'SELECT id FROM fooled WHERE a = $1 AND id > $2';
    expect((await client.query(sql, [4, 59_900])).rows).toHaveLength(5);
    const { rows } = await client.query(
      'SELECT a, count(*)::int AS n FROM fooled WHERE id <= 60000 GROUP BY a ORDER BY a',
    );
    expect(rows).toHaveLength(20);
    await client.end();
    await eventually(async () =>
      expect(await audited('SELECT id FROM fooled WHERE a = 3 AND id')).toMatchObject({
        class: 'read',
        decision: 'allow',
        outcome: 'executed',
        reasons: [expect.stringMatching(/^reads about \d+ rows by the planner's estimate$/)],
      }),
    );
  });

  it('is held where it expects many, and the approver is told how many', async () => {
    const client = new pg.Client({ connectionString: stack.agentUrl });
    await client.connect();
    const sql = 'SELECT id FROM fooled WHERE id > $1';
    const running = client.query(sql, [100]).catch((error: pg.DatabaseError) => error);
    const request = await stack.api.waitFor(sql);
    const shown = await fetch(`${stack.httpUrl}/api/requests/${request.id}`, {
      headers: { authorization: `Bearer ${stack.approverToken}` },
    });
    expect(await shown.json()).toMatchObject({
      class: 'export',
      reasons: [expect.stringMatching(/^may return about 6\d,\d{3} rows by the planner's estimate/)],
    });
    await stack.api.verdict(request.id, 'approve');
    const result = await running;
    // What a person let pass is not cut short.
    expect(result).toMatchObject({ rowCount: 64_900 });
    // The same statement with other values is another question.
    expect((await client.query(sql, [64_990])).rows).toHaveLength(10);
    await client.end();
  });
});

/** What comes until a person is asked, and the request. */
async function untilAsked(client: RawClient, sql: string, ...frames: Buffer[]) {
  client.send(...frames);
  const came = await client.until((all) => all.some((frame) => frame[0] === 0x4e), 20_000);
  return { came, rows: rowsIn(came), request: await stack.api.waitFor(sql) };
}

/** The rest, up to ReadyForQuery, after an answer. */
async function answered(client: RawClient, id: string, verdict: 'approve' | 'deny') {
  await stack.api.verdict(id, verdict);
  const came = await client.ready();
  const error = came.find((frame) => frame[0] === 0x45);
  return { came, rows: rowsIn(came), error: error === undefined ? null : decodeErrorFields(error) };
}

describe.each(FOOLED)('a planner that is fooled by %s', (_why, sql) => {
  it('lets 1,000 rows out and no more, in a simple query', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    const asked = await untilAsked(client, sql, Q(sql));
    expect(types(asked.came)).toBe(`T${'D'.repeat(1_000)}N`);
    const { came, error } = await answered(client, asked.request.id, 'deny');
    expect(types(came)).toBe('EZ');
    expect(error).toMatchObject({
      S: 'ERROR',
      C: '42501',
      M: 'countersign: denied by approver: test',
      D: expect.stringContaining('The result is not whole: 1000 rows of'),
    });
    await eventually(async () =>
      expect(await audited(sql)).toMatchObject({
        class: 'read',
        decision: 'allow',
        outcome: 'failed',
        rows: 1_000,
        sqlstate: '42501',
      }),
    );
    client.send(Q('SELECT 1'));
    expect(types(await client.ready())).toBe('TDCZ');
    client.close();
  });

  it('nor in an extended one, unless it is approved', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    const asked = await untilAsked(client, sql, P(sql), B(), E(), S);
    expect(types(asked.came)).toBe(`12${'D'.repeat(1_000)}N`);
    const { came } = await answered(client, asked.request.id, 'approve');
    expect(types(came)).toMatch(/^D{1000,}CZ$/);
    client.close();
  });

  it('nor by an Execute for a few rows again and again', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    client.send(Q('BEGIN'), P(sql), B('p'), S);
    await client.ready(2);
    let rows = 0;
    for (let i = 0; i < 3; i++) {
      client.send(E('p', 300), S);
      rows += rowsIn(await client.ready());
    }
    expect(rows).toBe(900);
    const asked = await untilAsked(client, sql, E('p', 300), S);
    expect(asked.rows).toBe(100);
    expect(types((await answered(client, asked.request.id, 'deny')).came)).toBe('EZ');
    client.close();
  });
});

describe('a result that is stopped', () => {
  it('in a pipeline: what came before is whole, and what comes after is answered', async () => {
    // Not the one that was denied just now.
    const sql = `${CORRELATED} -- in a pipeline`;
    const client = await RawClient.connect(stack.agentUrl);
    const asked = await untilAsked(
      client,
      sql,
      ...[P('SELECT 1'), B(), E(), S],
      ...[P(sql), B(), E(), S],
      ...[P('SELECT 2'), B(), E(), S],
    );
    expect(types(asked.came)).toBe(`12DCZ12${'D'.repeat(1_000)}N`);
    await stack.api.verdict(asked.request.id, 'deny');
    expect(types(await client.ready(2))).toBe('EZ12DCZ');
    client.close();
  });

  it('in a string: earlier results are whole', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    const asked = await untilAsked(client, STALE, Q(`SELECT 1; ${STALE}; SELECT 2`));
    expect(types(asked.came)).toBe(`TDCT${'D'.repeat(1_000)}N`);
    expect(types((await answered(client, asked.request.id, 'deny')).came)).toBe('EZ');
    client.close();
  });

  it('comes before too many bytes, however few the rows', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    const { rows, came, request } = await untilAsked(client, WIDE, Q(WIDE));
    const bytes = came.filter((frame) => frame[0] === 0x44).reduce((sum, frame) => sum + frame.length - 5, 0);
    expect(bytes).toBeLessThanOrEqual(1024 * 1024);
    expect(bytes).toBeGreaterThan(900_000);
    expect(rows).toBe(16);
    const { error } = await answered(client, request.id, 'deny');
    expect(error).toMatchObject({ C: '42501', D: expect.stringContaining('16 rows of') });
    client.close();
  });
});

describe('in mode observe', () => {
  let observing: Stack;
  beforeAll(async () => {
    observing = await startStack({ sample: SAMPLE, config: (config) => ({ ...config, mode: 'observe' }) });
  });
  afterAll(() => observing.close());

  it('everything comes, and the row says how much', async () => {
    const client = new pg.Client({ connectionString: observing.agentUrl });
    await client.connect();
    for (const [, sql] of FOOLED) expect((await client.query(sql)).rowCount).toBeGreaterThan(2_000);
    expect((await client.query(WIDE)).rows).toHaveLength(300);
    await client.end();
  });
});
