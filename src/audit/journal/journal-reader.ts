import { type FileHandle, open } from 'node:fs/promises';
import { ByteReader } from '../chain/bytes.ts';
import { GENESIS_HASH } from '../chain/chain.ts';
import type { Entry } from '../entry.ts';
import { type Block, blockAt, readSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader } from './block.ts';
import type { Segment } from './journal.ts';
import { type NumberedEntry, readRecord } from './record.ts';

/** A record as it was read: its length in the journal and the segment that it is in. */
export type ReadEntry = NumberedEntry & { readonly bytes: number; readonly segment: number };

/** A record as it stands in the journal, with its length in front. */
export type RawRecord = {
  readonly seq: bigint;
  readonly kind: number;
  readonly record: Buffer;
  readonly segment: number;
};

/** The journal's files do not hold what was written to them. */
export class JournalAltered extends Error {
  override readonly name = 'JournalAltered';
  readonly code = 'audit_journal_altered';
}

/** Reads a stream's records in order, behind the journal that writes them. */
export class JournalReader {
  readonly #segments: () => readonly Segment[];
  #reader: SegmentReader | null = null;
  /** The segment that the reader has open. */
  #opened = 0;
  /** The oldest segment that is not read to its end. */
  #number = 1;
  #previous: Buffer = GENESIS_HASH;
  /** The last block's records, and how many of them were taken. */
  #queue: readonly RawRecord[] = [];
  #taken = 0;

  /** `segments` tells how far the journal has come. Everything in it is read from the first block that is there. */
  constructor(segments: () => readonly Segment[]) {
    this.#segments = segments;
  }

