/** Who can reach the journal, or has the writer's password, against what the journal still holds. */
import { chmodSync, existsSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { JournalRefused } from '../../src/audit/journal/stream-directory.ts';
import { openAuditLog } from '../../src/audit/log/log.ts';
import { appendCall, type Head, headCall, signBatch } from '../../src/audit/shipping/batch.ts';
import { entryRow } from '../../src/audit/shipping/row.ts';
import { createStreamKey } from '../../src/audit/shipping/stream-key.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  intent,
  makeSigner,
  QUIET,
  temporaryDirectory,
} from './support.ts';

let database: AuditDatabase;
let root: string;
const signer = makeSigner();
const AWAY = 'postgres://nobody:x@127.0.0.1:1/none';

beforeEach(async () => {
  database = await createAuditDatabase();
  root = temporaryDirectory();
});
afterEach(async () => {
  await database.dropAll();
  rmSync(root, { recursive: true, force: true });
});

function open(url = database.writerUrl, directory = root) {
  const limits = { journalBytes: 64 * 1024 * 1024, journalSyncMs: 50 };
  return openAuditLog({ directory, url, schema: 'audit', limits, log: QUIET, signer });
}

/** A process that recorded something while the audit database was away, and ended. */
async function ended(directory = root): Promise<string> {
  const log = await open(AWAY, directory);
  log.append(intent(1));
  await log.close();
  return log.stream;
}

const storedOf = async (stream: string) =>
  (await database.query('SELECT count(*)::int AS n FROM audit.entry WHERE stream = $1', [stream])).rows[0].n;

/** Rows after the stream's last one, as somebody with the writer's password can write them. */
async function poison(stream: string, rows: number): Promise<void> {
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  const { rows: heads } = await writer.query(headCall('audit', stream));
  const head: Head = { seq: BigInt(heads[0].head_seq), hash: heads[0].head_hash };
  const forged = Array.from({ length: rows }, (_, i) =>
    entryRow(intent(100 + i), stream, head.seq + BigInt(i) + 1n, Buffer.alloc(16, 1)),
  );
  await writer.query(appendCall('audit', signBatch(head, stream, forged, createStreamKey())));
  await writer.end();
}

test('rows that somebody else appended do not pass for those in the journal, which is kept; others are recovered', async () => {
  const log = await open();
  const first = log.append(intent(1));
  await log.committed(first);
  await poison(log.stream, 50);
  log.append(intent(2, { sql: 'SELECT evidence' }));
  await log.close();
  const other = await ended();

  const next = await open();
  await next.recovered();
  expect(await storedOf(other)).toBeGreaterThan(0);
  const kept = readdirSync(root).filter((name) => name.startsWith(log.stream));
  expect(kept).toHaveLength(1);
  expect(readdirSync(join(root, kept[0] ?? ''))).toContain('00000001.segment');
  await next.close();
}, 120_000);

test.skipIf(process.platform === 'win32')(
  'a journal directory that others can write is refused',
  async () => {
    for (const mode of [0o770, 0o702, 0o777]) {
      chmodSync(root, mode);
      await expect(open()).rejects.toBeInstanceOf(JournalRefused);
      await expect(open()).rejects.toThrow(/can be written by others.*chmod 700/);
    }
    // As Kubernetes hands a volume to the group of a pod.
    chmodSync(root, 0o2770);
    await (await open()).close();
    chmodSync(root, 0o755);
    await (await open()).close();
  },
);

test('a journal of another installation is left alone', async () => {
  const stream = await ended();
  const limits = { journalBytes: 64 * 1024 * 1024, journalSyncMs: 50 };
  const log = await openAuditLog({
    ...{
      directory: root,
      url: database.writerUrl,
      schema: 'audit',
      limits,
      log: QUIET,
      signer: makeSigner(),
    },
    isOurs: (kid) => kid !== signer.kid,
  });
  await log.recovered();
  expect(await storedOf(stream)).toBe(0);
  expect(existsSync(join(root, stream, '00000001.segment'))).toBe(true);
  await log.close();
  // Where it is at home it is recovered.
  const own = await openAuditLog({
    ...{ directory: root, url: database.writerUrl, schema: 'audit', limits, log: QUIET, signer },
    isOurs: (kid) => kid === signer.kid,
  });
  await own.recovered();
  expect(await storedOf(stream)).toBeGreaterThan(0);
  await own.close();
}, 120_000);

test('a link in the journal directory is no journal', async () => {
  const elsewhere = temporaryDirectory();
  const stream = await ended(elsewhere);
  symlinkSync(join(elsewhere, stream), join(root, stream));
  const log = await open();
  await log.recovered();
  expect(await storedOf(stream)).toBe(0);
  // The same where it is a directory.
  rmSync(join(root, stream));
  renameSync(join(elsewhere, stream), join(root, stream));
  await log.recovered();
  expect(await storedOf(stream)).toBeGreaterThan(0);
  expect(existsSync(join(root, stream))).toBe(false);
  await log.close();
  rmSync(elsewhere, { recursive: true });
}, 120_000);
