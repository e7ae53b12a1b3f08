import { readdirSync, readFileSync } from 'node:fs';
import pg from 'pg';

/**
 * Who owns the schema `countersign`, and who works in it. Both are made if they are missing; neither can log in then.
 * `auditor`: who may read what is there for auditors, if there is such a role.
 */
export type ApprovalRoles = { readonly owner: string; readonly writer: string; readonly auditor?: string };

const SCHEMA_LOCK = 0x63737267;

/**
 * Brings the schema `countersign` up to date, each file of `schema/` once, in one transaction. `client` is connected
 * with `audit.adminUrl`: it must be able to make roles and schemas here. Returns the names of the files applied.
 */
export async function migrateApprovals(
  client: pg.ClientBase,
  roles: ApprovalRoles,
): Promise<readonly string[]> {
  await client.query('BEGIN');
  try {
    await client.query('SELECT pg_advisory_xact_lock($1)', [SCHEMA_LOCK]);
    await prepareRoles(client, roles);
    const applied = await applyFiles(client, roles);
    await client.query('COMMIT');
    return applied;
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}

async function prepareRoles(client: pg.ClientBase, { owner, writer }: ApprovalRoles): Promise<void> {
  for (const role of [owner, writer]) {
    const { rowCount } = await client.query('SELECT FROM pg_catalog.pg_roles WHERE rolname = $1', [role]);
    if (rowCount === 0) await client.query(`CREATE ROLE ${quoted(role)} NOLOGIN`);
  }
  // Since 16, making a role does not include acting as it; whoever made it may grant that, to themselves too.
  const { rows } = await client.query<{ may: boolean }>(
    `SELECT pg_has_role(current_user, $1,
       CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) AS may`,
    [owner],
  );
  if (rows[0]?.may !== true) await client.query(`GRANT ${quoted(owner)} TO CURRENT_USER`);
  await client.query(`CREATE SCHEMA IF NOT EXISTS countersign AUTHORIZATION ${quoted(owner)}`);
}

async function applyFiles(client: pg.ClientBase, roles: ApprovalRoles): Promise<readonly string[]> {
  await client.query(`SET LOCAL ROLE ${quoted(roles.owner)}`);
  await client.query(`CREATE TABLE IF NOT EXISTS countersign.migration (
    file text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())`);
  const { rows } = await client.query('SELECT file FROM countersign.migration');
  const done = new Set(rows.map((row: { file: string }) => row.file));
  const directory = new URL('./schema/', import.meta.url);
  const files = readdirSync(directory)
    .filter((name) => name.endsWith('.sql') && !done.has(name))
    .sort();
  for (const file of files) {
    const text = readFileSync(new URL(file, directory), 'utf8');
    await client.query(
      text
        .replaceAll('{{owner}}', quoted(roles.owner))
        .replaceAll('{{writer}}', quoted(roles.writer))
        .replaceAll('{{auditor}}', quoted(roles.auditor ?? roles.owner))
        // No role has an empty name.
        .replaceAll('{{auditor_name}}', pg.escapeLiteral(roles.auditor ?? '')),
    );
    await client.query('INSERT INTO countersign.migration (file) VALUES ($1)', [file]);
  }
  await client.query('RESET ROLE');
  return files;
}

function quoted(name: string): string {
  return pg.escapeIdentifier(name);
}
