import { readdirSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AuditRoles, migrateAudit } from '../../src/audit/migrate.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { createDatabase } from '../support/postgres.ts';
import { makeStream } from './stream-maker.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  dropRoles,
  intent,
  makeSigner,
  outcome,
  testRoles,
} from './support.ts';

const MIGRATIONS = readdirSync(new URL('../../src/audit/schema/', import.meta.url)).length;

let database: AuditDatabase;
const clients: Record<string, pg.Client> = {};

beforeAll(async () => {
  database = await createAuditDatabase();
  for (const [name, url] of Object.entries({
    writer: database.writerUrl,
    auditor: database.auditorUrl,
    superuser: database.url,
  })) {
    clients[name] = new pg.Client(url);
    await clients[name].connect();
  }
  const made = makeStream(makeSigner());
  await run('writer', appendCall('audit', made.start()));
  await run('writer', appendCall('audit', made.batch([intent(1), outcome(1)])));
});
afterAll(async () => {
  for (const client of Object.values(clients)) await client.end();
  await database.dropAll();
});

async function run(
  who: string,
  query: string | { text: string; values: unknown[] },
): Promise<pg.QueryResult> {
  const client = clients[who];
  if (client === undefined) throw new Error(`no client ${who}`);
  return await client.query(query);
}

/** The rights that a role has on a table or view. */
async function rightsOn(who: 'writer' | 'auditor', name: string): Promise<string[]> {
  const all = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'];
  const { rows } = await database.query(
    `SELECT "right" FROM unnest($3::text[]) "right" WHERE has_table_privilege($1, $2, "right")`,
    [database.roles[who].name, `audit.${name}`, all],
  );
  return rows.map((row) => row.right);
}

const REFUSED = expect.objectContaining({ code: '42501' });
const TABLES = ['entry', 'stream', 'batch', 'signing_key', 'migration', 'redacted'];
const VIEWS = [
  'statements',
  'events',
  'approvals',
  'exports',
  'schema_changes',
  'privilege_changes',
  'denials',
];
const MORE_VIEWS = [
  'agents',
  'unapproved_exceptions',
  'integrity',
  'entries',
  'streams',
  'batches',
  'signing_keys',
  'observed',
  'observed_by_rule',
  'interrupted',
  'policies',
  'approver_load',
  'sessions',
  'refused_logins',
  'configuration_changes',
  'key_events',
  'log_reads',
  'log_access',
  'gaps',
  'signed_approvals',
  'segregation_of_duties',
  'executed_without_approval',
  'legal_holds',
  'retentions',
  'dropped_ranges',
  'redactions',
  'redacted_rows',
  'request_differences',
];

describe('the writer', () => {
  test.each([...TABLES, ...VIEWS, ...MORE_VIEWS])('has no right on %s', async (name) => {
    await expect(run('writer', `SELECT * FROM audit.${name}`)).rejects.toEqual(REFUSED);
    expect(await rightsOn('writer', name)).toEqual([]);
  });
  test.each(['verify()', "ensure_day('2026-01-01')", "field('x'::text)"])('cannot call %s', async (call) => {
    await expect(run('writer', `SELECT audit.${call}`)).rejects.toEqual(REFUSED);
  });
  test('cannot make objects in the schema', async () => {
    await expect(run('writer', 'CREATE TABLE audit.x (i int)')).rejects.toEqual(REFUSED);
  });
});

describe('the auditor', () => {
  test.each([...VIEWS, ...MORE_VIEWS])('reads %s, and has no other right on it', async (name) => {
    await expect(run('auditor', `SELECT * FROM audit.${name}`)).resolves.toBeDefined();
    expect(await rightsOn('auditor', name)).toEqual(['SELECT']);
  });
  test.each(TABLES)('has no right on the table %s', async (name) => {
    for (const sql of [
      `SELECT * FROM audit.${name}`,
      `DELETE FROM audit.${name}`,
      `TRUNCATE audit.${name}`,
    ]) {
      await expect(run('auditor', sql)).rejects.toEqual(REFUSED);
    }
  });
  test('cannot append', async () => {
    await expect(run('auditor', "SELECT * FROM audit.append('x')")).rejects.toEqual(REFUSED);
  });
  test('verifies, also where his search_path holds other functions and operators', async () => {
    await run(
      'superuser',
      `
      CREATE SCHEMA hostile;
      CREATE FUNCTION hostile.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT '\\x00'::bytea $$;
      CREATE FUNCTION hostile.no(bytea, bytea) RETURNS boolean LANGUAGE sql AS 'SELECT true';
      CREATE FUNCTION hostile.no(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true';
      CREATE OPERATOR hostile.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = hostile.no);
      CREATE OPERATOR hostile.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = hostile.no);
      CREATE OPERATOR hostile.<> (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = hostile.no);
      GRANT USAGE ON SCHEMA hostile TO ${database.roles.auditor.name}`,
    );
    await run('auditor', 'SET search_path = hostile, pg_catalog');
    await run(
      'superuser',
      `ALTER TABLE audit.entry DISABLE TRIGGER append_only;
      UPDATE audit.entry SET agent = 'x' WHERE seq = 3; ALTER TABLE audit.entry ENABLE ALWAYS TRIGGER append_only`,
    );
    const found = await run(
      'auditor',
      `SELECT seq::int, "check" FROM audit.verify() WHERE NOT ok AND seq IS NOT NULL`,
    );
    expect(found.rows).toEqual([{ seq: 3, check: 'row_hash' }]);
    await run('auditor', 'RESET search_path');
  });
});

