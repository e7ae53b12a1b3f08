import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import pg from 'pg';
import { quoteName } from './quote-name.ts';

/** The roles of the audit schema. Those with a password can log in; without one a role is left as it is. */
export type AuditRoles = {
  /** Owns everything; cannot log in. */
  readonly owner: string;
  /** The proxy's: EXECUTE on `append`, nothing else. */
  readonly writer: { readonly name: string; readonly password: string | null };
  /** SELECT on the views and EXECUTE on `verify`. */
  readonly auditor: { readonly name: string; readonly password: string | null };
};

export const DEFAULT_AUDIT_ROLES: AuditRoles = {
  owner: 'countersign_audit_owner',
  writer: { name: 'countersign_audit_writer', password: null },
  auditor: { name: 'countersign_auditor', password: null },
};

export type MigrateOptions = {
  /** A role that may create schemas and roles: a URL, or a connected client that stays open. */
  readonly admin: string | pg.Client;
  readonly schema: string;
  readonly roles?: AuditRoles;
};

export type MigrationResult = { readonly applied: readonly string[]; readonly present: readonly string[] };

/** A migration cannot be done, and what to do about it. */
export class MigrationFailed extends Error {
  override readonly name = 'MigrationFailed';
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Brings the audit schema up to date: roles, schema, every migration that is not there yet, each in a transaction of
 * its own. An advisory lock lets one process in at a time, so several may start at once. Throws `MigrationFailed`.
 */
export async function migrateAudit(options: MigrateOptions): Promise<MigrationResult> {
  const roles = options.roles ?? DEFAULT_AUDIT_ROLES;
  for (const name of [options.schema, roles.owner, roles.writer.name, roles.auditor.name]) checkName(name);
  if (typeof options.admin !== 'string') return migrate(options.admin, options.schema, roles);
  const client = new pg.Client({ connectionString: options.admin, application_name: 'countersign migrate' });
  await client.connect();
  try {
    return await migrate(client, options.schema, roles);
  } finally {
    await client.end();
  }
}

async function migrate(client: pg.Client, schema: string, roles: AuditRoles): Promise<MigrationResult> {
  await checkServer(client);
  const lock = `hashtextextended('countersign migrate ${schema}', 0)`;
  await client.query(`SELECT pg_advisory_lock(${lock})`);
  try {
    await createRoles(client, roles);
    await createSchema(client, schema, roles);
    return await applyMissing(client, schema, roles);
  } finally {
    await client.query(`SELECT pg_advisory_unlock(${lock})`);
  }
}

async function checkServer(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ version: number; encoding: string }>(
    `SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding`,
  );
  const server = rows[0];
  if (server === undefined || server.version < 140_000) {
    throw new MigrationFailed('audit_server_too_old', 'the audit database must be PostgreSQL 14 or newer');
  }
  if (server.encoding !== 'UTF8') {
    throw new MigrationFailed(
      'audit_server_encoding',
      `the audit database is encoded in ${server.encoding}; create one with ENCODING 'UTF8'`,
    );
  }
}

/** Roles belong to the whole cluster: another database's migration may create the same one at the same moment. */
async function createRoles(client: pg.Client, roles: AuditRoles): Promise<void> {
  const wanted = [{ name: roles.owner, password: null }, roles.writer, roles.auditor];
  for (const role of wanted) {
    await client.query(`
      DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '${role.name}') THEN
          CREATE ROLE ${quoteName(role.name)} NOLOGIN NOINHERIT;
        END IF;
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END $$`);
    if (role.password !== null) {
      // The verifier, not the password: statements may be logged.
      await client.query(
        `ALTER ROLE ${quoteName(role.name)} LOGIN PASSWORD '${scramVerifier(role.password)}'`,
      );
    }
  }
}

