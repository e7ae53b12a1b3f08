import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../support/stack.ts';

const SAMPLE = `
CREATE TABLE products (id integer PRIMARY KEY, name text);
INSERT INTO products SELECT i, 'p' || i FROM generate_series(1, 20) i;
CREATE VIEW cheap AS SELECT id, name FROM products WHERE id < 5;`;

let stack: Stack;
let client: pg.Client;
beforeAll(async () => {
  stack = await startStack({
    sample: SAMPLE,
    config: (config) => ({ ...config, analysis: { secondOpinion: 'hold' } }),
    limits: { holdTimeoutMs: 60_000, secondOpinionMs: 20_000 },
  });
  client = new pg.Client({ connectionString: stack.agentUrl });
  client.on('error', () => {});
  await client.connect();
}, 120_000);
afterAll(async () => {
  await client.end();
  await stack.close();
});

it('what both read alike flows, and so does what the second one cannot read', async () => {
  expect((await client.query('SELECT name FROM products WHERE id = 3')).rows).toEqual([{ name: 'p3' }]);
  expect((await client.query('SELECT name FROM cheap WHERE id = $1', [3])).rows).toEqual([{ name: 'p3' }]);
  await client.query('BEGIN');
  await client.query('DECLARE c CURSOR FOR SELECT id FROM products');
  expect((await client.query('FETCH 2 FROM c')).rowCount).toBe(2);
  await client.query('COMMIT');
  expect((await client.query("UPDATE products SET name = 'x' WHERE id = 4")).rowCount).toBe(1);
  const [row] = await stack.audited(
    "SELECT count(*)::int AS held FROM audit.statements WHERE decision <> 'allow'",
  );
  expect(row).toEqual({ held: 0 });
}, 90_000);

it('what the second one reads otherwise is held, with a plain reason, however it is sent', async () => {
  // It takes ONLY for a table.
  const sql = 'SELECT name FROM ONLY products WHERE id =';
  const told: (string | undefined)[] = [];
  client.on('notice', (notice) => told.push(notice.detail));
  for (const run of [() => client.query(`${sql} 5`), () => client.query(`${sql} $1`, [6])]) {
    const running = run().then(
      ({ rows }) => rows,
      (error: pg.DatabaseError) => error.code,
    );
    const { id, class: found } = await stack.api.waitFor(sql);
    expect(found).toBe('unparsed');
    const approved = told.length === 1;
    await stack.api.verdict(id, approved ? 'approve' : 'deny');
    expect(await running).toEqual(approved ? [{ name: 'p5' }] : '42501');
  }
  expect(told).toHaveLength(2);
  for (const detail of told)
    expect(detail).toContain('the second parser reads other tables: also ONLY; not products');
}, 90_000);