describe('even a superuser', () => {
  const appendOnly = expect.objectContaining({ message: expect.stringContaining('append-only') });
  test.each([
    'UPDATE audit.entry SET agent = agent',
    'DELETE FROM audit.entry',
    'TRUNCATE audit.entry',
    'DELETE FROM audit.batch',
    'TRUNCATE audit.batch',
    'DELETE FROM audit.signing_key',
    'DELETE FROM audit.stream',
    'TRUNCATE audit.stream CASCADE',
  ])('is refused %s', async (sql) => {
    await expect(run('superuser', sql)).rejects.toEqual(appendOnly);
    await expect(run('superuser', `SET session_replication_role = replica; ${sql}`)).rejects.toEqual(
      appendOnly,
    );
    await run('superuser', 'RESET session_replication_role');
  });
  test('is refused to empty a single day', async () => {
    const { rows } = await run(
      'superuser',
      `SELECT tableoid::regclass::text AS day FROM audit.entry LIMIT 1`,
    );
    await expect(run('superuser', `TRUNCATE ${rows[0].day}`)).rejects.toEqual(appendOnly);
  });
  test('is refused to move a head back', async () => {
    await expect(run('superuser', 'UPDATE audit.stream SET head_seq = 1')).rejects.toEqual(REFUSED);
  });
});

describe('migrations', () => {
  test('three at once, then again, make one schema', async () => {
    const fresh = await createDatabase('audit');
    const roles: AuditRoles = testRoles();
    const migrate = () => migrateAudit({ admin: fresh.url, schema: 'evidence', roles });
    const results = await Promise.all([migrate(), migrate(), migrate()]);
    expect(results.map(({ applied }) => applied.length).sort()).toEqual([0, 0, MIGRATIONS]);
    expect((await migrate()).applied).toEqual([]);
    expect((await fresh.query('SELECT count(*)::int AS n FROM evidence.integrity')).rows).toEqual([{ n: 0 }]);
    await fresh.drop();
    await dropRoles(roles);
  });
  test('refuse a schema that belongs to somebody else, and names that could be more than names', async () => {
    const fresh = await createDatabase('audit');
    const roles = testRoles();
    await fresh.query('CREATE SCHEMA taken');
    await expect(migrateAudit({ admin: fresh.url, schema: 'taken', roles })).rejects.toEqual(
      expect.objectContaining({ code: 'audit_schema_taken' }),
    );
    await expect(migrateAudit({ admin: fresh.url, schema: `a"b'`, roles })).rejects.toEqual(
      expect.objectContaining({ code: 'audit_name' }),
    );
    await fresh.drop();
    await dropRoles(roles);
  });
  test('work for an administrator who is no superuser', async () => {
    const fresh = await createDatabase('audit');
    const roles = testRoles();
    const admin = `${roles.owner}_admin`;
    await fresh.query(
      `CREATE ROLE ${admin} LOGIN CREATEROLE PASSWORD 'admin-secret'; GRANT CREATE ON DATABASE ${fresh.name} TO ${admin}`,
    );
    const url = new URL(fresh.url);
    url.username = admin;
    url.password = 'admin-secret';
    const { applied } = await migrateAudit({ admin: url.toString(), schema: 'audit', roles });
    expect(applied.length).toBe(MIGRATIONS);
    await fresh.drop();
    await dropRoles(roles);
    await database.query(`DROP ROLE ${admin}`);
  });
});
