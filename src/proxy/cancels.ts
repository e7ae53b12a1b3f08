/** Cancel requests of clients: to the session that has the key, in whichever process it is. */
import { type CancelKey, CancelKeys, type CancelSession, instanceOf } from './cancel-keys.ts';

export type CancelAsked = { readonly processId: number; readonly key: Buffer };

/** The way to the other processes of the installation. */
export type CancelRoutes = {
  /** The number of this process, for the keys that it gives out from now on. */
  readonly instance: () => number;
  /**
   * Passes a cancel on to the process that gave out its key. Resolves when that process has said that it is done with
   * it, or can do nothing with it any more; never rejects. `address`: of the client, for limits.
   */
  readonly send: (asked: CancelAsked, instance: number, address: string) => Promise<void>;
  /** What is done with those that come from other processes; its promise is when they are told. */
  readonly receive: (handle: (asked: CancelAsked) => Promise<void>) => void;
};

export class Cancels {
  readonly #keys: CancelKeys;
  readonly #routes: CancelRoutes;
  readonly #pace = new Pace();

  constructor(routes: CancelRoutes) {
    this.#routes = routes;
    this.#keys = new CancelKeys(routes.instance);
    routes.receive((asked) => this.#here(asked));
  }

  issue(protocol: number, cancel: CancelSession): CancelKey {
    return this.#keys.issue(protocol, cancel);
  }

  revoke(processId: number): void {
    this.#keys.revoke(processId);
  }

  /**
   * Resolves when the client's socket may be closed: from then on the cancel hits nothing any more, as clients rely on
   * (libpq waits for the end of the socket before it lets go on). There is no answer, and the time is the same for a
   * wrong key as for a right one.
   */
  handle(asked: CancelAsked, address: string): Promise<void> {
    const instance = instanceOf(asked.processId);
    if (instance === this.#routes.instance() || this.#keys.has(asked.processId)) return this.#here(asked);
    return this.#routes.send(asked, instance, address);
  }

  async #here({ processId, key }: CancelAsked): Promise<void> {
    const under = this.#keys.find(processId, key)?.() ?? null;
    if (under === null) return this.#pace.wait();
    const began = performance.now();
    await under;
    this.#pace.took(performance.now() - began);
  }
}

/** How long cancels have taken lately: the others wait as long. */
class Pace {
  readonly #recent: number[] = [1, 2, 3];
  #next = 0;

  took(ms: number): void {
    this.#recent[this.#next++ % REMEMBERED] = Math.min(ms, LONGEST_MS);
  }

  wait(): Promise<void> {
    const ms = this.#recent[Math.floor(Math.random() * this.#recent.length)] ?? 1;
    return new Promise((done) => setTimeout(done, ms));
  }
}

const REMEMBERED = 32;
/** A server that takes longer is in trouble, and must not make a flood of guesses expensive. */
const LONGEST_MS = 100;