async function createSchema(client: pg.Client, schema: string, roles: AuditRoles): Promise<void> {
  // Since 16, making a role does not include acting as it; whoever made it may grant that, to themselves too.
  const { rows: may } = await client.query<{ may: boolean }>(
    `SELECT pg_catalog.pg_has_role(current_user, $1,
       CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) AS may`,
    [roles.owner],
  );
  if (may[0]?.may !== true) await client.query(`GRANT ${quoteName(roles.owner)} TO CURRENT_USER`);
  await client.query(
    `CREATE SCHEMA IF NOT EXISTS ${quoteName(schema)} AUTHORIZATION ${quoteName(roles.owner)}`,
  );
  const { rows } = await client.query<{ owner: string }>(
    `SELECT nspowner::regrole::text AS owner FROM pg_catalog.pg_namespace WHERE nspname = $1`,
    [schema],
  );
  if (rows[0]?.owner !== roles.owner && rows[0]?.owner !== quoteName(roles.owner)) {
    throw new MigrationFailed(
      'audit_schema_taken',
      `schema ${schema} belongs to ${rows[0]?.owner ?? 'nobody'}, not to ${roles.owner}: choose another audit.schema`,
    );
  }
}

async function applyMissing(
  client: pg.Client,
  schema: string,
  roles: AuditRoles,
): Promise<{ applied: string[]; present: string[] }> {
  const applied: string[] = [];
  const present: string[] = [];
  await inTransaction(client, roles.owner, () =>
    client.query(`
      CREATE TABLE IF NOT EXISTS ${quoteName(schema)}.migration (
        name text PRIMARY KEY, sha256 text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())`),
  );
  for (const migration of migrations()) {
    const { rows } = await client.query<{ sha256: string }>(
      `SELECT sha256 FROM ${quoteName(schema)}.migration WHERE name = $1`,
      [migration.name],
    );
    if (rows[0] !== undefined) {
      present.push(migration.name);
      continue;
    }
    await inTransaction(client, roles.owner, async () => {
      await client.query(fill(migration.sql, schema, roles));
      await client.query(`INSERT INTO ${quoteName(schema)}.migration (name, sha256) VALUES ($1, $2)`, [
        migration.name,
        migration.sha256,
      ]);
    });
    applied.push(migration.name);
  }
  await inTransaction(client, roles.owner, () => makeDaysAhead(client, schema));
  return { applied, present };
}

/** Partitions for today and the days to come, so that appending seldom makes one. */
async function makeDaysAhead(client: pg.Client, schema: string): Promise<void> {
  await client.query(`
    SELECT ${quoteName(schema)}.ensure_day((clock_timestamp() AT TIME ZONE 'UTC')::date + ahead)
      FROM generate_series(0, ${DAYS_AHEAD}) ahead`);
}

/** Partitions made ahead, days. */
const DAYS_AHEAD = 3;

async function inTransaction(client: pg.Client, owner: string, work: () => Promise<unknown>): Promise<void> {
  await client.query('BEGIN');
  try {
    // Whatever the administrator's own settings are: names in what follows mean pg_catalog's.
    await client.query(`SET LOCAL ROLE ${quoteName(owner)}; SET LOCAL search_path = pg_catalog, pg_temp;
      SET LOCAL check_function_bodies = on`);
    await work();
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}

type Migration = { readonly name: string; readonly sql: string; readonly sha256: string };

/** The SQL files beside this one, in the order of their names. */
export function migrations(): Migration[] {
  const directory = new URL('./schema/', import.meta.url);
  return readdirSync(directory)
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .map((name) => {
      const sql = readFileSync(new URL(name, directory), 'utf8');
      return { name, sql, sha256: createHash('sha256').update(sql).digest('hex') };
    });
}

function fill(sql: string, schema: string, roles: AuditRoles): string {
  return sql
    .replaceAll('@schema@', quoteName(schema))
    .replaceAll('@writer@', quoteName(roles.writer.name))
    .replaceAll('@auditor@', quoteName(roles.auditor.name));
}

/** Names come from the configuration; they are also put into string literals of function bodies. */
function checkName(name: string): void {
  if (/^[A-Za-z_][A-Za-z0-9_-]{0,47}$/.test(name) && !name.startsWith('pg_')) return;
  throw new MigrationFailed(
    'audit_name',
    `${JSON.stringify(name)} cannot be used: names in the audit schema are 1 to 48 of letters, digits, _ and -, not beginning with a digit, - or pg_`,
  );
}

/** RFC 5803 form, as pg_authid keeps it. */
function scramVerifier(password: string): string {
  const iterations = 4096;
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, iterations, 32, 'sha256');
  const hmac = (text: string) => createHmac('sha256', salted).update(text).digest();
  const storedKey = createHash('sha256').update(hmac('Client Key')).digest('base64');
  const serverKey = hmac('Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}
