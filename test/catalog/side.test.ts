import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectCatalog } from '../../src/catalog/connect.ts';
import { openSideConnection, ProbeFailed, type SideConnection } from '../../src/catalog/side.ts';
import { createDatabase, superuser, type TestDatabase, withClient } from '../support/postgres.ts';

let database: TestDatabase;
let side: SideConnection;
let opened = 0;
const role = `cat_side_${randomBytes(4).toString('hex')}`;

beforeAll(async () => {
  database = await createDatabase('cat_side');
  await database.query(`
    CREATE TABLE things (id integer PRIMARY KEY, name text);
    INSERT INTO things VALUES (1, 'one');
    CREATE TABLE ran (at timestamptz DEFAULT now());
    CREATE FUNCTION side_effect() RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN INSERT INTO ran DEFAULT VALUES; RETURN 1; END $$;
    CREATE SCHEMA app;
    CREATE TABLE app.only_here (id integer);
    CREATE SCHEMA "o""dd, Name";
    CREATE TABLE "o""dd, Name".odd_one (id integer);
    CREATE ROLE ${role};
    GRANT USAGE ON SCHEMA app TO ${role};`);
  side = openSideConnection({
    connect: async () => {
      opened += 1;
      const client = new pg.Client(superuser(database.name));
      await client.connect();
      return client;
    },
    limits: { probeMs: 2_000 },
  });
});
afterAll(async () => {
  await side?.close();
  await database?.drop();
  await withClient(superuser(), (client) => client.query(`DROP ROLE ${role}`));
});

describe('probe', () => {
  test('accepted texts, parameters and utility statements included', async () => {
    expect(await side.probe('SELECT * FROM things WHERE id = $1', ['public'])).toBeNull();
    expect(await side.probe('DROP TABLE things', ['public'])).toBeNull();
    expect(await side.probe('', ['public'])).toBeNull();
    const left = await database.query('SELECT count(*)::int AS n FROM things');
    expect(left.rows).toEqual([{ n: 1 }]);
  });

  test('rejected texts come back in the words of the server', async () => {
    expect(await side.probe('SELEC 1', ['public'])).toMatchObject({
      severity: 'ERROR',
      code: '42601',
      message: 'syntax error at or near "SELEC"',
      position: 1,
    });
    expect(await side.probe('SELECT nmae FROM things', ['public'])).toEqual({
      severity: 'ERROR',
      code: '42703',
      message: 'column "nmae" does not exist',
      detail: null,
      hint: 'Perhaps you meant to reference the column "things.name".',
      position: 8,
      routine: 'errorMissingColumn',
    });
    expect(await side.probe("SELECT 'é', nope()", ['public'])).toMatchObject({ code: '42883', position: 13 });
  });

  test('several statements are rejected, so that none can run', async () => {
    expect(await side.probe('SELECT 1; DROP TABLE things', ['public'])).toMatchObject({ code: '42601' });
    expect(await side.probe('SELECT 1', ['public'])).toBeNull();
  });

  test('nothing is planned and nothing runs', async () => {
    for (const sql of [
      'SELECT side_effect()',
      'SELECT 1 WHERE side_effect() = 1',
      'DELETE FROM things WHERE id = side_effect()',
      'DO $$ BEGIN PERFORM side_effect(); END $$',
      'EXPLAIN ANALYZE SELECT side_effect()',
    ])
      expect(await side.probe(sql, ['public'])).toBeNull();
    const ran = await database.query('SELECT count(*)::int AS n FROM ran');
    expect(ran.rows).toEqual([{ n: 0 }]);
  });

  test('bare names mean what the given search_path says', async () => {
    expect(await side.probe('SELECT * FROM only_here', ['public'])).toMatchObject({ code: '42P01' });
    expect(await side.probe('SELECT * FROM only_here', ['public', 'app'])).toBeNull();
    expect(await side.probe('SELECT * FROM odd_one', ['o"dd, Name'])).toBeNull();
    expect(await side.probe('SELECT * FROM things', [])).toMatchObject({ code: '42P01' });
    expect(await side.probe('SELECT * FROM things', null)).toBeNull();
  });

  test('many at once are answered each with its own', async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        side.probe(i % 2 === 0 ? 'SELECT 1' : `SELECT missing_${i}`, [i % 3 === 0 ? 'app' : 'public']),
      ),
    );
    expect(answers.map((a) => a?.message ?? null)).toEqual(
      Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? null : `column "missing_${i}" does not exist`)),
    );
  });

  test('NUL is refused before it is sent', async () => {
    await expect(side.probe('SELECT 1\0', ['public'])).rejects.toThrow(ProbeFailed);
  });
});

test('a connection that was killed is opened anew', async () => {
  await side.probe('SELECT 1', ['app']);
  const before = opened;
  await database.query(
    `SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  );
  await side.probe('SELECT 1', ['app']).catch(() => undefined);
  expect(await side.probe('SELECT * FROM only_here', ['app'])).toBeNull();
  expect(opened).toBe(before + 1);
});

test('no answer within the time: it fails, the connection is thrown away, the next question works', async () => {
  await withClient(superuser(database.name), async (locker) => {
    await locker.query('BEGIN; LOCK TABLE things');
    const impatient = openSideConnection({
      connect: async () => {
        const client = new pg.Client(superuser(database.name));
        await client.connect();
        return client;
      },
      limits: { probeMs: 400 },
    });
    const started = performance.now();
    await expect(impatient.probe('SELECT * FROM things', ['public'])).rejects.toThrow(ProbeFailed);
    expect(performance.now() - started).toBeLessThan(1_500);
    expect(await impatient.probe('SELECT 1', ['public'])).toBeNull();
    await impatient.close();
    await expect(impatient.probe('SELECT 1', ['public'])).rejects.toThrow(ProbeFailed);
  });
});

test('a server that never answers does not keep anybody waiting', async () => {
  const silent = openSideConnection({
    connect: () => new Promise(() => undefined),
    limits: { probeMs: 200 },
  });
  const started = performance.now();
  const results = await Promise.allSettled([silent.probe('SELECT 1', null), silent.probe('SELECT 2', null)]);
  expect(results.map((r) => r.status)).toEqual(['rejected', 'rejected']);
  expect(performance.now() - started).toBeLessThan(1_000);
});

describe('connectCatalog', () => {
  test('catalog, scope and probe as another role', async () => {
    const connected = await connectCatalog(database.url, { role, searchPath: ['$user', 'app', 'missing'] });
    expect(connected.scope).toEqual({ searchPath: ['app'], tempPossible: false });
    expect(connected.catalog.relation('app', 'only_here')?.kind).toBe('table');
    expect(await connected.probe('SELECT * FROM only_here')).toBeNull();
    expect(await connected.probe('SELECT * FROM things')).toMatchObject({ code: '42P01' });
    await connected.close();
  });

  test('the path of the connection itself; unknown where pg_catalog is named behind others', async () => {
    const plain = await connectCatalog(database.url);
    expect(plain.scope.searchPath).toEqual(['public']);
    await plain.close();
    const behind = await connectCatalog(database.url, { searchPath: ['app', 'pg_catalog'] });
    expect(behind.scope.searchPath).toBeNull();
    await behind.close();
  });

  test('a wrong address is an error', async () => {
    await expect(connectCatalog('postgres://nobody:x@127.0.0.1:1/none')).rejects.toThrow(/ECONNREFUSED/);
  });
});
