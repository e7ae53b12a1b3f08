import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import type { Content, Row } from '../../../src/audit/chain/canonical.ts';
import {
  type BatchFacts,
  batchBytes,
  contentHash,
  GENESIS_HASH,
  rowHash,
} from '../../../src/audit/chain/chain.ts';
import { jwkThumbprint } from '../../../src/audit/chain/thumbprint.ts';
import { leafHash, rootOf, withLeaves } from '../../../src/audit/chain/tree.ts';
import { checkpointText, signedNote } from '../../../src/audit/checkpoints/checkpoint.ts';
import type { Entry } from '../../../src/audit/entry.ts';
import { entryRow } from '../../../src/audit/shipping/row.ts';
import { keyEntry, type StreamKey, streamStart } from '../../../src/audit/shipping/stream-key.ts';

/** A log as its tables hold it, in memory, to be changed at will: by an honest writer first, then by somebody else. */

type Open<T> = { -readonly [K in keyof T]: T[K] };
export type ModelEntry = { row: Open<Row>; content: Open<Content> | null; prevHash: Buffer; hash: Buffer };
export type ModelBatch = Open<BatchFacts> & { kid: string; signature: Buffer };
export type ModelStream = {
  stream: string;
  kid: string;
  publicJwk: unknown;
  endorsedBy: string;
  endorsement: Buffer;
  facts: Record<string, string>;
  startedAt: bigint;
  headSeq: bigint;
  headHash: Buffer;
};
export type ModelKey = { kid: string; publicJwk: unknown; purpose: string; validFrom: bigint };
export type ModelLeaf = { index: bigint; stream: string; fromSeq: bigint; hash: Buffer };
export type ModelCheckpoint = { size: bigint; root: Buffer; roots: readonly Buffer[]; note: string };
export type Log = {
  entries: ModelEntry[];
  batches: ModelBatch[];
  streams: ModelStream[];
  keys: ModelKey[];
  leaves: ModelLeaf[];
  checkpoints: ModelCheckpoint[];
};

export const ORIGIN = 'countersign/fixture';

/** An Ed25519 key that is the same each time: its seed is the hash of a name. Of fixtures alone, so no secret. */
export function fixedKey(name: string): StreamKey {
  const seed = createHash('sha256').update(`countersign fixture ${name}`).digest();
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]);
  const privateKey: KeyObject = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const { kty = '', crv = '', x = '' } = createPublicKey(privateKey).export({ format: 'jwk' });
  const publicJwk = { kty, crv, x };
  return {
    kid: jwkThumbprint(publicJwk),
    publicJwk,
    privateKey,
    sign: (bytes) => sign(null, bytes, privateKey),
  };
}

/** Appends entries to a stream as one batch, signed with `key`; the stream begins with the first. */
export function append(log: Log, stream: string, entries: readonly Entry[], key: StreamKey): void {
  const registered = log.streams.find((one) => one.stream === stream);
  const from = registered?.headSeq ?? 0n;
  let hash = registered?.headHash ?? GENESIS_HASH;
  const prevHash = hash;
  entries.forEach((entry, i) => {
    const seq = from + BigInt(i) + 1n;
    const salt = createHash('sha256').update(`salt ${stream} ${seq}`).digest().subarray(0, 16);
    const { row, content } = entryRow(entry, stream, seq, salt);
    const before = hash;
    hash = rowHash(before, row);
    log.entries.push({ row: { ...row }, content: content && { ...content }, prevHash: before, hash });
    learnKey(log, entry);
  });
  const facts = { stream, fromSeq: from + 1n, toSeq: from + BigInt(entries.length), prevHash, hash };
  log.batches.push({ ...facts, kid: key.kid, signature: key.sign(batchBytes(facts)) });
  if (registered === undefined) log.streams.push(registration(log, stream, facts));
  else Object.assign(registered, { headSeq: facts.toSeq, headHash: hash });
}

/** A stream's first entries. */
export function started(
  stream: string,
  key: StreamKey,
  by: StreamKey,
  at: bigint,
  facts: Record<string, string>,
): Entry[] {
  return [streamStart(stream, key, by, at, facts), keyEntry(by.kid, by.publicJwk, 'installation', at)];
}

