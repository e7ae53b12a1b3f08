import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { ByteWriter } from '../chain/bytes.ts';
import { GENESIS_HASH } from '../chain/chain.ts';
import { AuditUnavailable, type Entry } from '../entry.ts';
import { BLOCK_HEADER_BYTES, SEGMENT_HEADER_BYTES, sealBlock, segmentHeaderBytes } from './block.ts';
import { writeRecord } from './record.ts';
import {
  createSegment,
  dataSync,
  prepareSpare,
  recycle,
  SPARE,
  segmentPath,
  syncDirectory,
  takeSpare,
  writeAll,
} from './segment-files.ts';

export type JournalOptions = {
  /** The stream's own directory, which exists. */
  readonly directory: string;
  readonly stream: string;
  /** Bytes of records that are not shipped yet; past it nothing new is taken. */
  readonly limitBytes: number;
  /** Where a journal that was found continues. */
  readonly resume?: JournalEnd;
};

/** The end of a journal that an earlier process wrote. */
export type JournalEnd = {
  readonly saltSecret: Buffer;
  /** Number of the last record; 0: none. */
  readonly seq: bigint;
  readonly segments: readonly Segment[];
  /** Hash of the last whole block. */
  readonly blockHash: Buffer;
  /** Bytes of records in it. */
  readonly bytes: number;
};

/** A segment with blocks in it, and where they end. */
export type Segment = { readonly number: number; readonly path: string; readonly end: number };

type OpenSegment = { number: number; path: string; fd: number; end: number; size: number };

/**
 * The local journal of one stream. `append` only touches memory; `write` hands everything pending to the operating
 * system in one block; `sync` forces it to disk, many callers in one go. A failed force is final: what the disk has
 * then, nobody knows.
 */
export class Journal {
  readonly stream: string;
  readonly directory: string;
  readonly saltSecret: Buffer;
  readonly #limit: number;
  readonly #segmentBytes: number;
  #pending = newPending();
  #pendingRecords = 0;
  #seq: bigint;
  #writtenSeq: bigint;
  #syncedSeq: bigint;
  #blockHash: Buffer;
  #takenBytes: number;
  #releasedBytes = 0;
  #current: OpenSegment | null = null;
  /** Written full, not yet forced to disk. */
  #left: OpenSegment[] = [];
  #segments: Segment[] = [];
  #directoryChanged = true;
  #unsynced = false;
  #syncing: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  /** Whether the next segment's file is there already. */
  #spare: 'none' | 'making' | 'ready';
  #preparing: Promise<void> = Promise.resolve();
  #failure: AuditUnavailable | null = null;
  #closed = false;
  /** Called after a block was written. */
  onWritten: () => void = () => {};

