import { randomBytes } from 'node:crypto';
import { GENESIS_HASH } from '../../src/audit/chain/chain.ts';
import type { Entry } from '../../src/audit/entry.ts';
import type { LogSigner } from '../../src/audit/port.ts';
import { type Head, type SignedBatch, signBatch } from '../../src/audit/shipping/batch.ts';
import { entryRow } from '../../src/audit/shipping/row.ts';
import { createStreamKey, keyEntry, streamStart } from '../../src/audit/shipping/stream-key.ts';
import { now } from './support.ts';

/** A stream as a writer of its own would make it, batch by batch, without a journal. */
export function makeStream(signer: LogSigner, facts: Record<string, string> = { purpose: 'test' }) {
  const stream = `20260101T000000Z-${randomBytes(8).toString('hex')}`;
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
  const start = () =>
    batch([
      streamStart(stream, key, signer, now(), facts),
      keyEntry(signer.kid, signer.publicJwk, 'audit', now()),
    ]);
  return { stream, batch, start, head: () => head };
}