/** Takes all batches that have no leaf yet into the tree, and signs its root. */
export function checkpoint(log: Log, signer: StreamKey, upTo = log.batches.length): void {
  for (const batch of log.batches.slice(log.leaves.length, upTo))
    log.leaves.push({
      index: BigInt(log.leaves.length),
      stream: batch.stream,
      fromSeq: batch.fromSeq,
      hash: leafHash(batchBytes(batch)),
    });
  log.checkpoints.push(checkpointOf(log.leaves, signer));
}

/** The checkpoint of these leaves. */
export function checkpointOf(leaves: readonly ModelLeaf[], signer: StreamKey): ModelCheckpoint {
  const tree = withLeaves(
    { size: 0n, roots: [] },
    leaves.map(({ hash }) => hash),
  );
  const root = rootOf(tree);
  return { size: tree.size, root, roots: tree.roots, note: noteOf(tree.size, root, signer) };
}

export function noteOf(size: bigint, root: Buffer, signer: StreamKey, origin = ORIGIN): string {
  const text = checkpointText({ origin, size, root });
  const raw = Buffer.from(signer.publicJwk.x, 'base64url');
  return signedNote(text, origin, raw, signer.sign(Buffer.from(text)));
}

function learnKey(log: Log, entry: Entry): void {
  if (entry.kind !== 'key') return;
  const { kid, public_jwk, purpose } = entry.detail;
  if (kid === undefined || public_jwk === undefined || purpose === undefined) return;
  if (log.keys.some((key) => key.kid === kid)) return;
  log.keys.push({ kid, publicJwk: JSON.parse(public_jwk), purpose, validFrom: entry.at });
}

function registration(log: Log, stream: string, batch: BatchFacts): ModelStream {
  const first = entryOf(log, stream, 1n);
  const { stream_kid, stream_jwk, endorsed_by, endorsement, ...facts } = detailOf(first);
  return {
    stream,
    kid: stream_kid ?? '',
    publicJwk: JSON.parse(stream_jwk ?? 'null'),
    endorsedBy: endorsed_by ?? '',
    endorsement: Buffer.from(endorsement ?? '', 'hex'),
    facts,
    startedAt: first.row.at,
    headSeq: batch.toSeq,
    headHash: batch.hash,
  };
}

export function detailOf({ row }: ModelEntry): Record<string, string> {
  const detail: Record<string, string> = {};
  const pairs = row.detail ?? [];
  for (let i = 0; i + 1 < pairs.length; i += 2) detail[pairs[i] ?? ''] = pairs[i + 1] ?? '';
  return detail;
}

/** Throws where there is none. */
export function entryOf(log: Log, stream: string, seq: bigint | number): ModelEntry {
  const found = log.entries.find(({ row }) => row.stream === stream && row.seq === BigInt(seq));
  if (found === undefined) throw new Error(`no row ${seq} of ${stream}`);
  return found;
}

/** Throws where there is none. */
export function streamOf(log: Log, stream: string): ModelStream {
  const found = log.streams.find((one) => one.stream === stream);
  if (found === undefined) throw new Error(`no stream ${stream}`);
  return found;
}

export function batchesOf(log: Log, stream: string): ModelBatch[] {
  return log.batches.filter((one) => one.stream === stream);
}

/** What somebody can do who owns the database and has no key: hashes, chain, head and batches fit again, unsigned. */
export function rechain(log: Log, stream: string, from = 1n): void {
  const rows = log.entries
    .filter(({ row }) => row.stream === stream)
    .sort((a, b) => Number(a.row.seq - b.row.seq));
  let hash = rows.find(({ row }) => row.seq === from - 1n)?.hash ?? GENESIS_HASH;
  for (const entry of rows.filter(({ row }) => row.seq >= from)) {
    if (entry.content !== null) entry.row.content = contentHash(entry.content);
    entry.prevHash = hash;
    hash = rowHash(hash, entry.row);
    entry.hash = hash;
  }
  const last = rows.at(-1);
  if (last !== undefined)
    Object.assign(streamOf(log, stream), { headSeq: last.row.seq, headHash: last.hash });
  for (const batch of batchesOf(log, stream)) {
    batch.prevHash = entryOf(log, stream, batch.fromSeq).prevHash;
    batch.hash = entryOf(log, stream, batch.toSeq).hash;
  }
}

/** Signs a stream's batches anew. */
export function resign(log: Log, stream: string, key: StreamKey, from = 1n): void {
  for (const batch of batchesOf(log, stream).filter(({ fromSeq }) => fromSeq >= from))
    Object.assign(batch, { kid: key.kid, signature: key.sign(batchBytes(batch)) });
}
