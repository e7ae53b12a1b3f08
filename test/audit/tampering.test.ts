import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCheckpoint } from '../../src/audit/checkpoints/checkpoint.ts';
import { verifySnapshot } from '../../src/audit/verify/verify-database.ts';
import { exitCodeOf } from '../../src/cli/verify.ts';
import { type AuditDatabase, createAuditDatabase } from './support.ts';
import { FIXTURE, type Fixture, type FixtureCase, fixtureText } from './tampering/make.ts';

const text = readFileSync(FIXTURE, 'utf8');
const { keys, checkpoint, log, cases }: Fixture = JSON.parse(text);
const kept = parseCheckpoint(checkpoint) ?? undefined;

let database: AuditDatabase;
let admin: pg.Client;

beforeAll(async () => {
  database = await createAuditDatabase();
  admin = new pg.Client(database.url);
  await admin.connect();
  await admin.query(`SELECT audit.ensure_day('2026-03-01'), audit.ensure_day('2026-03-02')`);
  await admin.query(TRIGGERS_OFF);
  await admin.query(log.join(';'));
});
afterAll(async () => {
  await admin.end();
  await database.dropAll();
});

const TRIGGERS_OFF = ['entry', 'batch', 'stream', 'signing_key', 'leaf', 'checkpoint']
  .map((table) => `ALTER TABLE audit.${table} DISABLE TRIGGER ALL`)
  .join(';');

/** Does what the case does, as the database's owner; then nothing but the auditor's rights; then takes it back. */
async function after(sql: readonly string[], look: () => Promise<void>): Promise<void> {
  await admin.query('BEGIN');
  try {
    for (const statement of sql) await admin.query(statement);
    await admin.query(`SET LOCAL ROLE ${database.roles.auditor.name}`);
    await look();
  } finally {
    await admin.query('ROLLBACK');
  }
}

type Given = {
  readonly checkpoint?: true;
  readonly range?: readonly [string, string];
  readonly logKeys?: true;
};

async function bySql({ checkpoint: given, range, logKeys }: Given): Promise<string[]> {
  const { rows } = await admin.query(
    `SELECT stream, seq, "check" FROM audit.verify($1, $2, checkpoint => $3, keys => $4, "full" => true)
      WHERE NOT ok AND seq IS NOT NULL`,
    [
      range?.[0] ?? null,
      range?.[1] ?? null,
      given === true ? checkpoint : null,
      logKeys === true ? null : JSON.stringify(keys),
    ],
  );
  return rows.map((row) => `${row.check} ${row.stream} ${row.seq}`);
}

async function byProgram({ checkpoint: given, logKeys }: Given): Promise<string[]> {
  const trusted = logKeys === true ? undefined : keys;
  const result = await verifySnapshot(admin, 'audit', trusted, given === true ? kept : undefined);
  // A row of a version that the program does not know is not checked, and that is said, too.
  const found = result.findings.filter(({ ok }) => ok !== true);
  expect(exitCodeOf(result) === 0).toBe(found.length === 0);
  return found.map((one) => `${one.check} ${one.stream} ${one.seq}`);
}

test('the fixture is what the script makes', () => {
  expect(text === fixtureText()).toBe(true);
  expect(cases.length).toBeGreaterThanOrEqual(36);
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
});

test('the honest log is whole: with and without the checkpoint and the keys', async () => {
  await after([], async () => {
    for (const given of [{}, { checkpoint: true }, { logKeys: true }] as const) {
      expect(await bySql(given)).toEqual([]);
      expect(await byProgram(given)).toEqual([]);
    }
    expect(await bySql({ range: ['2026-03-01 23:59:00+00', '2026-03-02 00:00:06+00'] })).toEqual([]);
  });
});

describe('found by both verifiers', () => {
  test.each(cases.map((one) => [one.name, one] as const))('%s', async (_name, one) => {
    await after(one.sql, () => (one.onlyWithCheckpoint === true ? foundOnlyWithCheckpoint(one) : found(one)));
  });
});

async function found({ finds, within, outside }: FixtureCase): Promise<void> {
  const wanted = finds.map(rowOf);
  expect(wanted.length).toBeGreaterThan(0);
  expect(await byProgram({})).toEqual(expect.arrayContaining(wanted));
  expect(await bySql({})).toEqual(expect.arrayContaining(wanted));
  if (within !== undefined) expect(await bySql({ range: within })).toEqual(expect.arrayContaining(wanted));
  if (outside !== undefined) expect(await bySql({ range: outside })).toEqual([]);
}

async function foundOnlyWithCheckpoint({ finds }: FixtureCase): Promise<void> {
  const wanted = finds.map(rowOf);
  expect(await byProgram({})).toEqual([]);
  expect(await bySql({})).toEqual([]);
  expect(await byProgram({ checkpoint: true })).toEqual(wanted);
  expect(await bySql({ checkpoint: true })).toEqual(wanted);
}

function rowOf([check, stream, seq]: FixtureCase['finds'][number]): string {
  return `${check} ${stream} ${seq}`;
}
