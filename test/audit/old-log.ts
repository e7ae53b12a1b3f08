import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { GENESIS_HASH } from '../../src/audit/chain/chain.ts';
import type { Entry } from '../../src/audit/entry.ts';
import type { LogSigner } from '../../src/audit/port.ts';
import { appendCall, type Head, type SignedBatch, signBatch } from '../../src/audit/shipping/batch.ts';
import { entryRow } from '../../src/audit/shipping/row.ts';
import { createStreamKey, keyEntry, streamStart } from '../../src/audit/shipping/stream-key.ts';
import { event, intent, outcome, SESSION } from './support.ts';

export const DAY = 86_400_000_000n;

/** Microseconds of an hour of a day, so many days ago (UTC). */
export function ago(days: number, hour = 12): bigint {
  const today = (BigInt(Date.now()) * 1000n) / DAY;
  return (today - BigInt(days)) * DAY + BigInt(hour) * 3_600_000_000n;
}

/** A stream that began on some day in the past, batch by batch. */
export function oldStream(signer: LogSigner, start: bigint, facts: Record<string, string> = {}) {
  const stream = `20200101T000000Z-${randomBytes(8).toString('hex')}`;
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
  return {
    ...{ stream, key, batch },
    head: () => head,
    start: () =>
      batch([
        streamStart(stream, key, signer, start, { purpose: 'statements', ...facts }),
        keyEntry(signer.kid, signer.publicJwk, 'installation', start),
        event('policy', { at: start, detail: { digest: 'd', rules: '[]' } }),
      ]),
  };
}

export function statement(no: number, at: bigint, agent = 'reporter'): [Entry, Entry] {
  const session = { ...SESSION, agent, sessionId: `ses_${agent}` };
  return [
    intent(no, { at, session, parameters: [`secret-${no}`], sql: `SELECT 'private-${no}', $1` }),
    outcome(no, { at: at + 1000n, session }),
  ];
}

export type OldLog = { readonly long: string; readonly short: string; readonly busy: string };

/**
 * Three streams: `long` of 500 days, with batches across midnight; `short`, whole in the days that are over, cut short
 * by a crash; `busy` of today. Numbers of statements: 1-6 in `long`, 11-12 in `short`, 21 in `busy` (of another agent).
 */
export async function fillOldLog(writerUrl: string, signer: LogSigner): Promise<OldLog> {
  const long = oldStream(signer, ago(500));
  const short = oldStream(signer, ago(450));
  const busy = oldStream(signer, ago(0, 0), {});
  const writer = new pg.Client(writerUrl);
  await writer.connect();
  const store = async (batch: SignedBatch) => void (await writer.query(appendCall('audit', batch)));
  await store(long.start());
  await store(long.batch([...statement(1, ago(500, 13)), ...statement(2, ago(499, 1))]));
  await store(short.start());
  await store(short.batch([...statement(11, ago(450, 13)), ...statement(12, ago(450, 14))]));
  await store(long.batch([...statement(3, ago(401, 23)), ...statement(4, ago(400, 1))]));
  await store(long.batch([...statement(5, ago(300)), ...statement(6, ago(0, 0))]));
  await store(busy.start());
  await store(busy.batch(statement(21, ago(0, 0) + 5_000n, 'importer')));
  await writer.end();
  return { long: long.stream, short: short.stream, busy: busy.stream };
}
