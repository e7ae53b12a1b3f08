import { afterEach, beforeEach, expect, it } from 'vitest';
import { connectPg, failure } from '../proxy/support.ts';
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts';
import { superuser } from './postgres.ts';

let proxy: FaultProxy;
beforeEach(async () => {
  const { host, port } = superuser();
  proxy = await startFaultProxy({ target: { host, port } });
});
afterEach(() => proxy.close());

const connect = () => connectPg({ ...superuser(), host: proxy.host, port: proxy.port });

it('passes everything on, whole, and ends with its ends', async () => {
  const client = await connect();
  const { rows } = await client.query("SELECT repeat('x', 5000000) AS text, pg_backend_pid() AS pid");
  expect(rows[0]?.['text']).toHaveLength(5_000_000);
  expect(proxy.connections()).toBe(1);
  await client.end();
  await expect.poll(() => proxy.connections()).toBe(0);
});

it('cuts what is there, and lets new connections through', async () => {
  const client = await connect();
  const running = failure(client.query('SELECT pg_sleep(5)'));
  proxy.cut();
  expect((await running).message).toMatch(/ECONNRESET|terminated/);
  const again = await connect();
  expect((await again.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  await again.end();
});

it('is away until it is told to come back', async () => {
  proxy.away();
  expect((await failure(connect())).message).toMatch(/ECONNRESET|terminated/);
  proxy.resume();
  await (await connect()).end();
});

it('stalls without a word, and goes on where it was', async () => {
  const client = await connect();
  proxy.stall();
  let answered = false;
  const running = client.query('SELECT 1 AS one').then(({ rows }) => {
    answered = true;
    return rows;
  });
  const late = connect();
  await new Promise((done) => setTimeout(done, 300));
  expect(answered).toBe(false);
  proxy.resume();
  expect(await running).toEqual([{ one: 1 }]);
  for (const one of [client, await late]) await one.end();
});

it.each(['before', 'after'] as const)('cuts %s a word that is said', async (when) => {
  const table = `said_${when}`;
  const client = await connect();
  await client.query(`DROP TABLE IF EXISTS ${table}`);
  const cut = proxy.cutWhen((said, connection) => connection === 1 && said.includes('CREATE'), when);
  const failed = failure(client.query(`CREATE TABLE ${table} ()`));
  await cut;
  expect((await failed).message).toMatch(/ECONNRESET|terminated/);
  // Once only.
  const again = await connect();
  const { rows } = await again.query(`SELECT to_regclass('${table}') IS NOT NULL AS there`);
  expect(rows).toEqual([{ there: when === 'after' }]);
  await again.query(`DROP TABLE IF EXISTS ${table}`);
  await again.end();
});

it.each(['before', 'after'] as const)('stalls %s a word that is said, and breaks nothing', async (when) => {
  const table = `stalled_${when}`;
  const client = await connect();
  let ended = false;
  client.on('end', () => {
    ended = true;
  });
  const opening: string[] = [];
  const stalled = proxy.stallWhen((said, _connection, first) => {
    opening.push(first);
    return said.includes('CREATE');
  }, when);
  const running = failure(client.query(`CREATE TABLE ${table} ()`));
  await stalled;
  expect(opening.every((first) => first.includes('postgres'))).toBe(true);
  const direct = await connectPg(superuser());
  const { rows } = await direct.query(`SELECT to_regclass('${table}') IS NOT NULL AS there`);
  expect(rows).toEqual([{ there: when === 'after' }]);
  expect(ended).toBe(false);
  await direct.query(`DROP TABLE IF EXISTS ${table}`);
  await direct.end();
  proxy.cut();
  expect((await running).message).toMatch(/ECONNRESET|terminated/);
});
