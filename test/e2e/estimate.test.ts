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

/** Sends, and takes everything until the server has ended the connection. */
async function untilEnd(client: RawClient, ...frames: Buffer[]) {
  client.send(...frames);
  const came = await client.until(() => false, 60_000);
  const last = came.at(-1) ?? Buffer.alloc(0);
  return { came, rows: rowsIn(came), error: decodeErrorFields(last) };
}

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

describe.each(FOOLED)('a planner that is fooled by %s', (_why, sql) => {
  it('lets 1,000 rows out and no more, in a simple query', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    const { rows, error, came } = await untilEnd(client, Q(sql));
    expect(rows).toBe(1_000);
    expect(types(came)).toBe(`T${'D'.repeat(1_000)}E`);
    expect(error).toMatchObject({
      S: 'FATAL',
      C: '54000',
      M: 'countersign: the result is larger than 1000 rows, so it was stopped and the session ended',
      D: expect.stringContaining("by the planner's estimate. 1000 rows of"),
    });
    await eventually(async () =>
      expect(await audited(sql)).toMatchObject({
        class: 'read',
        decision: 'allow',
        outcome: 'failed',
        rows: 1_000,
        sqlstate: '54000',
      }),
    );
  });

  it('nor in an extended one', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    const { rows, error, came } = await untilEnd(client, P(sql), B(), E(), S);
    expect([rows, error['C']]).toEqual([1_000, '54000']);
    expect(types(came)).toBe(`12${'D'.repeat(1_000)}E`);
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
    const end = await untilEnd(client, E('p', 300), S);
    expect([end.rows, end.error['C']]).toEqual([100, '54000']);
  });
});

describe('the end of a session', () => {
  it('in a pipeline: what came before is whole, what comes after is not answered', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    const { rows, error, came } = await untilEnd(
      client,
      ...[P('SELECT 1'), B(), E(), S],
      ...[P(CORRELATED), B(), E(), S],
      ...[P('SELECT 2'), B(), E(), S],
    );
    expect([rows, error['C']]).toEqual([1_001, '54000']);
    expect(types(came)).toBe(`12DCZ12${'D'.repeat(1_000)}E`);
  });

  it('in a transaction: it is rolled back', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    client.send(Q('BEGIN'), Q('INSERT INTO notes VALUES (1)'));
    await client.ready(2);
    const { rows } = await untilEnd(client, Q(CORRELATED));
    expect(rows).toBe(1_000);
    const left = () => stack.shop.query('SELECT count(*)::int AS n FROM notes');
    const running = () =>
      stack.shop.query(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'SELECT id, a FROM fooled%'`,
      );
    await eventually(async () => expect((await running()).rows).toEqual([]));
    expect((await left()).rows).toEqual([{ n: 0 }]);
  });

  it('in a string: earlier results are whole', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    const { error, came } = await untilEnd(client, Q(`SELECT 1; ${STALE}; SELECT 2`));
    expect(error['C']).toBe('54000');
    expect(types(came)).toBe(`TDCT${'D'.repeat(1_000)}E`);
  });

  it('comes before too many bytes, however few the rows', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    const { rows, error, came } = await untilEnd(client, Q(WIDE));
    const bytes = came.filter((frame) => frame[0] === 0x44).reduce((sum, frame) => sum + frame.length - 5, 0);
    expect(bytes).toBeLessThanOrEqual(1024 * 1024);
    expect(bytes).toBeGreaterThan(900_000);
    expect(rows).toBe(16);
    expect(error).toMatchObject({
      C: '54000',
      M: expect.stringContaining('larger than 1048576 bytes'),
      H: expect.stringContaining('name fewer columns'),
    });
  });

  it('is nothing to other sessions', async () => {
    const other = new pg.Client({ connectionString: stack.agentUrl });
    await other.connect();
    const pid = (await other.query('SELECT pg_backend_pid() AS pid')).rows;
    const clients = await Promise.all([1, 2, 3].map(() => RawClient.connect(stack.agentUrl)));
    const ends = Promise.all(clients.map((client) => untilEnd(client, Q(CORRELATED))));
    for (let i = 0; i < 50; i++) await other.query('SELECT count(*) FROM groups');
    expect((await ends).map(({ rows }) => rows)).toEqual([1_000, 1_000, 1_000]);
    expect((await other.query('SELECT pg_backend_pid() AS pid')).rows).toEqual(pid);
    await other.end();
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
