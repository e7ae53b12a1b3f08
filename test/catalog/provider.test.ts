import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest';
import { type CatalogProvider, startCatalog } from '../../src/catalog/provider.ts';
import { createDatabase, superuser, type TestDatabase } from '../support/postgres.ts';

// Looks and readings take a fixed share of the time at most, so on a busy machine they are further apart.
vi.setConfig({ testTimeout: 60_000 });

let database: TestDatabase;
const running: CatalogProvider[] = [];
const LIMITS = { catalogRefreshMs: 60_000, catalogStaleMs: 60_000 };

beforeAll(async () => {
  database = await createDatabase('cat_provider');
  await database.query(
    'CREATE TABLE t (id integer PRIMARY KEY); CREATE SCHEMA old_name CREATE TABLE inside ()',
  );
});
afterEach(async () => {
  for (const provider of running.splice(0)) await provider.close();
});
afterAll(async () => {
  await database?.drop();
});

type Line = { level: string; fields: object; message: string };

async function start(
  options: { checkMs?: number; limits?: typeof LIMITS; connect?: () => Promise<pg.Client> } = {},
): Promise<{ provider: CatalogProvider; lines: Line[] }> {
  const lines: Line[] = [];
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields, message });
  };
  const provider = await startCatalog({
    connect: options.connect ?? connect,
    limits: options.limits ?? LIMITS,
    checkMs: options.checkMs ?? 60_000,
    log: { info: at('info'), warn: at('warn'), error: at('error') },
  });
  running.push(provider);
  return { provider, lines };
}

async function connect(): Promise<pg.Client> {
  const client = new pg.Client(superuser(database.name));
  await client.connect();
  return client;
}

test('is loaded when it has started, and tells so', async () => {
  const { provider, lines } = await start();
  expect(provider.current()?.relation('public', 't')?.kind).toBe('table');
  expect(lines).toEqual([expect.objectContaining({ level: 'info', message: 'catalog: read from upstream' })]);
});

test('refresh sees DDL that was done before it was called', async () => {
  const { provider } = await start();
  const before = provider.current();
  await provider.refresh();
  expect(provider.current()).toBe(before);
  await database.query('CREATE TABLE made_now (id integer)');
  await provider.refresh();
  expect(provider.current()?.relation('public', 'made_now')).toBeDefined();
  expect(before?.relation('public', 'made_now')).toBeUndefined();

  // Also where another refresh is already under way, whose snapshot may be older.
  const first = provider.refresh();
  await database.query('CREATE TABLE made_during (id integer)');
  await provider.refresh();
  expect(provider.current()?.relation('public', 'made_during')).toBeDefined();
  await first;
});

test.each([
  [
    'a trigger',
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
  ],
  ['a trigger switched off', 'ALTER TABLE t DISABLE TRIGGER g'],
  ['a column renamed', 'ALTER TABLE t RENAME COLUMN id TO ident'],
  [
    'a function replaced',
    "CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
  ],
  ['a policy', 'CREATE POLICY p ON t USING (true)'],
  ['a cast', 'CREATE TYPE e AS ENUM (); CREATE CAST (e AS json) WITH INOUT'],
  ['a schema renamed', 'ALTER SCHEMA old_name RENAME TO new_name'],
  ['a table dropped', 'DROP TABLE IF EXISTS made_now'],
])('the change check sees %s made by somebody else', async (_, ddl) => {
  const { provider } = await start({ checkMs: 20 });
  const before = provider.current();
  expect(before?.objects).toBeDefined();
  await database.query(ddl);
  await vi.waitFor(() => expect(provider.current()?.version).not.toBe(before?.version), {
    timeout: 40_000,
    interval: 10,
  });
  expect(provider.current()?.objects).not.toBe(before?.objects);
});

test('a check that finds no change keeps it true for longer than the stale time', async () => {
  const { provider } = await start({
    checkMs: 50,
    limits: { catalogRefreshMs: 60_000, catalogStaleMs: 2_000 },
  });
  const before = provider.current();
  await new Promise((done) => setTimeout(done, 2_600));
  expect(provider.current()).toBe(before);
  expect(before).not.toBeNull();
});

test('by age it is read again, which sees rows that nobody analysed', async () => {
  const { provider } = await start({ checkMs: 20, limits: { catalogRefreshMs: 50, catalogStaleMs: 60_000 } });
  await database.query('CREATE TABLE filled (id integer) WITH (autovacuum_enabled = false)');
  await provider.refresh();
  expect(provider.current()?.relation('public', 'filled')?.rows).toBe(0);
  const { version, objects } = provider.current() ?? {};
  await database.query('INSERT INTO filled SELECT generate_series(1, 3000)');
  await vi.waitFor(
    () => expect(provider.current()?.relation('public', 'filled')?.rows).toBeGreaterThanOrEqual(3_000),
    { timeout: 40_000, interval: 20 },
  );
  // Statements of the same names mean the same still.
  expect(provider.current()?.version).not.toBe(version);
  expect(provider.current()?.objects).toBe(objects);
});

test('stale is null', async () => {
  const { provider } = await start({ limits: { catalogRefreshMs: 60_000, catalogStaleMs: 150 } });
  await provider.refresh();
  await vi.waitFor(() => expect(provider.current()).toBeNull(), { timeout: 40_000, interval: 10 });
});

test('never loaded is null, said in the log, and mended when upstream is there', async () => {
  let up = false;
  const { provider, lines } = await start({
    checkMs: 20,
    connect: async () => {
      if (!up) throw new Error('nobody listens');
      return await connect();
    },
  });
  expect(provider.current()).toBeNull();
  expect(lines[0]).toMatchObject({ level: 'error', fields: { err: { message: 'nobody listens' } } });
  up = true;
  await vi.waitFor(() => expect(provider.current()).not.toBeNull(), { timeout: 40_000, interval: 10 });
});

test('a refresh that fails leaves nothing that may be outdated', async () => {
  let up = true;
  const { provider, lines } = await start({
    connect: async () => {
      if (!up) throw new Error('nobody listens');
      return await connect();
    },
  });
  expect(provider.current()).not.toBeNull();
  up = false;
  await database.query(
    'SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
  );
  await provider.refresh();
  expect(provider.current()).toBeNull();
  expect(lines.map((line) => line.level)).toContain('error');
  up = true;
  await provider.refresh();
  expect(provider.current()).not.toBeNull();
});
