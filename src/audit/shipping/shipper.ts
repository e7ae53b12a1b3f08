import { ByteReader } from '../chain/bytes.ts';
import { GENESIS_HASH } from '../chain/chain.ts';
import { JournalAltered, JournalReader, type RawRecord } from '../journal/journal-reader.ts';
import { type OpenStatement, OpenStatements } from '../journal/open-statements.ts';
import { readRecord } from '../journal/record.ts';
import type { AuditLogger } from '../logger.ts';
import type { BatchSigner, Head } from './batch.ts';
import { BatchEncoder, type EncodedBatch } from './batch-encoder.ts';
import type { RemoteJournal } from './remote-journal.ts';
import type { ShippedBefore, ShippingStatus } from './shipping-messages.ts';
import { type AuditStore, connectStore, isRefusal } from './store.ts';

export type ShipperOptions = {
  readonly journal: RemoteJournal;
  readonly stream: string;
  readonly saltSecret: Buffer;
  readonly key: BatchSigner;
  readonly url: string;
  readonly schema: string;
  readonly log: AuditLogger;
  readonly before: ShippedBefore;
  /** Called when the status changed; `bytes` of journal records were stored since the last call. */
  readonly report: (status: ShippingStatus, bytes: number) => void;
};

/** Why nothing goes on: nothing to ship; waiting for company; leaving the cores to traffic; the database is away. */
type Sleep = 'idle' | 'linger' | 'rest' | 'pause';

/** Turns one stream's journal into rows of the audit database: reads, hashes, signs, sends, and tries again. */
export class Shipper {
  readonly #options: ShipperOptions;
  readonly #reader: JournalReader;
  readonly #encoder: BatchEncoder;
  readonly #open: OpenStatements;
  /** Resolves when `#open` has followed everything that the database had at first. */
  readonly #caughtUp: Promise<void>;
  #catchingUp: () => void = () => {};
  #store: AuditStore | null = null;
  /** The end of what was prepared; null until the database said where the stream ends there. */
  #prepareFrom: Head | null = null;
  /** The last row that the database has. */
  #shipped: Head = { seq: 0n, hash: GENESIS_HASH };
  /** Sent but not answered, and ready behind it. */
  #prepared: EncodedBatch[] = [];
  #segment = 0;
  /** Somebody waits for this entry. */
  #needed = 0n;
  /** Stored since the last report. */
  #storedBytes = 0;
  #sleeping: { readonly wake: () => void; readonly kind: Sleep } | null = null;
  #awaySince: number | null = null;
  #sentAt: number | null = null;
  #refused = false;
  #stopped = false;
  #running: Promise<void> | null = null;

