import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { expect, test } from 'vitest';
import { appendCall, type Head, type SignedBatch, signBatch } from '../../src/audit/batch.ts';
import { GENESIS_HASH } from '../../src/audit/chain.ts';
import type { Entry } from '../../src/audit/entry.ts';
import { entryRow } from '../../src/audit/row.ts';
import { createStreamKey, keyEntry, streamStart } from '../../src/audit/stream-key.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  event,
  intent,
  makeSigner,
  now,
  outcome,
} from './support.ts';

test('bench', async () => {
  const database = await createAuditDatabase();
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  const signer = makeSigner();
  const stream = `str_${randomBytes(6).toString('hex')}`;
  const key = createStreamKey();
  let head: Head = { seq: 0n, hash: GENESIS_HASH };
  const batch = (entries: readonly Entry[]): SignedBatch => {
    const rows = entries.map((entry, i) =>
      entryRow(entry, stream, head.seq + BigInt(i) + 1n, randomBytes(16)),
    );
    const signed = signBatch(head, stream, rows, key);
    head = { seq: signed.facts.toSeq, hash: signed.facts.hash };
    return signed;
  };
  await writer.query(appendCall('audit', batch([streamStart(stream, key, signer, now(), {})])));
  let n = 0,
    tb = 0,
    ta = 0,
    tq = 0;
  const N = 400;
  const t0 = performance.now();
  for (let b = 0; b < N; b++) {
    const es: Entry[] = [];
    for (let i = 0; i < 125; i++) {
      n++;
      es.push(intent(n, { sql: `SELECT abalance FROM pgbench_accounts WHERE aid = ${n}` }), outcome(n));
    }
    const a = performance.now();
    const s = batch(es);
    const c = performance.now();
    const call = appendCall('audit', s);
    const d = performance.now();
    await writer.query({ name: 'append', ...call });
    const e = performance.now();
    tb += c - a;
    ta += d - c;
    tq += e - d;
  }
  const dt = performance.now() - t0;
  const R = N * 250;
  console.log(
    'rows/s',
    (R / dt) * 1000,
    'us/row: batch',
    (tb / R) * 1000,
    'call',
    (ta / R) * 1000,
    'query',
    (tq / R) * 1000,
  );
  for (const q of [
    'SELECT count(*) FROM audit.entry e WHERE audit.entry_hash(e) IS DISTINCT FROM e.hash',
    'SELECT count(*) FROM audit.entry e WHERE audit.content_hash(e) IS DISTINCT FROM e.content',
    'SELECT count(*) FROM audit.verify()',
    'SELECT sum(rows) FROM audit.statements',
    'SELECT * FROM audit.integrity',
    'SELECT * FROM audit.agents',
  ]) {
    const t = performance.now();
    await database.query(q);
    const d = performance.now() - t;
    console.log(q, d.toFixed(0), 'ms', ((R / d) * 1000).toFixed(0), 'rows/s');
  }
  console.log(
    (
      await database.query(
        `EXPLAIN ANALYZE SELECT * FROM audit.statements WHERE at > now() - interval '1 s' ORDER BY at LIMIT 50`,
      )
    ).rows
      .map((r) => r['QUERY PLAN'])
      .join('\n'),
  );
  console.log(
    (
      await database.query(
        `SELECT pg_size_pretty(pg_total_relation_size(c.oid)), relname from pg_class c where relname like 'entry%' and relkind = 'r'`,
      )
    ).rows,
  );
}, 120000);
