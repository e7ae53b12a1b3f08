import { setTimeout as sleep } from 'node:timers/promises';
import { type CallFailure, failureOf } from './api.ts';
import type { Log } from './port.ts';

/** Waiting times between attempts while Slack is away, milliseconds: doubled each time, from the first to the last. */
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 30_000;

/** Which of the waiting keys is next; they come in the order in which they were added. */
export type Pick = (waiting: ReadonlySet<string>) => string | undefined;

/**
 * One queue for one Slack channel: one call at a time, in the order in which things were added, or as `pick` says. A
 * call that was limited (429) or met an absent Slack is repeated before anything behind it. What is added twice before
 * its turn comes is done once: the work looks up the newest state itself.
 */
export class ChannelQueue {
  readonly #pending = new Set<string>();
  readonly #work: (key: string) => Promise<void>;
  readonly #log: Log;
  readonly #pick: Pick;
  readonly #closed = new AbortController();
  #running: Promise<void> | null = null;
  #trouble: string | null = null;

  constructor(work: (key: string) => Promise<void>, log: Log, pick: Pick = ([first]) => first) {
    this.#work = work;
    this.#log = log;
    this.#pick = pick;
  }

  add(key: string): void {
    if (this.#closed.signal.aborted) return;
    this.#pending.add(key);
    this.#running ??= this.#run().finally(() => {
      this.#running = null;
    });
  }

  /** What keeps the head of the queue from being done; null: nothing. */
  get trouble(): string | null {
    return this.#trouble;
  }

  /** Waits, or stops waiting when the queue is closed. */
  async pause(ms: number): Promise<void> {
    if (ms > 0) await sleep(ms, undefined, { signal: this.#closed.signal, ref: false }).catch(() => {});
  }

  /** Ends after the call that is being made; the rest stays undone, and is found again at the next start. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#pending.clear();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (;;) {
      const key = this.#pick(this.#pending);
      if (key === undefined) return;
      this.#pending.delete(key);
      await this.#untilDone(key);
    }
  }

  async #untilDone(key: string): Promise<void> {
    let wait = FIRST_WAIT_MS;
    while (!this.#closed.signal.aborted) {
      const failure = await this.#attempt(key);
      if (failure === null) return this.#well();
      if (failure.kind === 'refused') {
        this.#log.error({ channel: 'slack', request: key, error: failure.why }, 'Slack refuses this card');
        return this.#well();
      }
      if (failure.kind === 'limited') {
        await this.pause(failure.afterMs);
        continue;
      }
      this.#ill(failure.why);
      await this.pause(wait);
      wait = Math.min(wait * 2, LAST_WAIT_MS);
    }
  }

  async #attempt(key: string): Promise<CallFailure | null> {
    try {
      await this.#work(key);
      return null;
    } catch (error) {
      return failureOf(error);
    }
  }

  #ill(why: string): void {
    if (this.#trouble !== why) {
      this.#log.warn(
        { channel: 'slack', error: why },
        'cards wait until Slack takes them; requests stay open',
      );
    }
    this.#trouble = why;
  }

  #well(): void {
    if (this.#trouble !== null) this.#log.info({ channel: 'slack' }, 'Slack takes cards again');
    this.#trouble = null;
  }
}
