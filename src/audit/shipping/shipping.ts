import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { GENESIS_HASH } from '../chain/chain.ts';
import { AuditUnavailable } from '../entry.ts';
import type { Journal } from '../journal/journal.ts';
import type { OpenStatement } from '../journal/open-statements.ts';
import type { AuditLogger } from '../logger.ts';
import type { Head } from './batch.ts';
import {
  type FromShipper,
  flatten,
  type JournalState,
  NOTHING_BEFORE,
  type ShippedBefore,
  type ShippingStatus,
  type ShippingTask,
  type ToShipper,
  unflatten,
} from './shipping-messages.ts';
import type { StreamKey } from './stream-key.ts';

export type ShippingOptions = {
  readonly journal: Journal;
  readonly key: StreamKey;
  readonly url: string;
  readonly schema: string;
  readonly log: AuditLogger;
  /** Called before segments are deleted: statements open then would be forgotten with them. */
  readonly keepOpen: (seq: bigint, open: readonly OpenStatement[]) => Promise<void>;
};

type Waiter = {
  readonly seq: bigint;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
};

type Asker = {
  readonly resolve: (open: readonly OpenStatement[]) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
};

/**
 * Ships a journal on a thread of its own, so that hashing and sending rows holds up no session. Should that thread die,
 * another one takes over where the database ends: entries stay in the journal meanwhile, whoever waits for one goes on
 * waiting, and the log counts as away since then until something is stored again.
 */
