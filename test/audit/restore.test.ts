import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCheckpoint } from '../../src/audit/checkpoints/checkpoint.ts';
import { verifyEvidence } from '../../src/audit/evidence/verify-folder.ts';
import { writeEvidence } from '../../src/audit/evidence/write-folder.ts';
import { type AuditRoles, migrateAudit } from '../../src/audit/migrate.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded/launcher.ts';
import { binariesOf } from '../support/majors.ts';
import { testRoles } from './support.ts';
import { FIXTURE, type Fixture } from './tampering/make.ts';

const run = promisify(execFile);
const { keys, checkpoint, log, cases }: Fixture = JSON.parse(readFileSync(FIXTURE, 'utf8'));
const kept = parseCheckpoint(checkpoint) ?? undefined;

/** pg_dump refuses servers that are newer than itself. */
const NATIVE = binariesOf(15);
const CAN_DUMP = NATIVE !== null && (await dumps());

async function dumps(): Promise<boolean> {
  try {
    return Number(/\) (\d+)/.exec((await run('pg_dump', ['--version'])).stdout)?.[1]) >= 15;
  } catch {
    return false;
  }
}

describe.skipIf(!CAN_DUMP)('a dump of the audit schema', () => {
  let directory: string;
  let server: EmbeddedPostgres;
  let admin: pg.Client;
  const roles: AuditRoles = testRoles();

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'cs-restore-'));
    chmodSync(directory, 0o755);
    server = await startEmbeddedPostgres({
      directory,
      password: 'test-superuser',
      ...(NATIVE === null ? {} : { native: NATIVE }),
      settings: { fsync: 'off' },
    });
    admin = await connected('postgres');
    await admin.query('CREATE DATABASE source');
    await admin.query(`CREATE ROLE outsider LOGIN PASSWORD 'outside'`);
    await migrateAudit({ admin: urlOf('source'), schema: 'audit', roles });
    const source = await connected('source');
    await source.query(`SET ROLE ${roles.owner}`);
    await source.query(`SELECT audit.ensure_day('2026-03-01'), audit.ensure_day('2026-03-02')`);
    await source.query('RESET ROLE');
    await source.query(log.join(';'));
    await source.end();
    await dump('plain.sql');
    await dump('nobodys.sql', '--no-owner', '--no-privileges');
    await dump('data.sql', '--data-only', '--load-via-partition-root', '--exclude-table=audit.migration');
    // Where it is restored nobody knows our roles.
    for (const name of [roles.owner, roles.writer.name, roles.auditor.name])
      await admin.query(`ALTER ROLE ${name} RENAME TO gone_${name}`);
  });
  afterAll(async () => {
    await admin?.end();
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  const urlOf = (database: string, user = 'postgres', password = 'test-superuser') =>
    `postgres://${user}:${password}@127.0.0.1:${server.port}/${database}`;

  async function connected(database: string): Promise<pg.Client> {
    const client = new pg.Client(urlOf(database));
    await client.connect();
    return client;
  }

  const dump = (file: string, ...options: string[]) =>
    run('pg_dump', ['-n', 'audit', ...options, '-f', join(directory, file), urlOf('source')]);

  /** A new database of somebody without any special right, with the dump in it; returns its address and psql's complaints. */
  async function restored(database: string, file: string, ...options: string[]) {
    await admin.query(`CREATE DATABASE ${database} OWNER outsider`);
    const url = urlOf(database, 'outsider', 'outside');
    const { stderr } = await run('psql', ['-X', '-q', ...options, '-f', join(directory, file), url]);
    return { url, complaints: stderr };
  }

  async function bySql(url: string): Promise<string[]> {
    const client = new pg.Client(url);
    await client.connect();
    try {
      const { rows } = await client.query(
        `SELECT "check", stream, seq FROM audit.verify(keys => $1, checkpoint => $2, "full" => true) WHERE NOT ok`,
        [JSON.stringify(keys), checkpoint],
      );
      return rows.filter(({ seq }) => seq !== null).map((row) => `${row.check} ${row.stream} ${row.seq}`);
    } finally {
      await client.end();
    }
  }

  async function byProgram(url: string): Promise<string[]> {
    const { findings, rows } = await verifyLog({ url, schema: 'audit', keys, checkpoint: kept });
    expect(rows).toBeGreaterThan(20);
    return findings.map((one) => `${one.check} ${one.stream} ${one.seq}`);
  }

  test('is restored without a complaint by somebody who has none of our roles, and proves itself', async () => {
    const { url } = await restored('nobodys', 'nobodys.sql', '-v', 'ON_ERROR_STOP=1');
    expect(await bySql(url)).toEqual([]);
    expect(await byProgram(url)).toEqual([]);
    const client = new pg.Client(url);
    await client.connect();
    const { rows: views } = await client.query('SELECT count(*)::int AS n FROM audit.statements');
    expect(views[0].n).toBeGreaterThan(4);
    // Append-only there, too: triggers that are always on came with it.
    await client.query("SET session_replication_role = 'origin'").catch(() => {});
    await expect(client.query(`UPDATE audit.entry SET agent = 'x'`)).rejects.toThrow('append-only');
    await client.end();
  });

  test('gives evidence to a role of the auditor’s own, which may read and nothing else', async () => {
    const owner = await connected('nobodys');
    await owner.query(`CREATE ROLE auditor_own LOGIN PASSWORD 'own';
      GRANT USAGE ON SCHEMA audit TO auditor_own;
      GRANT SELECT ON ALL TABLES IN SCHEMA audit TO auditor_own`);
    await owner.end();
    const out = join(directory, 'evidence');
    const { verification } = await writeEvidence({
      ...{ url: urlOf('nobodys', 'auditor_own', 'own'), schema: 'audit', out, keys, version: '1' },
      period: { from: new Date('2026-03-01T23:59:00Z'), to: new Date('2026-03-02T00:00:06Z') },
    });
    expect(verification).toMatchObject({ whole: true, findings: [] });
    const checked = await verifyEvidence({ directory: out, keys, checkpoint: kept });
    expect(checked).toMatchObject({ whole: true, findings: [] });
  }, 120_000);

  test('shows what was done to it', async () => {
    const one = cases.find(({ name }) => name === 'a text edited');
    const owner = await connected('nobodys');
    await owner.query('ALTER TABLE audit.entry DISABLE TRIGGER ALL');
    for (const statement of one?.sql ?? []) await owner.query(statement);
    await owner.end();
    const wanted = one?.finds.map(([check, stream, seq]) => `${check} ${stream} ${seq}`);
    expect(wanted).toHaveLength(1);
    const url = urlOf('nobodys', 'outsider', 'outside');
    expect(await bySql(url)).toEqual(wanted);
    expect(await byProgram(url)).toEqual(wanted);
  });

  test('made without options complains of nothing but missing roles', async () => {
    const { url, complaints } = await restored('plain', 'plain.sql');
    const errors = complaints.split('\n').filter((line) => line.includes('ERROR'));
    expect(errors.length).toBeGreaterThan(0);
    expect(errors.filter((line) => !/role "audit_\w+" does not exist/.test(line))).toEqual([]);
    expect(await bySql(url)).toEqual([]);
    expect(await byProgram(url)).toEqual([]);
  });

  test('of the data alone goes into a schema whose functions are not the dump’s', async () => {
    await admin.query('CREATE DATABASE data');
    await migrateAudit({ admin: urlOf('data'), schema: 'audit', roles: testRoles() });
    const own = await connected('data');
    await own.query(`SELECT audit.ensure_day('2026-03-01'), audit.ensure_day('2026-03-02')`);
    await own.end();
    await run('psql', [
      '-X',
      '-q',
      '-v',
      'ON_ERROR_STOP=1',
      '-f',
      join(directory, 'data.sql'),
      urlOf('data'),
    ]);
    expect(await bySql(urlOf('data'))).toEqual([]);
    expect(await byProgram(urlOf('data'))).toEqual([]);
  });
});
