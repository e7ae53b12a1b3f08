import { type BatchSigner, type Head, type SignedBatch, signBatch } from './batch.ts';
import { saltOf } from './block.ts';
import { GENESIS_HASH } from './chain.ts';
import { AuditUnavailable } from './entry.ts';
import type { Journal } from './journal.ts';
import { JournalAltered, JournalReader, type ReadEntry } from './journal-reader.ts';
import type { AuditLogger } from './logger.ts';
import { OpenStatements } from './open-statements.ts';
import { entryRow } from './row.ts';
import { type AuditStore, connectStore, isRefusal } from './store.ts';

export type ShipperOptions = {
  readonly journal: Journal;
  readonly key: BatchSigner;
  readonly url: string;
  readonly schema: string;
  readonly log: AuditLogger;
  /** Called before segments are deleted: statements open then would be forgotten with them. */
  readonly keepOpen: (seq: bigint, open: OpenStatements) => Promise<void>;
};

/** A batch ready to be sent, and the entries in it. */
type Prepared = { readonly batch: SignedBatch; readonly entries: readonly ReadEntry[] };

type Waiter = {
  readonly seq: bigint;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
};

/** Turns one stream's journal into rows of the audit database: reads, hashes, signs, sends, and tries again. */
export class Shipper {
  readonly #options: ShipperOptions;
  readonly #reader: JournalReader;
  readonly #open = new OpenStatements();
  #store: AuditStore | null = null;
  /** The end of what was prepared; null until the database said where the stream ends there. */
  #prepareFrom: Head | null = null;
  /** The last row that the database has. */
  #shipped: Head = { seq: 0n, hash: GENESIS_HASH };
  /** Sent but not answered, and ready behind it. */
  #prepared: Prepared[] = [];
  #segment = 0;
  #waiters: Waiter[] = [];
  #sleeping: { readonly wake: () => void; readonly kind: 'idle' | 'linger' | 'pause' } | null = null;
  #awaySince: number | null = null;
  #sentAt: number | null = null;
  #refused = false;
  #stopped = false;
  #running: Promise<void> | null = null;

  constructor(options: ShipperOptions) {
    this.#options = options;
    this.#reader = new JournalReader(() => options.journal.segments);
    options.journal.onWritten = () => this.#written();
  }

  get shipped(): Head {
    return this.#shipped;
  }

  /** Statements that were shipped without an outcome so far. */
  get open(): OpenStatements {
    return this.#open;
  }

  /** True where the database has another history of this stream, or the journal was altered: a person must look. */
  get refused(): boolean {
    return this.#refused;
  }