  constructor(options: JournalOptions) {
    const { resume } = options;
    this.stream = options.stream;
    this.directory = options.directory;
    this.#limit = options.limitBytes;
    this.#segmentBytes = Math.min(
      LARGEST_SEGMENT,
      Math.max(SMALLEST_SEGMENT, Math.floor(options.limitBytes / 8)),
    );
    this.saltSecret = resume?.saltSecret ?? randomBytes(32);
    this.#seq = resume?.seq ?? 0n;
    this.#writtenSeq = this.#seq;
    this.#syncedSeq = this.#seq;
    this.#blockHash = resume?.blockHash ?? GENESIS_HASH;
    this.#takenBytes = resume?.bytes ?? 0;
    this.#segments = [...(resume?.segments ?? [])];
    this.#spare = existsSync(join(this.directory, SPARE)) ? 'ready' : 'none';
    const last = this.#segments.at(-1);
    if (last !== undefined) {
      const fd = openSync(last.path, 'r+');
      // Room is not known: the next block that does not fit in what was preallocated lengthens the file.
      this.#current = { ...last, fd, size: this.#segmentBytes };
    }
  }

  get seq(): bigint {
    return this.#seq;
  }

  get writtenSeq(): bigint {
    return this.#writtenSeq;
  }

  /** Number of the last record that was forced to disk (or was found there). */
  get syncedSeq(): bigint {
    return this.#syncedSeq;
  }

  /** Bytes of records taken in and not yet released. */
  get unshippedBytes(): number {
    return this.#takenBytes - this.#releasedBytes;
  }

  get failure(): AuditUnavailable | null {
    return this.#failure;
  }

  /** Segments with written blocks, oldest first. */
  get segments(): readonly Segment[] {
    const current = this.#current;
    if (current === null) return this.#segments;
    return this.#segments.map((s) => (s.number === current.number ? { ...s, end: current.end } : s));
  }

  /**
   * Takes an entry into memory and numbers it. Throws `AuditUnavailable` past the limit (outcomes and events of what
   * already runs have an eighth more, refused log-ins a half of that), after a failure and after `close`.
   */
  append(entry: Entry): bigint {
    if (this.#failure !== null) throw this.#failure;
    if (this.#closed) throw new AuditUnavailable('the audit log is closed', 'audit_closed');
    if (this.#takenBytes - this.#releasedBytes >= this.#limit * shareOf(entry.kind)) {
      throw new AuditUnavailable(
        `the audit journal is full (${this.#limit} bytes not yet in the audit database): is that database reachable?`,
        'audit_journal_full',
      );
    }
    const pending = this.#pending;
    const before = pending.length;
    const seq = this.#seq + 1n;
    try {
      writeRecord(pending, seq, entry);
    } catch (error) {
      pending.seek(before);
      throw error;
    }
    this.#takenBytes += pending.length - before;
    this.#seq = seq;
    this.#pendingRecords += 1;
    return seq;
  }

  /** Hands everything pending to the operating system as one block. Throws `AuditUnavailable`; may be tried again. */
  write(): void {
    if (this.#pendingRecords === 0) return;
    if (this.#failure !== null) throw this.#failure;
    try {
      const length = this.#pending.length;
      const segment = this.#segmentFor(length);
      const firstSeq = this.#seq - BigInt(this.#pendingRecords) + 1n;
      const hash = sealBlock(this.#pending, this.#pendingRecords, firstSeq, this.#blockHash);
      writeAll(segment.fd, this.#pending.written(), segment.end);
      segment.end += length;
      this.#blockHash = hash;
    } catch (error) {
      throw unavailable('cannot be written', error);
    }
    this.#writtenSeq = this.#seq;
    this.#unsynced = true;
    this.#pendingRecords = 0;
    if (this.#pending.length > LARGEST_PENDING) this.#pending = newPending();
    else this.#pending.seek(BLOCK_HEADER_BYTES);
    this.onWritten();
  }

  /** Resolves when everything taken so far is on disk. Callers that come while a force runs share the next one. */
  sync(): Promise<void> {
    try {
      this.write();
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#failure !== null) return Promise.reject(this.#failure);
    if (!this.#unsynced && this.#syncing === null) return Promise.resolve();
    if (this.#syncing === null) {
      this.#syncing = this.#force().finally(() => {
        this.#syncing = null;
      });
      return this.#syncing;
    }
    this.#next ??= this.#syncing
      .catch(() => {})
      .then(() => {
        this.#next = null;
        return this.sync();
      });
    return this.#next;
  }

  /** Counts records as shipped. */
  shipped(bytes: number): void {
    this.#releasedBytes += bytes;
  }

  /** Deletes, or reuses, every segment before this one. */
  async release(segment: number): Promise<void> {
    const done = this.#segments.filter((s) => s.number < segment);
    if (done.length === 0) return;
    this.#segments = this.#segments.filter((s) => s.number >= segment);
    for (const { path, number } of done) {
      if (this.#left.some((open) => open.number === number)) await this.sync();
      const keep = this.#spare === 'none' && !this.#closed;
      if (keep) this.#spare = 'making';
      await recycle(path, this.directory, keep);
      if (keep) this.#spare = 'ready';
    }
  }

  /** Writes and forces what is pending, and closes the files. Nothing can be appended afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    try {
      await this.sync();
    } finally {
      await this.#preparing;
      if (this.#current !== null) closeSync(this.#current.fd);
      for (const { fd } of this.#left) closeSync(fd);
      this.#current = null;
      this.#left = [];
    }
  }

  async #force(): Promise<void> {
    this.#unsynced = false;
    const written = this.#writtenSeq;
    const left = this.#left;
    this.#left = [];
    const fds = [...left.map((s) => s.fd), ...(this.#current === null ? [] : [this.#current.fd])];
    try {
      if (this.#directoryChanged) {
        this.#directoryChanged = false;
        await syncDirectory(this.directory);
      }
      for (const fd of fds) await dataSync(fd);
      this.#syncedSeq = written;
    } catch (error) {
      this.#failure = unavailable('cannot be forced to disk', error);
      throw this.#failure;
    } finally {
      for (const { fd } of left) closeSync(fd);
    }
  }

  #segmentFor(length: number): OpenSegment {
    const current = this.#current;
    if (current !== null && (current.end + length <= current.size || current.end === SEGMENT_HEADER_BYTES)) {
      if (current.end > current.size >> 1) this.#prepare();
      return current;
    }
    const number = (current?.number ?? 0) + 1;
    const path = segmentPath(this.directory, number);
    const fd = this.#openSegment(path);
    const header = { stream: this.stream, number, saltSecret: this.saltSecret, previous: this.#blockHash };
    writeAll(fd, segmentHeaderBytes(header), 0);
    if (current !== null) {
      this.#segments = this.segments.slice();
      this.#left.push(current);
    }
    const opened = { number, path, fd, end: SEGMENT_HEADER_BYTES, size: this.#segmentBytes };
    this.#segments.push({ number, path, end: opened.end });
    this.#current = opened;
    this.#directoryChanged = true;
    return opened;
  }

  #openSegment(path: string): number {
    if (this.#spare === 'ready') {
      this.#spare = 'none';
      return takeSpare(this.directory, path);
    }
    if (existsSync(path)) return openSync(path, 'r+');
    return createSegment(path, this.#segmentBytes);
  }

  /** Makes the next segment while this one fills. A failure shows when the segment is needed. */
  #prepare(): void {
    if (this.#spare !== 'none') return;
    this.#spare = 'making';
    this.#preparing = prepareSpare(this.directory, this.#segmentBytes).then(
      () => {
        this.#spare = 'ready';
      },
      () => {
        this.#spare = 'none';
      },
    );
  }
}

/** Entries that begin something: refused at the limit, while what already runs can still be recorded to its end. */
const STARTS: ReadonlySet<Entry['kind']> = new Set(['intent', 'session_start', 'request_opened']);

/** Of the limit. Strangers, who can have themselves refused at will, must not take the room of outcomes. */
function shareOf(kind: Entry['kind']): number {
  if (STARTS.has(kind)) return 1;
  return kind === 'login_refused' ? 1.0625 : 1.125;
}

/** Bytes. A segment is a sixteenth of a second to some seconds of traffic, and what one deletion gives back. */
const LARGEST_SEGMENT = 8 * 1024 * 1024;
const SMALLEST_SEGMENT = 64 * 1024;
/** A pending buffer that one huge statement made larger than this is given back. */
const LARGEST_PENDING = 4 * 1024 * 1024;

function newPending(): ByteWriter {
  const writer = new ByteWriter();
  writer.seek(BLOCK_HEADER_BYTES);
  return writer;
}

function unavailable(what: string, error: unknown): AuditUnavailable {
  const why = error instanceof Error ? error.message : String(error);
  return new AuditUnavailable(`the audit journal ${what}: ${why}`, 'audit_journal_failed');
}
