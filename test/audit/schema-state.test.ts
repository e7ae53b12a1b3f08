import { Command } from 'commander';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { migrateAudit, migrations } from '../../src/audit/migrate.ts';
import { quoteName } from '../../src/audit/quote-name.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { auditCommand } from '../../src/cli/audit.ts';
import { createDatabase, withClient } from '../support/postgres.ts';
import { ago, oldStream, statement } from './old-log.ts';
import { type AuditDatabase, createAuditDatabase, dropRoles, makeSigner, testRoles } from './support.ts';

let database: AuditDatabase;
beforeAll(async () => {
  database = await createAuditDatabase();
});
afterAll(() => database.dropAll());

/** Output and exit code, or the error's message and what the program would end with. */
async function audit(...words: string[]): Promise<{ said: string; code: number }> {
  const program = new Command().exitOverride();
  auditCommand(program);
  let said = '';
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    said += String(text);
    return true;
  });
  try {
    await program.parseAsync(['node', 'countersign', 'audit', ...words]);
    return { said, code: Number(process.exitCode ?? 0) };
  } catch (error) {
    return { said: String(error), code: Number(Reflect.get(Object(error), 'exitCode')) };
  } finally {
    write.mockRestore();
    process.exitCode = undefined;
  }
}

const status = (...more: string[]) => audit('status', '--url', database.auditorUrl, ...more);

test('a schema of this version, without a stream', async () => {
  expect(await status()).toEqual({ said: '0 streams\n', code: 0 });
});

test('no schema, another database, another role, no server: what to change, in one line', async () => {
  const none = await status('--schema', 'nowhere');
  expect(none.code).toBe(2);
  expect(none.said).toContain('no audit schema nowhere');
  const wrong = async (url: string) => {
    const { said, code } = await audit('status', '--url', url);
    expect(code).toBe(2);
    return said;
  };
  expect(await wrong(database.auditorUrl.replace('auditor-secret', 'wrong'))).toContain(
    'the audit database: password',
  );
  expect(await wrong(database.auditorUrl.replace(/[^/]*$/, 'nowhere'))).toContain('"nowhere" does not exist');
  expect(await wrong('postgres://nobody@127.0.0.1:1/nowhere')).toContain('ECONNREFUSED');
  expect(await wrong('http://127.0.0.1/x')).toContain('begins with postgres://');
  expect(await wrong(database.writerUrl)).toContain("the auditors' role");
  const { said, code } = await audit('status', '--config', '/nowhere.yaml');
  expect(code).toBe(2);
  expect(said).toContain('--url');
});

test('migrations as a role that may not: which role it takes', async () => {
  const { said, code } = await audit('migrate', '--url', database.auditorUrl, '--schema', 'other');
  expect(code).toBe(2);
  expect(said).toContain('may create roles');
});

test('a schema behind, ahead, and of another text', async () => {
  const change = async (sql: string) => {
    await database.query(sql);
    return status();
  };
  const last = migrations().at(-1)?.name ?? '';
  const before = await database.query(`SELECT * FROM audit.migration WHERE name = '${last}'`);
  const behind = await change(`DELETE FROM audit.migration WHERE name = '${last}'`);
  expect(behind).toMatchObject({ code: 1, said: expect.stringContaining(`SCHEMA BEHIND: 1 changes`) });
  const sha256 = before.rows[0]?.['sha256'];
  const ahead = await change(
    `INSERT INTO audit.migration (name, sha256) VALUES ('${last}', '${sha256}'), ('900-later.sql', 'x')`,
  );
  expect(ahead).toMatchObject({ code: 1, said: expect.stringContaining('SCHEMA AHEAD') });
  expect(ahead.said).not.toContain('BEHIND');
  const other = await change(
    `DELETE FROM audit.migration WHERE name = '900-later.sql';
     UPDATE audit.migration SET sha256 = 'x' WHERE name = '001-tables.sql'`,
  );
  expect(other).toMatchObject({ code: 1, said: expect.stringContaining('SCHEMA DIFFERS: 001-tables.sql') });
});

test('a log begun with the first ten migrations is whole after all of them', async () => {
  const old = await createDatabase('audit');
  const roles = testRoles();
  const signer = makeSigner();
  try {
    await withClient({ connectionString: old.url }, async (client) => {
      await beginOld(client, roles);
      const stream = oldStream(signer, ago(3));
      for (const batch of [
        stream.start(),
        stream.batch([...statement(1, ago(3, 13)), ...statement(2, ago(0, 0))]),
      ])
        await client.query(appendCall('audit', batch));
    });
    const { present, applied } = await migrateAudit({ admin: old.url, schema: 'audit', roles });
    expect(present).toHaveLength(10);
    expect(applied.length).toBeGreaterThan(10);
    const found = await verifyLog({
      url: old.url,
      schema: 'audit',
      keys: { keys: [signer.publicJwk], revoked: [] },
    });
    expect(found).toMatchObject({ whole: true, rows: 7, findings: [] });
    const { rows } = await old.query('SELECT * FROM audit.verify("full" => true) WHERE NOT ok');
    expect(rows).toEqual([]);
    const { rows: statements } = await old.query('SELECT outcome FROM audit.statements');
    expect(statements).toEqual([{ outcome: 'executed' }, { outcome: 'executed' }]);
  } finally {
    await old.drop();
    await dropRoles(roles);
  }
});

/** As the runner did when there were ten. */
async function beginOld(client: pg.Client, roles: ReturnType<typeof testRoles>): Promise<void> {
  const { owner, writer, auditor } = roles;
  for (const name of [owner, writer.name, auditor.name]) await client.query(`CREATE ROLE ${quoteName(name)}`);
  await client.query(`CREATE SCHEMA audit AUTHORIZATION ${owner};
    SET ROLE ${owner}; SET search_path = pg_catalog, pg_temp;
    CREATE TABLE audit.migration (
      name text PRIMARY KEY, sha256 text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())`);
  for (const { name, sql, sha256 } of migrations().slice(0, 10)) {
    await client.query(
      sql
        .replaceAll('@schema@', 'audit')
        .replaceAll('@writer@', writer.name)
        .replaceAll('@auditor@', auditor.name),
    );
    await client.query('INSERT INTO audit.migration (name, sha256) VALUES ($1, $2)', [name, sha256]);
  }
  await client.query('RESET ROLE');
}
