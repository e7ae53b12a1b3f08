import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import type { RawParse } from './parser.ts';

/**
 * The worker's program, as text: it needs no compilation and no file, so it runs the same from TypeScript sources
 * and from the compiled package. It must stay in step with parser.ts.
 */
const PROGRAM = `
const PLAIN = new Set(['A_Const', 'ParamRef', 'SetToDefault']);
const plain = (node) => node !== null && typeof node === 'object' && Object.keys(node).every((key) => PLAIN.has(key));
// Long lists of constants become many references to one of them: the copy to the other thread is then small.
// Only where no value matters: rows of VALUES, arrays, IN lists of a column.
const alike = (items, same) => {
  let first = null;
  for (let i = 0; i < items.length; i++) {
    if (!same(items[i])) continue;
    if (first === null || !first.fits(items[i])) first = { item: items[i], fits: fitting(items[i]) };
    else items[i] = first.item;
  }
};
const rowItems = (row) => (row && row.List && Array.isArray(row.List.items) ? row.List.items : null);
const fitting = (item) => {
  const width = rowItems(item) ? rowItems(item).length : -1;
  return (other) => (rowItems(other) ? rowItems(other).length : -1) === width;
};
const shrink = (node) => {
  const waiting = [node];
  while (waiting.length > 0) {
    const at = waiting.pop();
    if (at === null || typeof at !== 'object') continue;
    if (Array.isArray(at.valuesLists) && at.valuesLists.length > 100)
      alike(at.valuesLists, (row) => rowItems(row) !== null && rowItems(row).every(plain));
    if (Array.isArray(at.elements) && at.elements.length > 100) alike(at.elements, plain);
    if (at.kind === 'AEXPR_IN' && at.lexpr && at.lexpr.ColumnRef && rowItems(at.rexpr) && rowItems(at.rexpr).length > 100)
      alike(rowItems(at.rexpr), plain);
    let last = null;
    for (const key in at) {
      if (at[key] !== last) waiting.push(at[key]);
      last = at[key];
    }
  }
  return node;
};
const { parentPort, workerData } = require('node:worker_threads');
const parser = require(workerData);
parser.loadModule().then(() => {
  parentPort.on('message', ({ id, sql }) => {
    try {
      parentPort.postMessage({ id, answer: { kind: 'tree', tree: shrink(parser.parseSync(sql)) } });
    } catch (error) {
      if (!(error instanceof parser.SqlError)) throw error;
      const cursor = parser.hasSqlDetails(error) ? error.sqlDetails.cursorPosition ?? null : null;
      parentPort.postMessage({ id, answer: { kind: 'syntax', message: error.message, cursor } });
    }
  });
  parentPort.postMessage({ ready: true });
});
`;

/** Megabytes of JavaScript heap and of stack: a 10 MB INSERT makes a tree of several hundred megabytes. */
const HEAP_MB = 2048;
const STACK_MB = 16;
/** How long a thread may take until its parser is loaded, on a machine that is busy. */
const START_MS = 30_000;

export type WorkerAnswer = RawParse | { readonly kind: 'timeout' } | { readonly kind: 'fault' };
type Waiting = { readonly sql: string; readonly done: (answer: WorkerAnswer) => void };

/**
 * One parser on another thread, one text at a time, in order. A text that takes longer than `timeoutMs`, or that
 * breaks the parser, costs this thread its life; the next text gets a new one. Started when it is first needed; it
 * does not keep the process alive.
 */
export class ParserWorker {
  readonly #timeoutMs: number;
  readonly #queue: Waiting[] = [];
  #worker: { readonly thread: Worker; ready: boolean } | null = null;
  #running: (Waiting & { readonly id: number; timer: NodeJS.Timeout }) | null = null;
  #nextId = 1;
  #closed = false;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  parse(sql: string): Promise<WorkerAnswer> {
    return new Promise((done) => {
      if (this.#closed) return done({ kind: 'fault' });
      this.#queue.push({ sql, done });
      this.#next();
    });
  }

  /** Ends the thread; what still waits is answered with `fault`. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { done } of this.#queue.splice(0)) done({ kind: 'fault' });
    const thread = this.#worker?.thread;
    this.#discard({ kind: 'fault' });
    await thread?.terminate();
  }

  #next(): void {
    if (this.#running !== null || this.#closed) return;
    const waiting = this.#queue.shift();
    if (waiting === undefined) return;
    this.#worker ??= this.#start();
    const id = this.#nextId++;
    // The time for the text counts from when the parser is loaded.
    const limit = this.#worker.ready ? this.#timeoutMs : START_MS;
    this.#running = { ...waiting, id, timer: this.#timer(limit) };
    this.#worker.thread.postMessage({ id, sql: waiting.sql });
  }

  #timer(limitMs: number): NodeJS.Timeout {
    return setTimeout(() => this.#discard({ kind: 'timeout' }), limitMs);
  }

  #start(): { readonly thread: Worker; ready: boolean } {
    const thread = new Worker(PROGRAM, {
      eval: true,
      workerData: createRequire(import.meta.url).resolve('libpg-query'),
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB, stackSizeMb: STACK_MB },
      execArgv: [],
    });
    thread.unref();
    const worker = { thread, ready: false };
    const isCurrent = () => this.#worker?.thread === thread;
    thread.on('message', (message: { ready: true } | { id: number; answer: RawParse }) => {
      if (!isCurrent()) return;
      if ('ready' in message) {
        worker.ready = true;
        if (this.#running === null) return;
        clearTimeout(this.#running.timer);
        this.#running.timer = this.#timer(this.#timeoutMs);
      } else if (this.#running?.id === message.id) this.#answer(message.answer);
    });
    // `messageerror`: the tree is too deep to be copied.
    for (const event of ['error', 'messageerror', 'exit'] as const)
      thread.on(event, () => {
        if (isCurrent()) this.#discard({ kind: 'fault' });
      });
    return worker;
  }

  /** Throws the thread away, whatever it is doing. */
  #discard(answer: WorkerAnswer): void {
    const thread = this.#worker?.thread;
    this.#worker = null;
    void thread?.terminate();
    this.#answer(answer);
  }

  #answer(answer: WorkerAnswer): void {
    const running = this.#running;
    this.#running = null;
    if (running !== null) {
      clearTimeout(running.timer);
      running.done(answer);
    }
    this.#next();
  }
}
