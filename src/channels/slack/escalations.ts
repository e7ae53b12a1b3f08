import type { RequestView } from '../../approval/guard.ts';

/** Longest that one timer runs, milliseconds: below the 2^31 that Node's can. */
const LONGEST_MS = 24 * 3_600_000;
/** The store says when the time has come; our clock may be ahead of it, and the store may be away. Milliseconds. */
const AGAIN_MS = 1_000;

/**
 * Waits for the moment at which open requests escalate. That moment is the database's: when it has come by our own clock,
 * the store is asked, again and again until it agrees.
 */
export class Escalations {
  readonly #get: (id: string) => Promise<RequestView | null>;
  readonly #escalated: (request: RequestView) => void;
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #closed = false;

  constructor(get: (id: string) => Promise<RequestView | null>, escalated: (request: RequestView) => void) {
    this.#get = get;
    this.#escalated = escalated;
  }

  /** Takes notice of a request as it is now. */
  expect({ id, state, escalatesAt, escalated }: RequestView): void {
    if (state !== 'open' || escalatesAt === null || escalated) return this.#forget(id);
    if (!this.#timers.has(id)) this.#wait(id, escalatesAt.getTime() - Date.now());
  }

  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #wait(id: string, ms: number): void {
    if (this.#closed) return;
    const timer = setTimeout(() => void this.#look(id), Math.min(Math.max(ms, 0), LONGEST_MS));
    timer.unref();
    this.#timers.set(id, timer);
  }

  async #look(id: string): Promise<void> {
    const request = await this.#get(id).catch(() => undefined);
    // Ended meanwhile, or heard of as escalated.
    if (!this.#timers.has(id)) return;
    if (request === undefined) return this.#wait(id, AGAIN_MS);
    this.#timers.delete(id);
    if (request === null || request.state !== 'open' || request.escalatesAt === null) return;
    if (request.escalated) return this.#escalated(request);
    this.#wait(id, Math.max(request.escalatesAt.getTime() - Date.now(), AGAIN_MS));
  }

  #forget(id: string): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
  }
}
