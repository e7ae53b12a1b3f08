import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { AuditUnavailable } from '../../src/audit/entry.ts';
import type { OpenAuditLog } from '../../src/audit/log/log.ts';
import { openAuditLog } from '../../src/audit/log/log.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  intent,
  makeSigner,
  outcome,
  QUIET,
  temporaryDirectory,
  until,
} from './support.ts';

const started = vi.hoisted(() => [] as Worker[]);
vi.mock('node:worker_threads', async (original) => {
  const module = await original<typeof import('node:worker_threads')>();
  return {
    ...module,
    Worker: class extends module.Worker {
      constructor(...given: ConstructorParameters<typeof module.Worker>) {
        super(...given);
        started.push(this);
      }
    },
  };
});

const signer = makeSigner();
const root = temporaryDirectory();
let database: AuditDatabase;
let log: OpenAuditLog;
let told: { readonly facts: object; readonly message: string }[];

beforeAll(async () => {
  database = await createAuditDatabase();
});
afterAll(async () => {
  await database.dropAll();
  rmSync(root, { recursive: true, force: true });
});
beforeEach(async () => {
  started.length = 0;
  told = [];
  log = await opened();
});
afterEach(() => log.close());

function opened(url = database.writerUrl): Promise<OpenAuditLog> {
  return openAuditLog({
    directory: join(root, String(Math.random())),
    url,
    schema: 'audit',
    limits: { journalBytes: 64 * 1024 * 1024, journalSyncMs: 50 },
    log: { ...QUIET, error: (facts, message) => told.push({ facts, message }) },
    signer,
  });
}

/** What an exception in the thread does: there is no message like this. */
const throwIn = (thread: Worker | undefined) => thread?.postMessage(null);
const endThread = (thread: Worker | undefined) => void thread?.terminate();

async function isWhole(rows: number): Promise<void> {
  const result = await verifyLog({
    url: database.auditorUrl,
    schema: 'audit',
    keys: { keys: [signer.publicJwk] },
  });
  expect(result).toMatchObject({ whole: true, findings: [] });
  const { rows: counted } = await database.query(
    'SELECT count(*)::int AS rows, max(seq)::int AS last FROM audit.entry WHERE stream = $1',
    [log.stream],
  );
  expect(counted).toEqual([{ rows, last: rows }]);
}

describe('a shipping thread that dies', () => {
  it.each([
    ['ends', endThread],
    ['throws', throwIn],
  ])('is followed by another when it %s; who waits for an entry gets it', async (_how, kill) => {
    await log.committed(log.append(intent(1)));
    const [first] = started;
    kill(first);
    // At once, and while nobody ships.
    const waiting = log.committed(log.append(outcome(1)));
    await until(() => told.length === 1);
    expect(told[0]?.message).toContain('the thread that ships the audit log died: another one is started');
    expect(log.stats().awayMs).toBeGreaterThan(0);
    expect(log.healthy()).toBe(true);
    await waiting;
    await until(() => log.stats().awayMs === 0);
    expect(started).toHaveLength(2);
    expect(log.stats()).toMatchObject({ lagEntries: 0, journalBytes: 0, shippedEntries: 4 });
    await isWhole(4);
  });

  it('loses nothing and stores nothing twice, whenever it dies', async () => {
    const big = 'x'.repeat(2_000);
    let kills = 0;
    for (let no = 1; no <= 6_000; no += 1) {
      log.append(intent(no, { sql: `SELECT ${no} -- ${big}` }));
      log.append(outcome(no));
      if (no % 10 === 0) log.write();
      if (no % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      if (no % 1_500 === 0) {
        // In the middle of its work.
        await until(() => log.stats().shippedEntries > no, 60_000);
        endThread(started.at(-1));
        kills += 1;
        await until(() => told.length === kills, 60_000);
      }
    }
    log.write();
    await until(() => log.stats().lagEntries === 0, 60_000);
    expect(started).toHaveLength(kills + 1);
    // Bytes are counted once, whoever shipped them.
    expect(log.stats().journalBytes).toBe(0);
    await isWhole(12_002);
  }, 180_000);

  it('knows which statements are open when another one ends the log', async () => {
    log.append(intent(1));
    await log.committed(log.append(intent(2)));
    await log.committed(log.append(outcome(2)));
    endThread(started.at(-1));
    await until(() => told.length === 1);
    await log.close();
    const { rows } = await database.query(
      'SELECT statement_no::int AS no, outcome FROM audit.statements WHERE stream = $1 ORDER BY 1',
      [log.stream],
    );
    expect(rows).toEqual([
      { no: 1, outcome: 'unknown' },
      { no: 2, outcome: 'executed' },
    ]);
    await isWhole(7);
  });

  it('holds up nobody who closes the log, and no thread is started afterwards', async () => {
    const away = await opened('postgres://nobody:x@127.0.0.1:1/none');
    away.append(intent(1));
    endThread(started.at(-1));
    await until(() => told.length === 1);
    const before = started.length;
    await expect(away.committed(away.append(outcome(1)))).rejects.toThrow(AuditUnavailable);
    await away.close();
    const now = started.length;
    expect(now).toBeGreaterThanOrEqual(before);
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(started).toHaveLength(now);
  }, 60_000);

  it('makes the log unhealthy where each one dies', async () => {
    await log.committed(log.append(intent(1)));
    const kill = setInterval(() => endThread(started.at(-1)), 20);
    try {
      log.append(outcome(1));
      log.write();
      await until(() => !log.healthy(), 60_000);
    } finally {
      clearInterval(kill);
    }
    await until(() => log.healthy() && log.stats().lagEntries === 0, 60_000);
    await isWhole(4);
  }, 150_000);
});