  /**
   * Up to so many records, and no more once they have so many bytes, none after number `until`; none: everything written
   * was read.
   */
  async take(records: number, bytes: number, until?: bigint): Promise<RawRecord[]> {
    const taken: RawRecord[] = [];
    for (let size = 0; taken.length < records && (size < bytes || taken.length === 0); ) {
      if (this.#taken === this.#queue.length && !(await this.#fill())) break;
      const next = this.#queue[this.#taken];
      if (next === undefined || (until !== undefined && next.seq > until)) break;
      this.#taken += 1;
      taken.push(next);
      size += next.record.length;
    }
    return taken;
  }

  async close(): Promise<void> {
    await this.#reader?.close();
    this.#reader = null;
  }

  /** Decodes the next block into the queue; false when there is none. Throws `JournalAltered`. */
  async #fill(): Promise<boolean> {
    for (;;) {
      const segments = this.#segments();
      const segment = segments.find((s) => s.number >= this.#number);
      if (segment === undefined) return false;
      const reader = await this.#open(segment);
      if (reader.offset < segment.end) {
        const at = await reader.next(this.#previous, segment.end);
        if (at.kind !== 'block')
          throw new JournalAltered(`${segment.path} was altered at byte ${reader.offset}`);
        this.#previous = at.block.hash;
        this.#queue = rawRecords(at.block, segment.number);
        this.#taken = 0;
        return true;
      }
      if (!segments.some((s) => s.number > segment.number)) return false;
      this.#number = segment.number + 1;
    }
  }

  async #open(segment: Segment): Promise<SegmentReader> {
    if (this.#reader !== null && this.#opened === segment.number) return this.#reader;
    const first = this.#reader === null;
    await this.close();
    this.#reader = await SegmentReader.open(segment.path);
    this.#opened = segment.number;
    this.#number = segment.number;
    const header = await this.#reader.header();
    if (header === null) throw new JournalAltered(`${segment.path} has lost its header`);
    // Segments before the first one that is still there were shipped: its header says what it continues.
    if (first) this.#previous = header.previous;
    else if (!header.previous.equals(this.#previous))
      throw new JournalAltered(`${segment.path} does not follow`);
    return this.#reader;
  }
}

/** The first entry in a segment's file; null: there is no such file, or nothing whole in it. */
export async function firstEntry(path: string): Promise<Entry | null> {
  let reader: SegmentReader;
  try {
    reader = await SegmentReader.open(path);
  } catch {
    return null;
  }
  try {
    const header = await reader.header();
    const at = header === null ? null : await reader.next(header.previous, Number.MAX_SAFE_INTEGER);
    return at?.kind === 'block' ? (records(at.block, 1)[0]?.entry ?? null) : null;
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  } finally {
    await reader.close();
  }
}

/** The records of a block. Throws `RangeError` when they are not what its header says. */
export function records(block: Block, segment: number): ReadEntry[] {
  const reader = new ByteReader(block.payload);
  const entries: ReadEntry[] = [];
  for (let i = 0; i < block.records; i += 1) {
    const start = reader.position;
    const { seq, entry } = readRecord(reader);
    if (seq !== block.firstSeq + BigInt(i)) throw new RangeError(`record ${seq} stands in the wrong place`);
    entries.push({ seq, entry, bytes: reader.position - start, segment });
  }
  return entries;
}

/** The same, not decoded. They stay valid: a chunk's memory is never used again. */
function rawRecords(block: Block, segment: number): RawRecord[] {
  const { payload } = block;
  const taken: RawRecord[] = [];
  let at = 0;
  for (let i = 0; i < block.records; i += 1) {
    const end = at + 4 + (payload.length - at >= RECORD_HEAD_BYTES ? payload.readInt32BE(at) : 0);
    if (end < at + RECORD_HEAD_BYTES || end > payload.length) throw new RangeError('a record ends too early');
    const seq = block.firstSeq + BigInt(i);
    if (payload.readBigInt64BE(at + 5) !== seq) throw new RangeError(`record ${seq} is in another's place`);
    taken.push({ seq, kind: payload.readUInt8(at + 4), record: payload.subarray(at, end), segment });
    at = end;
  }
  return taken;
}

/** Reads a segment's blocks one by one, a large chunk of the file at a time. */
export class SegmentReader {
  readonly #handle: FileHandle;
  #chunk: Buffer = Buffer.alloc(0);
  /** Where the chunk begins in the file. */
  #chunkAt = 0;
  offset = SEGMENT_HEADER_BYTES;

  static async open(path: string): Promise<SegmentReader> {
    return new SegmentReader(await open(path, 'r'));
  }

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async header(): Promise<SegmentHeader | null> {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const { bytesRead } = await this.#handle.read(bytes, 0, bytes.length, 0);
    return readSegmentHeader(bytes.subarray(0, bytesRead));
  }

  /** The next block, valid until the next call; `end` where none continues `previous` before byte `limit`. */
  async next(previous: Buffer, limit: number): Promise<{ kind: 'block'; block: Block } | { kind: 'end' }> {
    for (;;) {
      const at = blockAt(this.#chunk, this.offset - this.#chunkAt, previous);
      if (at.kind === 'block') {
        this.offset += at.block.length;
        return at;
      }
      if (at.kind === 'end') return at;
      if (this.offset + at.bytes > limit || !(await this.#read(at.bytes, limit))) {
        return { kind: 'end' };
      }
    }
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  /** Reads on from `offset`, at least so many bytes; false when the file ends before. */
  async #read(bytes: number, limit: number): Promise<boolean> {
    const wanted = Math.min(Math.max(bytes, CHUNK), limit - this.offset);
    const chunk = Buffer.allocUnsafe(wanted);
    const { bytesRead } = await this.#handle.read(chunk, 0, wanted, this.offset);
    this.#chunk = chunk.subarray(0, bytesRead);
    this.#chunkAt = this.offset;
    return bytesRead >= bytes;
  }
}

/** Length, kind, seq and time. */
export const RECORD_HEAD_BYTES = 21;

/** Bytes read at a time: some hundred blocks of ordinary traffic. */
const CHUNK = 256 * 1024;