  constructor(options: ShipperOptions) {
    this.#options = options;
    this.#encoder = new BatchEncoder(options);
    this.#reader = new JournalReader(() => options.journal.segments);
    this.#open = new OpenStatements(options.before.kept.open);
    this.#caughtUp = new Promise((resolve) => {
      this.#catchingUp = resolve;
    });
  }

  /** Statements that were shipped without an outcome so far; as soon as it is known where the stream ends there. */
  async openStatements(): Promise<readonly OpenStatement[]> {
    await this.#caughtUp;
    return this.#open.list();
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Somebody waits for this entry: it goes out at once. */
  need(seq: bigint): void {
    if (seq > this.#needed) this.#needed = seq;
    if (this.#sleeping?.kind !== 'pause') this.#sleeping?.wake();
  }

  /** The journal has come further. */
  written(): void {
    if (this.#sleeping === null || this.#sleeping.kind === 'pause') return;
    const enough = { idle: 1n, linger: FULL_BATCH, rest: SMALL_BACKLOG }[this.#sleeping.kind];
    if (this.#waiting() >= enough) this.#sleeping.wake();
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
    const { url, schema, stream } = this.#options;
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
      const head = (await store.head(stream)) ?? this.#shipped;
      // Somebody else appended: taking those rows for ours would take what is here for stored.
      const { writtenSeq } = this.#options.journal;
      if (head.seq > writtenSeq) {
        await store.close();
        throw new JournalAltered(
          `the stream ends at ${head.seq} in the database, and its journal at ${writtenSeq}`,
        );
      }
      await this.#catchUp(head.seq);
      this.#prepareFrom = head;
      this.#stored(head);
      this.#catchingUp();
    }
    if (lost) throw new Error('the connection was lost');
    this.#store = store;
    if (this.#prepared.length === 0) this.#back();
    return store;
  }

  /** Sends the oldest prepared batch, and prepares the next while the database works. True: something was stored. */
  async #shipNext(store: AuditStore): Promise<boolean> {
    const { journal } = this.#options;
    if (this.#prepared.length === 0) {
      if (!(await this.#due())) return false;
      // What the database has is on this disk too: after a loss of power the journal is never behind it. One force is
      // for everything written by then, and no other is needed before all of that is sent.
      if (this.#onDisk() === 0n) await journal.sync();
      await this.#prepare();
    }
    const first = this.#prepared[0];
    if (first === undefined) return false;
    const sentAt = Date.now();
    this.#sentAt = sentAt;
    this.#report();
    const ahead = this.#prepared.length < 2 && this.#onDisk() >= FULL_BATCH ? this.#prepare() : null;
    const [sent, prepared] = await Promise.allSettled([store.append(first), ahead]);
    this.#sentAt = null;
    if (sent.status === 'rejected') throw sent.reason;
    this.#prepared.shift();
    this.#back();
    for (const { intent, statement } of first.statements) {
      if (intent) this.#open.begin(statement);
      else this.#open.end(statement);
    }
    this.#storedBytes += first.bytes;
    this.#stored({ seq: first.facts.toSeq, hash: first.facts.hash });
    await this.#release(first.facts.toSeq, first.segment);
    if (prepared.status === 'rejected') throw prepared.reason;
    await this.#rest(Date.now() - sentAt);
    return true;
  }

  /** Leaves the cores to traffic for as long as the last batch had them, unless somebody waits or much has piled up. */
  async #rest(workedMs: number): Promise<void> {
    const waiting = this.#waiting();
    if (this.#stopped || this.#store === null || this.#urgent()) return;
    if (waiting === 0n || waiting >= SMALL_BACKLOG) return;
    this.#options.journal.want(this.#preparedSeq() + SMALL_BACKLOG);
    await this.#sleep('rest', Math.min(workedMs, LONGEST_REST_MS));
  }

  /** Waits until there is something to ship, and a little longer for more, unless somebody waits for it. */
  async #due(): Promise<boolean> {
    for (let lingered = false; ; ) {
      if (this.#stopped || this.#store === null) return false;
      const waiting = this.#waiting();
      if (waiting === 0n) {
        this.#options.journal.want(this.#preparedSeq() + 1n);
        await this.#sleep('idle', FOREVER_MS);
      } else if (lingered || this.#urgent() || waiting >= FULL_BATCH) return true;
      else {
        this.#options.journal.want(this.#preparedSeq() + FULL_BATCH);
        await this.#sleep('linger', LINGER_MS);
        lingered = true;
      }
    }
  }

  /** Written records that are in no batch yet. */
  #waiting(): bigint {
    return this.#options.journal.writtenSeq - this.#preparedSeq();
  }

  /** Those of them that are on disk: only they may be sent. */
  #onDisk(): bigint {
    return this.#options.journal.syncedSeq - this.#preparedSeq();
  }

  #preparedSeq(): bigint {
    return this.#prepareFrom?.seq ?? 0n;
  }

  #urgent(): boolean {
    return this.#needed > this.#shipped.seq;
  }

  async #prepare(): Promise<void> {
    const { journal } = this.#options;
    const from = this.#prepareFrom;
    if (from !== null) {
      const rows = Math.min(BATCH_ROWS, Number(journal.syncedSeq - from.seq));
      const records = await this.#reader.take(rows, BATCH_BYTES);
      if (records.length === 0)
        throw new JournalAltered(`the journal ends before record ${journal.writtenSeq}`);
      if (records[0]?.seq !== from.seq + 1n) {
        throw new JournalAltered(
          `the journal goes on at ${records[0]?.seq}, the database ends at ${from.seq}`,
        );
      }
      const batch = this.#encoder.encode(from, records);
      this.#prepareFrom = { seq: batch.facts.toSeq, hash: batch.facts.hash };
      this.#prepared.push(batch);
    }
  }

  /** Goes over what is stored already, by the process that wrote this journal or by a thread before this one. */
  async #catchUp(known: bigint): Promise<void> {
    for (;;) {
      const records = await this.#reader.take(BATCH_ROWS, BATCH_BYTES, known);
      const last = records.at(-1);
      if (last === undefined) return;
      this.#skip(records);
      await this.#release(last.seq, last.segment);
    }
  }

  /** What was stored before: it does not count against the journal's limit. */
  #skip(records: readonly RawRecord[]): void {
    const { countedSeq, kept } = this.#options.before;
    for (const { seq, record } of records) {
      if (seq > kept.seq) this.#open.follow(readRecord(new ByteReader(record)).entry);
      if (seq > countedSeq) this.#storedBytes += record.length;
    }
  }

  /** Deletes the segments before that of `seq`, the last entry stored. */
  async #release(seq: bigint, segment: number): Promise<void> {
    if (segment === this.#segment) return;
    try {
      const first = this.#segment === 0;
      this.#segment = segment;
      if (!first) await this.#options.journal.release(segment, seq, this.#open);
    } catch (error) {
      const facts = { err: error, stream: this.#options.stream };
      this.#options.log.warn(facts, 'a shipped journal segment stays');
    }
  }

  #stored(head: Head): void {
    this.#shipped = head;
    this.#report();
  }

  #report(): void {
    const bytes = this.#storedBytes;
    this.#storedBytes = 0;
    const status = {
      shipped: this.#shipped,
      awaySince: this.#awaySince,
      sentAt: this.#sentAt,
      refused: this.#refused,
    };
    this.#options.report(status, bytes);
  }

  #back(): void {
    if (this.#awaySince === null) return;
    const ms = Date.now() - this.#awaySince;
    this.#awaySince = null;
    this.#refused = false;
    this.#report();
    this.#options.log.info({ stream: this.#options.stream, awayMs: ms }, 'audit database is back');
  }

  async #failed(error: unknown, failures: number): Promise<void> {
    const store = this.#store;
    this.#store = null;
    void store?.close();
    const { log, stream } = this.#options;
    const facts = { err: error, stream };
    if (isRefusal(error) || error instanceof JournalAltered || error instanceof RangeError) {
      if (!this.#refused)
        log.error(facts, 'the audit database and this journal do not agree: nothing more is stored');
      this.#refused = true;
    } else if (this.#awaySince === null) {
      log.warn(facts, 'audit database is away; entries stay in the journal');
    }
    this.#awaySince ??= Date.now();
    this.#report();
    if (this.#stopped) return;
    await this.#sleep('pause', Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10)));
  }

  #sleep(kind: Sleep, ms: number): Promise<void> {
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
const BATCH_ROWS = 500;
const BATCH_BYTES = 4 * 1024 * 1024;
const FULL_BATCH = BigInt(BATCH_ROWS);
/** Milliseconds that a batch waits for company where nobody waits for it. */
const LINGER_MS = 100;
/** Entries; fewer than these are shipped at half speed. A few seconds of busy traffic. */
const SMALL_BACKLOG = 20_000n;
const LONGEST_REST_MS = 500;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** The longest that a timer can run. */
const FOREVER_MS = 2 ** 31 - 1;
