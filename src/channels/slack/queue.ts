import { setTimeout as sleep } from 'node:timers/promises';
import { type CallFailure, failureOf } from './api.ts';
import type { Log } from './port.ts';

/** Waiting times between attempts while Slack is away, milliseconds: doubled each time, from the first to the last. */
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 30_000;

/** Which of the waiting keys is next; they come in the order in which they were added. */
export type Pick = (waiting: ReadonlySet<string>) => string | undefined;

/** Until when nobody may call: a method that Slack limits for the whole workspace is limited for each channel's queue. */
export class Gate {
  #until = 0;

  closeFor(ms: number): void {
    this.#until = Math.max(this.#until, Date.now() + ms);
  }

  get waitMs(): number {
    return this.#until - Date.now();
  }
}

export type QueueSetup = {
  readonly work: (key: string) => Promise<void>;
  /** Id of the channel, for words about it. */
  readonly channel: string;
  readonly log: Log;
  /** Default: the first. */
  readonly pick?: Pick;
  /** Shared with others; default: one of its own. */
  readonly gate?: Gate;
};

/**
 * One queue for one Slack channel: one call at a time, in the order in which things were added, or as `pick` says. A
 * call that was limited (429) or met an absent Slack is repeated before anything behind it. What is added twice before
 * its turn comes is done once: the work looks up the newest state itself.
 */
export class ChannelQueue {
  readonly #pending = new Set<string>();
  readonly #setup: QueueSetup;
  readonly #gate: Gate;
  readonly #pick: Pick;
  readonly #closed = new AbortController();
  #running: Promise<void> | null = null;
  #trouble: string | null = null;

  constructor(setup: QueueSetup) {
    this.#setup = setup;
    this.#gate = setup.gate ?? new Gate();
    this.#pick = setup.pick ?? (([first]) => first);
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
      await this.pause(this.#gate.waitMs);
      const failure = await this.#attempt(key);
      if (failure === null) return this.#well();
      if (failure.kind === 'refused') {
        this.#setup.log.error(
          { channel: 'slack', request: key, error: failure.why },
          'Slack refuses this message',
        );
        return this.#well();
      }
      if (failure.kind === 'limited') {
        this.#gate.closeFor(failure.afterMs);
        continue;
      }
      this.#ill(failure.why);
      await this.pause(wait);
      wait = Math.min(wait * 2, LAST_WAIT_MS);
    }
  }

  async #attempt(key: string): Promise<CallFailure | null> {
    if (this.#closed.signal.aborted) return null;
    try {
      await this.#setup.work(key);
      return null;
    } catch (error) {
      return failureOf(error);
    }
  }

  #ill(why: string): void {
    const trouble = `channel ${this.#setup.channel}: ${why}`;
    if (this.#trouble !== trouble) {
      this.#setup.log.warn(
        { channel: 'slack', to: this.#setup.channel, error: why },
        'cards wait until Slack takes them; requests stay open',
      );
    }
    this.#trouble = trouble;
  }

  #well(): void {
    if (this.#trouble !== null)
      this.#setup.log.info({ channel: 'slack', to: this.#setup.channel }, 'Slack takes cards again');
    this.#trouble = null;
  }
}

/** A queue for each channel, made when it is needed. */
export class ChannelQueues {
  readonly #queues = new Map<string, ChannelQueue>();
  readonly #make: (channel: string) => ChannelQueue;

  constructor(make: (channel: string) => ChannelQueue) {
    this.#make = make;
  }

  of(channel: string): ChannelQueue {
    const known = this.#queues.get(channel);
    if (known !== undefined) return known;
    const made = this.#make(channel);
    this.#queues.set(channel, made);
    return made;
  }

  get trouble(): string | null {
    for (const { trouble } of this.#queues.values()) if (trouble !== null) return trouble;
    return null;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }
}
