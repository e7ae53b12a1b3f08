import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Journal } from '../../src/audit/journal/journal.ts';
import { openAuditLog } from '../../src/audit/log/log.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { createAuditDatabase, intent, makeSigner, outcome, QUIET, temporaryDirectory } from './support.ts';

/** Printed, not asserted: machines differ, and this one has other work. */
const print = (line: string) => process.stdout.write(`    ${line}\n`);
const root = temporaryDirectory();
afterAll(() => rmSync(root, { recursive: true, force: true }));

test('the hot path: a read is an intent and an outcome in memory, six reads a write', () => {
  const directory = join(root, 'hot');
  mkdirSync(directory);
  const journal = new Journal({ directory, stream: '20260101T000000Z-00', limitBytes: 1e9 });
  const entries = Array.from({ length: 1_000 }, (_, i) => ({
    intent: intent(i, { sql: `SELECT abalance FROM pgbench_accounts WHERE aid = ${i}` }),
    outcome: outcome(i),
  }));
  let [appending, writing] = [0, 0];
  const rounds = 100;
  for (let round = 0; round < rounds; round += 1) {
    for (let i = 0; i < entries.length; i += 6) {
      const start = performance.now();
      for (const pair of entries.slice(i, i + 6)) {
        journal.append(pair.intent);
        journal.append(pair.outcome);
      }
      const middle = performance.now();
      journal.write();
      if (round > rounds / 2) writing += performance.now() - middle;
      if (round > rounds / 2) appending += middle - start;
    }
  }
  const reads = (rounds / 2 - 1) * entries.length;
  print(
    `append: ${((appending * 1000) / reads).toFixed(2)} µs a read, write: ${((writing * 1000) / reads).toFixed(2)} µs a read`,
  );
  expect(journal.writtenSeq).toBe(BigInt(rounds * entries.length * 2));
});

test('the way to the database: journal, hashes, signatures, append', async () => {
  const database = await createAuditDatabase();
  const signer = makeSigner();
  const log = await openAuditLog({
    directory: join(root, 'ship'),
    url: database.writerUrl,
    schema: 'audit',
    limits: { journalBytes: 256 * 1024 * 1024, journalSyncMs: 200 },
    log: QUIET,
    signer,
  });
  const rows = 40_000;
  const start = performance.now();
  const cpu = process.cpuUsage();
  for (let no = 1; no <= rows / 2; no += 1) {
    log.append(intent(no, { sql: `SELECT abalance FROM pgbench_accounts WHERE aid = ${no}` }));
    log.append(outcome(no));
    if (no % 6 === 0) log.write();
  }
  await log.committed(BigInt(rows));
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  print(
    `shipping: ${Math.round((rows / ms) * 1000)} rows/s, ${((user + system) / rows).toFixed(1)} µs CPU a row here`,
  );
  await log.close();
  const inSql = performance.now();
  expect((await database.query('SELECT * FROM audit.verify() WHERE NOT ok')).rows).toEqual([]);
  print(`verify in SQL: ${Math.round((rows / (performance.now() - inSql)) * 1000)} rows/s`);
  const inNode = performance.now();
  const keys = { keys: [signer.publicJwk] };
  expect(await verifyLog({ url: database.auditorUrl, schema: 'audit', keys })).toMatchObject({ whole: true });
  print(`countersign verify: ${Math.round((rows / (performance.now() - inNode)) * 1000)} rows/s`);
  await database.dropAll();
}, 120_000);
