import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AuditUnavailable } from '../../src/audit/entry.ts';
import { type OpenAuditLog, openAuditLog } from '../../src/audit/log/log.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  event,
  intent,
  makeSigner,
  outcome,
  QUIET,
  temporaryDirectory,
} from './support.ts';

let database: AuditDatabase;
const root = temporaryDirectory();
const signer = makeSigner();

beforeAll(async () => {
  database = await createAuditDatabase();
});
afterAll(async () => {
  await database.dropAll();
  rmSync(root, { recursive: true, force: true });
});

function open(
  change: { directory?: string; url?: string; journalBytes?: number } = {},
): Promise<OpenAuditLog> {
  return openAuditLog({
    directory: change.directory ?? root,
    url: change.url ?? database.writerUrl,
    schema: 'audit',
    limits: { journalBytes: change.journalBytes ?? 64 * 1024 * 1024, journalSyncMs: 50 },
    log: QUIET,
    signer,
  });
}

const findings = async () => (await database.query('SELECT * FROM audit.verify() WHERE NOT ok')).rows;
const rowsOf = async (stream: string) =>
  (await database.query('SELECT seq::int, kind FROM audit.entry WHERE stream = $1 ORDER BY seq', [stream]))
    .rows;

test('entries become rows, the log says when it ends, and the journal is gone then', async () => {
  const log = await open();
  log.append(intent(1));
  const seq = log.append(outcome(1));
  expect(seq).toBe(4n);
  await log.committed(seq);
  expect(log.stats()).toMatchObject({ lagEntries: 0, journalBytes: 0, shippedEntries: 4, awayMs: 0 });
  log.append(intent(2));
  await log.close();
  expect(await rowsOf(log.stream)).toEqual([
    { seq: 1, kind: 'log_start' },
    { seq: 2, kind: 'key' },
    { seq: 3, kind: 'intent' },
    { seq: 4, kind: 'outcome' },
    { seq: 5, kind: 'intent' },
    { seq: 6, kind: 'outcome' },
    { seq: 7, kind: 'log_stop' },
  ]);
  const { rows } = await database.query(
    'SELECT outcome FROM audit.statements WHERE stream = $1 ORDER BY seq',
    [log.stream],
  );
  expect(rows).toEqual([{ outcome: 'executed' }, { outcome: 'unknown' }]);
  expect(existsSync(join(root, log.stream))).toBe(false);
  expect(() => log.append(event('policy'))).toThrow(AuditUnavailable);
  expect(await findings()).toEqual([]);
});

test('many segments are shipped, reused and deleted', async () => {
  const log = await open({ journalBytes: 2 * 1024 * 1024 });
  const big = 'x'.repeat(3_000);
  for (let i = 1; i <= 2_000; i += 1) {
    log.append(intent(i, { sql: `SELECT ${i} -- ${big}` }));
    log.append(outcome(i));
    log.write();
    if (i % 50 === 0) await log.committed(BigInt(i * 2 + 2));
  }
  await log.committed(4_002n);
  expect(readdirSync(join(root, log.stream)).filter((name) => name.endsWith('.segment')).length).toBeLessThan(
    4,
  );
  await log.close();
  expect((await rowsOf(log.stream)).length).toBe(4_003);
  expect(await findings()).toEqual([]);
});

test('a huge statement is one row, and nothing else waits for it for ever', async () => {
  const log = await open();
  const sql = `SELECT '${'ä'.repeat(5_000_000)}'`;
  log.append(intent(1, { sql }));
  await log.committed(log.append(outcome(1)));
  await log.close();
  const { rows } = await database.query(
    'SELECT octet_length(sql)::int AS bytes FROM audit.statements WHERE stream = $1',
    [log.stream],
  );
  expect(rows).toEqual([{ bytes: Buffer.byteLength(sql) }]);
});

test('past its limit the journal takes no new statement, but the outcomes of those that run', async () => {
  const log = await open({
    url: 'postgres://nobody:x@127.0.0.1:1/none',
    journalBytes: 64 * 1024,
    directory: temporaryDirectory(),
  });
  let taken = 0;
  const fill = () => {
    for (; taken < 10_000; taken += 1) log.append(intent(taken));
  };
  expect(fill).toThrow(expect.objectContaining({ name: 'AuditUnavailable', code: 'audit_journal_full' }));
  expect(taken).toBeGreaterThan(100);
  expect(log.healthy()).toBe(false);
  // Strangers can have themselves refused as often as they like.
  expect(() => {
    for (let i = 0; i < 10_000; i += 1) log.append(event('login_refused'));
  }).toThrow(AuditUnavailable);
  log.append(outcome(0));
  await expect(log.close()).resolves.toBeUndefined();
}, 20_000);
