import { Worker } from 'node:worker_threads';

/** Megabytes of JavaScript heap and of stack: a 10 MB INSERT makes a tree of several hundred megabytes. */
const HEAP_MB = 2048;
const STACK_MB = 16;
/** How long a thread may take until its parser is loaded, on a machine that is busy. */
const START_MS = 30_000;

export type Failed = { readonly kind: 'timeout' } | { readonly kind: 'fault' };
type Waiting<Answer> = { readonly sql: string; readonly done: (answer: Answer | Failed) => void };

/**
 * What a thread runs. `text` is JavaScript: it gets `{ id, sql }`, posts `{ ready: true }` once it can parse and
 * `{ id, answer }` for each text, and throws what its parser may not survive. `module`: its `workerData`.
 * `answer` is there for its type alone.
 */
export type Program<Answer> = {
  readonly text: () => string;
  readonly module: () => string;
  readonly answer?: Answer;
};

/**
 * One parser on another thread, one text at a time, in order. A text that takes longer than `timeoutMs`, or that
 * breaks the parser, costs this thread its life; the next text gets a new one. Started when it is first needed; it
 * does not keep the process alive.
 */
export class ParserWorker<Answer> {
  readonly #program: Program<Answer>;
  readonly #timeoutMs: number;
  readonly #queue: Waiting<Answer>[] = [];
  #worker: { readonly thread: Worker; ready: boolean } | null = null;
  #running: (Waiting<Answer> & { readonly id: number; timer: NodeJS.Timeout }) | null = null;
  #nextId = 1;
  #closed = false;

  constructor(program: Program<Answer>, timeoutMs: number) {
    this.#program = program;
    this.#timeoutMs = timeoutMs;
  }

  parse(sql: string): Promise<Answer | Failed> {
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
    const thread = new Worker(this.#program.text(), {
      eval: true,
      workerData: this.#program.module(),
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB, stackSizeMb: STACK_MB },
      execArgv: [],
    });
    thread.unref();
    const worker = { thread, ready: false };
    const isCurrent = () => this.#worker?.thread === thread;
    thread.on('message', (message: { ready: true } | { id: number; answer: Answer }) => {
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
  #discard(answer: Answer | Failed): void {
    const thread = this.#worker?.thread;
    this.#worker = null;
    void thread?.terminate();
    this.#answer(answer);
  }

  #answer(answer: Answer | Failed): void {
    const running = this.#running;
    this.#running = null;
    if (running !== null) {
      clearTimeout(running.timer);
      running.done(answer);
    }
    this.#next();
  }
}
