import { readdir, stat } from 'node:fs/promises';
import { GENESIS_HASH } from '../chain/chain.ts';
import type { JournalEnd, Segment } from './journal.ts';
import { records, SegmentReader } from './journal-reader.ts';
import { type OpenStatements, openFromJson } from './open-statements.ts';
import { segmentNumber, segmentPath } from './segment-files.ts';

export type ScannedJournal = {
  readonly end: JournalEnd;
  /** Statements that have an intent here (or had, in segments that are gone) and no outcome. */
  readonly open: OpenStatements;
};

/**
 * Reads a dead stream's journal to its last whole block. `kept`: the JSON that was left when segments were deleted.
 * Null: there is no record in it.
 */
export async function scanJournal(
  directory: string,
  stream: string,
  kept: unknown,
): Promise<ScannedJournal | null> {
  const numbers = (await readdir(directory)).map(segmentNumber).filter((n) => n !== null);
  const { open, seq: keptSeq } = openFromJson(kept);
  const scan: Scan = {
    stream,
    open,
    keptSeq,
    segments: [],
    blockHash: GENESIS_HASH,
    seq: 0n,
    bytes: 0,
  };
  let saltSecret: Buffer | null = null;
  for (const number of numbers.sort((a, b) => a - b)) {
    const secret = await scanSegment(scan, segmentPath(directory, number), number);
    if (secret === null) break;
    saltSecret = secret;
  }
  if (saltSecret === null || scan.seq === 0n) return null;
  const { segments, blockHash, seq, bytes } = scan;
  return { end: { saltSecret, seq, segments, blockHash, bytes }, open };
}

type Scan = {
  readonly stream: string;
  readonly open: OpenStatements;
  readonly keptSeq: bigint;
  readonly segments: Segment[];
  blockHash: Buffer;
  seq: bigint;
  bytes: number;
};

/** Adds a segment's blocks; null where it does not belong to what came before. */
async function scanSegment(scan: Scan, path: string, number: number): Promise<Buffer | null> {
  const reader = await SegmentReader.open(path);
  try {
    const header = await reader.header();
    const first = scan.segments.length === 0;
    if (header === null || header.stream !== scan.stream || header.number !== number) return null;
    if (!first && !header.previous.equals(scan.blockHash)) return null;
    if (first) scan.blockHash = header.previous;
    const { size } = await stat(path);
    for (;;) {
      const at = await reader.next(scan.blockHash, size);
      // Nothing was written here, or a write was torn, or older blocks show through in a reused file.
      if (at.kind === 'end') break;
      for (const { seq, entry, bytes } of records(at.block, number)) {
        scan.seq = seq;
        scan.bytes += bytes;
        if (seq > scan.keptSeq) scan.open.follow(entry);
      }
      scan.blockHash = at.block.hash;
    }
    scan.segments.push({ number, path, end: reader.offset });
    return header.saltSecret;
  } finally {
    await reader.close();
  }
}
