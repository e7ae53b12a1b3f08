import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../support/stack.ts';

/** An overload in the path that nobody wants to call, and a table of which only the planner knows how much comes back. */
const SAMPLE = `
CREATE TABLE trail (id integer);
INSERT INTO trail VALUES (1);
CREATE FUNCTION lower(n integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN DELETE FROM trail; RETURN n; END $$;
CREATE TABLE big (id integer PRIMARY KEY, n integer) WITH (autovacuum_enabled = off);
INSERT INTO big SELECT i, i FROM generate_series(1, 50000) i;
ANALYZE;`;

let stack: Stack;
let client: pg.Client;
beforeAll(async () => {
  stack = await startStack({ sample: SAMPLE, limits: { holdTimeoutMs: 60_000 } });
  client = new pg.Client({ connectionString: stack.agentUrl });
  client.on('error', () => {});
  await client.connect();
}, 120_000);
afterAll(async () => {
  await client.end();
  await stack.close();
});

/** Held, and then denied. */
async function denied(sql: string, mark: string): Promise<void> {
  const running = client.query(sql).then(
    () => null,
    (error: pg.DatabaseError) => error.code,
  );
  const { id } = await stack.api.waitFor(mark);
  await stack.api.verdict(id, 'deny');
  expect(await running).toBe('42501');
}

it('a call of the built-in flows in EXPLAIN and PREPARE, and one of the overload is held', async () => {
  await client.query("EXPLAIN ANALYZE SELECT lower('ABC')");
  await client.query('PREPARE low (text) AS SELECT lower($1) AS low');
  expect((await client.query("EXECUTE low('ABC')")).rows).toEqual([{ low: 'abc' }]);
  await denied('EXPLAIN ANALYZE SELECT lower(7) AS explained', 'explained');
  await denied('PREPARE lower_one (int) AS SELECT lower($1)', 'lower_one');
  expect((await stack.shop.query('SELECT count(*)::int AS n FROM trail')).rows).toEqual([{ n: 1 }]);
}, 90_000);

it('a cursor over what the planner expects to be small flows, and one over all of it is held', async () => {
  await client.query('BEGIN');
  await client.query('DECLARE few CURSOR FOR SELECT n FROM big WHERE n < 20');
  expect((await client.query('FETCH 5 FROM few')).rowCount).toBe(5);
  expect((await client.query('FETCH ALL FROM few')).rowCount).toBe(14);
  await denied('DECLARE all_of_it CURSOR FOR SELECT n FROM big WHERE n > 20', 'all_of_it');
  await client.query('ROLLBACK');
  await client.query('PREPARE a_few AS SELECT n FROM big WHERE n < 20');
  expect((await client.query('EXECUTE a_few')).rowCount).toBe(19);
}, 90_000);
