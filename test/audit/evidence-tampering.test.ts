import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parseCheckpoint } from '../../src/audit/checkpoints/checkpoint.ts';
import { verifyEvidence } from '../../src/audit/evidence/verify-folder.ts';
import type { Period } from '../../src/audit/evidence/views.ts';
import { type Evidence, writeSnapshot } from '../../src/audit/evidence/write-folder.ts';
import { type AuditDatabase, createAuditDatabase } from './support.ts';
import { FIXTURE, type Fixture, type FixtureCase } from './tampering/make.ts';

// Many files, each on disk before it counts.
vi.setConfig({ testTimeout: 120_000 });

/** The tampering table once more: of each log a folder is made, which by itself must show what was done to the log. */
const { keys, checkpoint, log, cases }: Fixture = JSON.parse(readFileSync(FIXTURE, 'utf8'));
const kept = parseCheckpoint(checkpoint) ?? undefined;
const ALL: Period = { from: new Date('2026-03-01'), to: new Date('2026-03-03') };
const root = mkdtempSync(join(tmpdir(), 'cs-evidence-tampering-'));
let database: AuditDatabase;
let admin: pg.Client;
let number = 0;

beforeAll(async () => {
  database = await createAuditDatabase();
  admin = new pg.Client(database.url);
  await admin.connect();
  await admin.query(`SELECT audit.ensure_day('2026-03-01'), audit.ensure_day('2026-03-02')`);
  for (const table of ['entry', 'batch', 'stream', 'signing_key', 'leaf', 'checkpoint'])
    await admin.query(`ALTER TABLE audit.${table} DISABLE TRIGGER ALL`);
  await admin.query(log.join(';'));
  // Signatures in SQL take their time, and what is held against the table here is the program's.
  await admin.query(`CREATE OR REPLACE FUNCTION audit.verify("from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL,
    checkpoint text DEFAULT NULL, keys jsonb DEFAULT NULL, "full" boolean DEFAULT false)
    RETURNS TABLE (stream text, seq bigint, "check" text, ok boolean, detail text)
    LANGUAGE sql AS $$ SELECT NULL::text, NULL::bigint, NULL::text, true, NULL::text $$`);
});
afterAll(async () => {
  await admin.end();
  await database.dropAll();
  rmSync(root, { recursive: true, force: true });
});

/** A folder of that period, made with the auditor's rights of the log after these statements, which are taken back. */
async function folderAfter(sql: readonly string[], period = ALL): Promise<Evidence & { directory: string }> {
  number += 1;
  const directory = join(root, String(number));
  mkdirSync(directory);
  await admin.query('BEGIN');
  try {
    for (const statement of sql) await admin.query(statement);
    await admin.query(`SET LOCAL ROLE ${database.roles.auditor.name}`);
    const options = { schema: 'audit', period, keys, version: '1' };
    return { ...(await writeSnapshot(admin, directory, options)), directory };
  } finally {
    await admin.query('ROLLBACK');
  }
}

/** What the folder shows by itself; not what its manifest says of the log. */
async function shownBy(directory: string, withCheckpoint = false): Promise<string[]> {
  const result = await verifyEvidence({ directory, keys, checkpoint: withCheckpoint ? kept : undefined });
  const found = result.findings.filter(({ ok, check }) => ok !== true && check !== 'log');
  return found.map(({ check, stream, seq }) => `${check} ${stream} ${seq}`);
}

test.each([
  ['all of it', ALL],
  ['a minute before midnight', { from: new Date('2026-03-01T23:59:00Z'), to: new Date('2026-03-02') }],
  ['some seconds after it', { from: new Date('2026-03-02'), to: new Date('2026-03-02T00:00:07Z') }],
  ['a time before it', { from: new Date('2026-02-01'), to: new Date('2026-03-01') }],
  ['a time after it', { from: new Date('2026-03-03'), to: new Date('2026-04-01') }],
])('the honest log is whole: %s', async (_name, period) => {
  const { directory, verification } = await folderAfter([], period);
  expect(verification.whole).toBe(true);
  expect((await verifyEvidence({ directory, keys, checkpoint: kept })).findings).toEqual([]);
});

describe('shown by the folder', () => {
  test.each(cases.map((one) => [one.name, one] as const))('%s', async (_name, one) => {
    const { directory, verification } = await folderAfter(one.sql);
    expect(verification.whole).toBe(one.onlyWithCheckpoint === true);
    if (one.onlyWithCheckpoint === true) expect(await shownBy(directory)).toEqual([]);
    const shown = await shownBy(directory, one.onlyWithCheckpoint === true);
    expect(shown).toEqual(expect.arrayContaining((one.inFolder ?? one.finds).map(rowOf)));
    rmSync(directory, { recursive: true });
  });
});

function rowOf([check, stream, seq]: FixtureCase['finds'][number]): string {
  return `${check} ${stream} ${seq}`;
}