  /** Milliseconds for which the database has not answered; 0: it does. */
  awayMs(): number {
    const since = this.#awaySince ?? this.#sentAt;
    return since === null ? 0 : Date.now() - since;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves when that entry is stored; rejects with `AuditUnavailable` after `waitMs` (0: never). */
  committed(seq: bigint, waitMs: number): Promise<void> {
    if (seq <= this.#shipped.seq) return Promise.resolve();
    if (this.#stopped) return Promise.reject(new AuditUnavailable('the audit log is closed', 'audit_closed'));
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#giveUp(waiter, waitMs), waitMs === 0 ? FOREVER_MS : waitMs);
      const waiter: Waiter = { seq, resolve, reject, timer };
      this.#waiters.push(waiter);
      if (this.#sleeping?.kind !== 'pause') this.#sleeping?.wake();
    });
  }

  /** Stops after the batch that is under way; what is not shipped stays in the journal. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#sleeping?.wake();
    await this.#running;
    const store = this.#store;
    this.#store = null;
    await store?.close();
    await this.#reader.close();
    for (const waiter of this.#waiters) {
      clearTimeout(waiter.timer);
      waiter.reject(new AuditUnavailable('the audit log is closed', 'audit_closed'));
    }
    this.#waiters = [];
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#stopped; ) {
      try {
        const store = await this.#connected();
        if (await this.#shipNext(store)) failures = 0;
      } catch (error) {
        failures += 1;
        await this.#failed(error, failures);
      }
    }
  }

  async #connected(): Promise<AuditStore> {
    if (this.#store !== null) return this.#store;
    const { url, schema, journal } = this.#options;
    let lost = false;
    let store: AuditStore | null = null;
    store = await connectStore({
      url,
      schema,
      lost: () => {
        lost = true;
        if (store === null || this.#store !== store) return;
        this.#store = null;
        if (this.#sleeping?.kind !== 'pause') this.#sleeping?.wake();
      },
    });
    if (this.#prepareFrom === null) {
      const head = (await store.head(journal.stream)) ?? this.#shipped;
      this.#prepareFrom = head;
      this.#stored(head);
    }
    if (lost) throw new Error('the connection was lost');
    this.#store = store;
    if (this.#prepared.length === 0) this.#back();
    return store;
  }

  /** Sends the oldest prepared batch, and prepares the next while the database works. True: something was stored. */
  async #shipNext(store: AuditStore): Promise<boolean> {
    if (this.#prepared.length === 0) {
      if (!(await this.#due())) return false;
      await this.#prepare();
    }
    const first = this.#prepared[0];
    if (first === undefined) return false;
    // What the database has is on this disk too: after a loss of power the journal is never behind it.
    await this.#options.journal.sync();
    this.#sentAt = Date.now();
    const ahead = this.#prepared.length < 2 && this.#waiting() >= FULL_BATCH ? this.#prepare() : null;
    const [sent, prepared] = await Promise.allSettled([store.append(first.batch), ahead]);
    this.#sentAt = null;
    if (sent.status === 'rejected') throw sent.reason;
    this.#prepared.shift();
    this.#back();
    this.#account(first.entries);
    this.#stored({ seq: first.batch.facts.toSeq, hash: first.batch.facts.hash });
    await this.#release(first.entries);
    if (prepared.status === 'rejected') throw prepared.reason;
    return true;
  }

  /** Waits until there is something to ship, and a little longer for more, unless somebody waits for it. */
  async #due(): Promise<boolean> {
    for (let lingered = false; ; ) {
      if (this.#stopped || this.#store === null) return false;
      const waiting = this.#waiting();
      if (waiting === 0n) await this.#sleep('idle', FOREVER_MS);
      else if (lingered || this.#waiters.length > 0 || waiting >= FULL_BATCH) return true;
      else {
        await this.#sleep('linger', LINGER_MS);
        lingered = true;
      }
    }
  }

  /** Written records that are in no batch yet. */
  #waiting(): bigint {
    return this.#options.journal.writtenSeq - (this.#prepareFrom?.seq ?? 0n);
  }

  async #prepare(): Promise<void> {
    const { journal, key } = this.#options;
    for (let from = this.#prepareFrom; from !== null; ) {
      const read = await this.#reader.take(BATCH_ROWS, BATCH_BYTES);
      if (read.length === 0) throw new JournalAltered(`the journal ends before record ${journal.writtenSeq}`);
      const known = from.seq;
      const entries = read.filter(({ seq }) => seq > known);
      // Shipped already, by the process that wrote this journal.
      if (entries.length < read.length) {
        const shipped = read.filter(({ seq }) => seq <= known);
        this.#account(shipped);
        await this.#release(shipped);
      }
      if (entries[0] === undefined) continue;
      if (entries[0].seq !== known + 1n) {
        throw new JournalAltered(`the journal goes on at ${entries[0].seq}, the database ends at ${known}`);
      }
      const rows = entries.map(({ seq, entry }) =>
        entryRow(entry, journal.stream, seq, saltOf(journal.saltSecret, seq)),
      );
      const batch = signBatch(from, journal.stream, rows, key);
      this.#prepareFrom = { seq: batch.facts.toSeq, hash: batch.facts.hash };
      this.#prepared.push({ batch, entries });
      return;
    }
  }

  /** What was stored: it no longer counts against the journal's limit. */
  #account(entries: readonly ReadEntry[]): void {
    let bytes = 0;
    for (const { entry, bytes: length } of entries) {
      this.#open.follow(entry);
      bytes += length;
    }
    this.#options.journal.shipped(bytes);
  }

  /** Deletes the segments before that of the last entry stored. */
  async #release(entries: readonly ReadEntry[]): Promise<void> {
    const last = entries.at(-1);
    if (last === undefined || last.segment === this.#segment) return;
    try {
      if (this.#segment !== 0) await this.#options.keepOpen(last.seq, this.#open);
      this.#segment = last.segment;
      await this.#options.journal.release(last.segment);
    } catch (error) {
      const facts = { err: error, stream: this.#options.journal.stream };
      this.#options.log.warn(facts, 'a shipped journal segment stays');
    }
  }

  #stored(head: Head): void {
    this.#shipped = head;
    if (this.#waiters.length === 0) return;
    const done = this.#waiters.filter(({ seq }) => seq <= head.seq);
    this.#waiters = this.#waiters.filter(({ seq }) => seq > head.seq);
    for (const { timer, resolve } of done) {
      clearTimeout(timer);
      resolve();
    }
  }

  #back(): void {
    if (this.#awaySince === null) return;
    const ms = Date.now() - this.#awaySince;
    this.#awaySince = null;
    this.#refused = false;
    this.#options.log.info({ stream: this.#options.journal.stream, awayMs: ms }, 'audit database is back');
  }

  async #failed(error: unknown, failures: number): Promise<void> {
    const store = this.#store;
    this.#store = null;
    void store?.close();
    const { log, journal } = this.#options;
    const facts = { err: error, stream: journal.stream };
    if (isRefusal(error) || error instanceof JournalAltered || error instanceof RangeError) {
      if (!this.#refused)
        log.error(facts, 'the audit database and this journal do not agree: nothing more is stored');
      this.#refused = true;
    } else if (this.#awaySince === null) {
      log.warn(facts, 'audit database is away; entries stay in the journal');
    }
    this.#awaySince ??= Date.now();
    if (this.#stopped) return;
    await this.#sleep('pause', Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10)));
  }

  #giveUp(waiter: Waiter, waitMs: number): void {
    this.#waiters = this.#waiters.filter((other) => other !== waiter);
    const why = `entry ${waiter.seq} was not stored in the audit database within ${waitMs} ms`;
    waiter.reject(new AuditUnavailable(why, 'audit_database_away'));
  }

  /** On the hot path, after each write of the journal. */
  #written(): void {
    if (this.#sleeping === null || this.#sleeping.kind === 'pause') return;
    if (this.#sleeping.kind === 'idle' || this.#waiting() >= FULL_BATCH) this.#sleeping.wake();
  }

  #sleep(kind: 'idle' | 'linger' | 'pause', ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#sleeping = null;
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#sleeping = { wake, kind };
    });
  }
}

/** Rows in a batch, and bytes of journal records after which it has no more. */
const BATCH_ROWS = 250;
const BATCH_BYTES = 4 * 1024 * 1024;
const FULL_BATCH = BigInt(BATCH_ROWS);
/** Milliseconds that a batch waits for company where nobody waits for it. */
const LINGER_MS = 20;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** The longest that a timer can run. */
const FOREVER_MS = 2 ** 31 - 1;
