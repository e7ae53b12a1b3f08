import type { HoldEnd } from '../session/effect.ts';
import type { WaitEvent } from '../session/waits.ts';
import { nowMicros } from './clock.ts';
import type { RelayObserver } from './relay-observer.ts';

/** How long a hold waits, and how often its client is told so. */
export class HoldTimers {
  readonly #observe: RelayObserver;
  readonly #event: (event: WaitEvent) => void;
  #hold: NodeJS.Timeout | null = null;
  #notice: NodeJS.Timeout | null = null;
  #since: number | null = null;

  constructor(observe: RelayObserver, event: (event: WaitEvent) => void) {
    this.#observe = observe;
    this.#event = event;
  }

  start(holdMs: number, noticeMs: number): void {
    this.#since = nowMicros();
    this.#observe.held();
    this.#hold = setTimeout(() => this.#event({ kind: 'holdTimeout' }), holdMs);
    this.#notice = setInterval(() => this.#event({ kind: 'noticeDue' }), noticeMs);
  }

  /** Also where none run. */
  stop(end: HoldEnd): void {
    if (this.#hold !== null) clearTimeout(this.#hold);
    if (this.#notice !== null) clearInterval(this.#notice);
    if (this.#since !== null) this.#observe.holdEnded(end, (nowMicros() - this.#since) / 1e6);
    this.#since = null;
  }
}
