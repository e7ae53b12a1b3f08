import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../support/stack.ts';

/** `tidy` and `lower` of other types than the calls below name, in the path, and not what anybody wants to call. */
const SAMPLE = `
CREATE TABLE trail (id integer);
INSERT INTO trail VALUES (1);
CREATE FUNCTION tidy(n integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN DELETE FROM trail; RETURN n; END $$;
CREATE FUNCTION lower(n integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN DELETE FROM trail; RETURN n; END $$;`;
const AS_BEFORE =
  'CREATE OR REPLACE FUNCTION tidy(n integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN DELETE FROM trail; RETURN n; END $$';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ sample: SAMPLE, limits: { holdTimeoutMs: 60_000, requestLifetimeMs: 120_000 } });
}, 120_000);
afterAll(() => stack.close());

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stack.agentUrl });
  client.on('error', () => {});
  await client.connect();
  return client;
}
const failure = (running: Promise<unknown>) =>
  running.then(
    () => null,
    (error: pg.DatabaseError) => error,
  );
const rows = async () => Number((await stack.shop.query('SELECT count(*) AS n FROM trail')).rows[0].n);

it('a call of the built-in flows, however the overload of a user is called; a call of that is held', async () => {
  const client = await connect();
  expect((await client.query("SELECT lower('ABC') AS low")).rows).toEqual([{ low: 'abc' }]);
  expect((await client.query('SELECT lower($1) AS low', ['ABC'])).rows).toEqual([{ low: 'abc' }]);
  const held = failure(client.query('SELECT lower(7) AS held_one'));
  const { id } = await stack.api.waitFor('held_one');
  await stack.api.verdict(id, 'deny');
  expect(await held).toMatchObject({ code: '42501' });
  expect(await rows()).toBe(1);
  await client.end();
}, 60_000);

it('an overload that fits better, made while people thought, withdraws the approval', async () => {
  const client = await connect();
  const running = failure(client.query('SELECT tidy(3::smallint) AS shadowed'));
  const { id } = await stack.api.waitFor('shadowed');
  await stack.shop.query(
    'CREATE FUNCTION tidy(n smallint) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN DELETE FROM trail; RETURN 0; END $$',
  );
  await stack.api.verdict(id, 'approve');
  expect(await running).toMatchObject({
    code: '42501',
    detail: expect.stringContaining('something else'),
  });
  expect(await rows()).toBe(1);
  await stack.shop.query('DROP FUNCTION tidy(smallint)');
  await client.end();
}, 60_000);

it('another body, made while people thought, withdraws the approval', async () => {
  const client = await connect();
  const running = failure(client.query('SELECT tidy(4) AS rewritten'));
  const { id } = await stack.api.waitFor('rewritten');
  await stack.shop.query(AS_BEFORE.replace('trail;', 'trail WHERE true;'));
  // The proxy looks for changes by others every two seconds.
  await new Promise((done) => setTimeout(done, 8_000));
  await stack.api.verdict(id, 'approve');
  expect(await running).toMatchObject({
    code: '42501',
    detail: expect.stringContaining('something else'),
  });
  expect(await rows()).toBe(1);
  await stack.shop.query(AS_BEFORE);
  await client.end();
}, 60_000);

it('what still means the same is released', async () => {
  const client = await connect();
  await new Promise((done) => setTimeout(done, 4_000));
  const running = client.query('SELECT tidy(5) AS released');
  const { id } = await stack.api.waitFor('released');
  await stack.api.verdict(id, 'approve');
  expect((await running).rows).toEqual([{ released: 5 }]);
  expect(await rows()).toBe(0);
  await client.end();
}, 60_000);
