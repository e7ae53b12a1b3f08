import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Head } from './batch.ts';
import { GENESIS_HASH } from './chain.ts';
import { AuditUnavailable } from './entry.ts';
import type { Journal } from './journal.ts';
import type { AuditLogger } from './logger.ts';
import type { OpenStatement } from './open-statements.ts';
import {
  type FromShipper,
  flatten,
  type JournalState,
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

/**
 * Ships a journal on a thread of its own, so that hashing and sending rows holds up no session. Should that thread
 * die, the log is no longer healthy and entries stay in the journal, for the next start.
 */
export class Shipping {
  readonly #options: ShippingOptions;
  readonly #thread: Worker;
  readonly #ended: Promise<void>;
  #status: ShippingStatus = {
    shipped: { seq: 0n, hash: GENESIS_HASH },
    awaySince: null,
    sentAt: null,
    refused: false,
  };
  /** The entry that the thread sleeps for. */
  #wanted: bigint | null = null;
  #waiters: Waiter[] = [];
  #askers: ((open: readonly OpenStatement[]) => void)[] = [];
  #stopped = false;
  #dead = false;

  constructor(options: ShippingOptions) {
    this.#options = options;
    const { journal, key, url, schema } = options;
    this.#thread = startThread({
      stream: journal.stream,
      saltSecret: journal.saltSecret,
      kid: key.kid,
      privateKey: key.privateKey,
      url,
      schema,
      state: this.#state(),
    });
    this.#thread.on('message', (message: FromShipper) => this.#receive(message));
    this.#thread.on('error', (error) => this.#died(error));
    this.#ended = new Promise((resolve) => {
      this.#thread.on('exit', () => {
        if (!this.#stopped) this.#died(new Error('the thread ended'));
        resolve();
      });
    });
    journal.onWritten = () => this.#written();
  }

  /** The last row that the database has. */
  get shipped(): Head {
    return this.#status.shipped;
  }

  /** True where shipping cannot go on: another history in the database, an altered journal, a dead thread. */
  get refused(): boolean {
    return this.#status.refused || this.#dead;
  }

  /** Milliseconds for which the database has not answered; 0: it does. */
  awayMs(): number {
    const since = this.#status.awaySince ?? this.#status.sentAt;
    return since === null ? 0 : Math.max(1, Date.now() - since);
  }

  /** Resolves when that entry, which is written, is stored; rejects with `AuditUnavailable` after `waitMs` (0: never). */
  committed(seq: bigint, waitMs: number): Promise<void> {
    if (seq <= this.#status.shipped.seq) return Promise.resolve();
    if (this.#stopped) return Promise.reject(closed());
    if (this.#dead) return Promise.reject(threadDied());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#giveUp(waiter, waitMs), waitMs === 0 ? FOREVER_MS : waitMs);
      const waiter: Waiter = { seq, resolve, reject, timer };
      this.#waiters.push(waiter);
      this.#post({ kind: 'need', seq, state: this.#state() });
    });
  }

  /** Statements that were shipped without an outcome so far. */
  openStatements(): Promise<readonly OpenStatement[]> {
    if (this.#stopped || this.#dead) return Promise.reject(closed());
    return new Promise((resolve) => {
      this.#askers.push(resolve);
      this.#post({ kind: 'open' });
    });
  }

  /** Stops after the batch that is under way; what is not shipped stays in the journal. */
  async stop(): Promise<void> {
    if (!this.#stopped) {
      this.#stopped = true;
      this.#options.journal.onWritten = () => {};
      this.#post({ kind: 'stop' });
    }
    await this.#ended;
    this.#rejectAll(closed());
  }

  /** On the hot path, after each write of the journal. */
  #written(): void {
    if (this.#wanted === null || this.#options.journal.writtenSeq < this.#wanted) return;
    this.#wanted = null;
    this.#post({ kind: 'state', state: this.#state() });
  }

  #receive(message: FromShipper): void {
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
        void this.#answer(message.id, () => this.#options.journal.sync());
        break;
      case 'release':
        void this.#answer(message.id, async () => {
          await this.#options.keepOpen(message.seq, message.open);
          await this.#options.journal.release(message.segment);
        });
        break;
      case 'open':
        for (const asker of this.#askers.splice(0)) asker(message.open);
        break;
      case 'log': {
        const { level, facts, failure, message: text } = message;
        this.#options.log[level](failure === null ? facts : { ...facts, err: unflatten(failure) }, text);
        break;
      }
      case 'stopped':
        void this.#thread.terminate();
        break;
    }
  }

  #take(status: ShippingStatus): void {
    // A Buffer crosses as the plain array that it is.
    const shipped = { seq: status.shipped.seq, hash: Buffer.from(status.shipped.hash) };
    this.#status = { ...status, shipped };
    if (this.#waiters.length === 0) return;
    const done = this.#waiters.filter(({ seq }) => seq <= shipped.seq);
    this.#waiters = this.#waiters.filter(({ seq }) => seq > shipped.seq);
    for (const { timer, resolve } of done) {
      clearTimeout(timer);
      resolve();
    }
  }

  async #answer(id: number, work: () => Promise<void>): Promise<void> {
    let failure = null;
    try {
      await work();
    } catch (error) {
      failure = flatten(error);
    }
    this.#post({ kind: 'reply', id, state: this.#state(), failure });
  }

  #giveUp(waiter: Waiter, waitMs: number): void {
    this.#waiters = this.#waiters.filter((other) => other !== waiter);
    const why = `entry ${waiter.seq} was not stored in the audit database within ${waitMs} ms`;
    waiter.reject(new AuditUnavailable(why, 'audit_database_away'));
  }

  #died(error: unknown): void {
    if (this.#dead) return;
    this.#dead = true;
    this.#status = { ...this.#status, awaySince: this.#status.awaySince ?? Date.now() };
    const facts = { err: error, stream: this.#options.journal.stream };
    this.#options.log.error(facts, 'the thread that ships the audit log died: entries stay in the journal');
    this.#rejectAll(threadDied());
  }

  #rejectAll(error: Error): void {
    for (const waiter of this.#waiters.splice(0)) {
      clearTimeout(waiter.timer);
      waiter.reject(error);
    }
    // Nobody is left to say; what is not known to be open is found again by recovery.
    for (const asker of this.#askers.splice(0)) asker([]);
  }

  #state(): JournalState {
    const { segments, writtenSeq, syncedSeq } = this.#options.journal;
    return { segments, writtenSeq, syncedSeq };
  }

  #post(message: ToShipper): void {
    this.#thread.postMessage(message);
  }
}

function closed(): AuditUnavailable {
  return new AuditUnavailable('the audit log is closed', 'audit_closed');
}

function threadDied(): AuditUnavailable {
  return new AuditUnavailable('the thread that ships the audit log died', 'audit_database_away');
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

/** The longest that a timer can run. */
const FOREVER_MS = 2 ** 31 - 1;