export class Shipping {
  readonly #options: ShippingOptions;
  #thread: Worker;
  /** Resolves when the thread at hand is gone. */
  #ended: Promise<void> = Promise.resolve();
  #status: ShippingStatus = {
    shipped: { seq: 0n, hash: GENESIS_HASH },
    awaySince: null,
    sentAt: null,
    refused: false,
  };
  /** The entry that the thread sleeps for. */
  #wanted: bigint | null = null;
  #waiters: Waiter[] = [];
  #askers: Asker[] = [];
  #stopped = false;
  /** Since when (milliseconds since 1970) no thread did anything, and what the last one had done; null: all is well. */
  #died: { readonly since: number; readonly seq: bigint } | null = null;
  /** Threads that died in a row without having done anything. */
  #deaths = 0;
  #restart: NodeJS.Timeout | null = null;
  #kept: ShippedBefore['kept'] = NOTHING_BEFORE.kept;

  constructor(options: ShippingOptions) {
    this.#options = options;
    this.#thread = this.#start();
    options.journal.onWritten = () => this.#written();
  }

  /** The last row that the database has. */
  get shipped(): Head {
    return this.#status.shipped;
  }

  /** True where shipping cannot go on: another history in the database, an altered journal. */
  get refused(): boolean {
    return this.#status.refused;
  }

  /** Milliseconds for which nothing was stored, the database or the thread being away; 0: all is well. */
  awayMs(): number {
    const since = this.#died?.since ?? this.#status.awaySince ?? this.#status.sentAt;
    return since === null ? 0 : Math.max(1, Date.now() - since);
  }

  /**
   * Resolves when that entry, which is written, is stored; rejects with `AuditUnavailable` after `waitMs` (0: never), and
   * at once where the database refuses what this journal has.
   */
  committed(seq: bigint, waitMs: number): Promise<void> {
    if (seq <= this.#status.shipped.seq) return Promise.resolve();
    if (this.#stopped) return Promise.reject(closed());
    if (this.#status.refused) return Promise.reject(disagreed());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#giveUp(waiter, waitMs), waitMs === 0 ? FOREVER_MS : waitMs);
      const waiter: Waiter = { seq, resolve, reject, timer };
      this.#waiters.push(waiter);
      this.#post({ kind: 'need', seq, state: this.#state() });
    });
  }

  /** Statements that were shipped without an outcome so far; rejects with `AuditUnavailable` after `waitMs`. */
  openStatements(waitMs: number): Promise<readonly OpenStatement[]> {
    if (this.#stopped) return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#askers = this.#askers.filter((other) => other !== asker);
        reject(new AuditUnavailable('what is open could not be told', 'audit_database_away'));
      }, waitMs);
      const asker: Asker = { resolve, reject, timer };
      this.#askers.push(asker);
      this.#post({ kind: 'open' });
    });
  }

  /** Stops after the batch that is under way; what is not shipped stays in the journal. */
  async stop(): Promise<void> {
    if (!this.#stopped) {
      this.#stopped = true;
      if (this.#restart !== null) clearTimeout(this.#restart);
      this.#options.journal.onWritten = () => {};
      this.#post({ kind: 'stop' });
    }
    await this.#ended;
    this.#rejectAll(closed());
  }

  #start(): Worker {
    const { journal, key, url, schema } = this.#options;
    const thread = startThread({
      stream: journal.stream,
      saltSecret: journal.saltSecret,
      kid: key.kid,
      privateKey: key.privateKey,
      url,
      schema,
      state: this.#state(),
      before: { countedSeq: this.#status.shipped.seq, kept: this.#kept },
    });
    let failure: unknown = new Error('the thread ended');
    thread.on('message', (message: FromShipper) => this.#receive(message, thread));
    thread.on('error', (error) => {
      failure = error;
    });
    this.#ended = new Promise((resolve) => {
      thread.on('exit', () => {
        if (!this.#stopped) this.#gone(failure);
        resolve();
      });
    });
    return thread;
  }

  /** The thread died: another one begins where the database ends, a little later each time. */
  #gone(error: unknown): void {
    const { shipped } = this.#status;
    this.#died ??= { since: Date.now(), seq: shipped.seq };
    this.#deaths += 1;
    const inMs = Math.min(LONGEST_RESTART_MS, FIRST_RESTART_MS * 2 ** Math.min(this.#deaths - 1, 10));
    const facts = { err: error, stream: this.#options.journal.stream, inMs };
    this.#options.log.error(facts, 'the thread that ships the audit log died: another one is started');
    this.#restart = setTimeout(() => {
      this.#restart = null;
      this.#wanted = null;
      this.#thread = this.#start();
      const needed = this.#waiters.reduce((seq, waiter) => (waiter.seq > seq ? waiter.seq : seq), 0n);
      if (needed > 0n) this.#post({ kind: 'need', seq: needed, state: this.#state() });
      if (this.#askers.length > 0) this.#post({ kind: 'open' });
    }, inMs);
  }

  /** On the hot path, after each write of the journal. */
  #written(): void {
    if (this.#wanted === null || this.#options.journal.writtenSeq < this.#wanted) return;
    this.#wanted = null;
    this.#post({ kind: 'state', state: this.#state() });
  }

  #receive(message: FromShipper, thread: Worker): void {
    switch (message.kind) {
      case 'status':
        this.#options.journal.shipped(message.bytes);
        this.#take(message.status);
        break;
      case 'want':
        this.#wanted = message.seq;
        this.#written();
        break;
      case 'sync':
        void this.#answer(thread, message.id, () => this.#options.journal.sync());
        break;
      case 'release':
        void this.#answer(thread, message.id, async () => {
          await this.#options.keepOpen(message.seq, message.open);
          this.#kept = { seq: message.seq, open: message.open };
          await this.#options.journal.release(message.segment);
        });
        break;
      case 'open':
        for (const { timer, resolve } of this.#askers.splice(0)) {
          clearTimeout(timer);
          resolve(message.open);
        }
        break;
      case 'log': {
        const { level, facts, failure, message: text } = message;
        this.#options.log[level](failure === null ? facts : { ...facts, err: unflatten(failure) }, text);
        break;
      }
      case 'stopped':
        void thread.terminate();
        break;
    }
  }

  #take(status: ShippingStatus): void {
    // A Buffer crosses as the plain array that it is.
    const told = { seq: status.shipped.seq, hash: Buffer.from(status.shipped.hash) };
    // A new thread knows nothing until it has asked the database.
    const shipped = told.seq >= this.#status.shipped.seq ? told : this.#status.shipped;
    this.#status = { ...status, shipped };
    this.#isBack(told.seq);
    if (this.#waiters.length === 0) return;
    const done = this.#waiters.filter(({ seq }) => seq <= shipped.seq);
    this.#waiters = this.#waiters.filter(({ seq }) => seq > shipped.seq);
    for (const { timer, resolve } of done) {
      clearTimeout(timer);
      resolve();
    }
    if (status.refused)
      for (const { timer, reject } of this.#waiters.splice(0)) {
        clearTimeout(timer);
        reject(disagreed());
      }
  }

  /** After a death: something was stored, or there is nothing left that is not. */
  #isBack(seq: bigint): void {
    if (this.#died === null) return;
    if (seq <= this.#died.seq && seq < this.#options.journal.writtenSeq) return;
    const { stream } = this.#options.journal;
    const awayMs = Date.now() - this.#died.since;
    this.#options.log.info({ stream, awayMs }, 'the audit log is shipped again');
    this.#died = null;
    this.#deaths = 0;
  }

  /** To the thread that asked: another one numbers its questions anew. */
  async #answer(thread: Worker, id: number, work: () => Promise<void>): Promise<void> {
    let failure = null;
    try {
      await work();
    } catch (error) {
      failure = flatten(error);
    }
    thread.postMessage({ kind: 'reply', id, state: this.#state(), failure } satisfies ToShipper);
  }

  #giveUp(waiter: Waiter, waitMs: number): void {
    this.#waiters = this.#waiters.filter((other) => other !== waiter);
    const why = `entry ${waiter.seq} was not stored in the audit database within ${waitMs} ms`;
    waiter.reject(new AuditUnavailable(why, 'audit_database_away'));
  }

  #rejectAll(error: Error): void {
    for (const { timer, reject } of [...this.#waiters.splice(0), ...this.#askers.splice(0)]) {
      clearTimeout(timer);
      reject(error);
    }
  }

  #state(): JournalState {
    const { segments, writtenSeq, syncedSeq } = this.#options.journal;
    return { segments, writtenSeq, syncedSeq };
  }

  #post(message: ToShipper): void {
    this.#thread.postMessage(message);
  }
}

function disagreed(): AuditUnavailable {
  return new AuditUnavailable('the audit database and this journal do not agree', 'audit_stream_refused');
}

function closed(): AuditUnavailable {
  return new AuditUnavailable('the audit log is closed', 'audit_closed');
}

/** Threads load TypeScript by themselves no more than Node does: from sources, the development's loader goes first. */
function startThread(task: ShippingTask): Worker {
  if (!import.meta.url.endsWith('.ts')) {
    return new Worker(new URL('./shipper-thread.js', import.meta.url), { workerData: { task } });
  }
  // By path: the package's CommonJS form of this cannot be used on a thread.
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json'));
  const loader = new URL('./dist/esm/api/index.mjs', tsx).href;
  const program = new URL('./shipper-thread.ts', import.meta.url).href;
  return new Worker(
    `const { loader, program } = require('node:worker_threads').workerData;
     import(loader).then(({ register }) => { register(); return import(program); });`,
    { eval: true, execArgv: [], workerData: { task, loader, program } },
  );
}

const FIRST_RESTART_MS = 250;
const LONGEST_RESTART_MS = 30_000;
/** The longest that a timer can run. */
const FOREVER_MS = 2 ** 31 - 1;
