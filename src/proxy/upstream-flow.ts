import { BackendScanner, type ScanListener } from '../protocol/backend-scanner.ts';
import type { Wire } from './wire.ts';

/** Who keeps upstream from being read: a slow client, a record that is not safe yet, a question to people. */
export type Holder = 'client' | 'record' | 'question';

/** What comes from upstream, frame by frame. It is read while nobody holds it. */
export class UpstreamFlow {
  readonly #wire: Wire;
  readonly #scanner: BackendScanner;
  readonly #listener: ScanListener;
  readonly #holders = new Set<Holder>();
  #goesOn = false;

  /** `limit`: bytes of the longest frame that is kept whole. */
  constructor(wire: Wire, limit: number, listener: ScanListener) {
    this.#wire = wire;
    this.#scanner = new BackendScanner(limit);
    this.#listener = listener;
  }

  /** What went out last is the beginning of a row whose rest has not come yet. */
  get midFrame(): boolean {
    return this.#scanner.midFrame;
  }

  /** Throws `FrameError` on a length that no frame can have, after everything before it went on. */
  take(chunk: Buffer): void {
    this.#scanner.push(chunk, this.#listener);
  }

  hold(holder: Holder): void {
    this.#holders.add(holder);
    this.#wire.pause();
  }

  /** It is read again, if nobody else holds it. */
  release(holder: Holder): void {
    this.#holders.delete(holder);
    if (holder === 'question') this.#goesOn = true;
    if (this.#holders.size === 0) this.#wire.resume();
  }

  /**
   * After the release of a question: goes on with the frame that waits, which was read already. False: there was nothing
   * to go on with. Throws as `take`.
   */
  goOn(): boolean {
    if (!this.#goesOn) return false;
    this.#goesOn = false;
    this.#scanner.resume(this.#listener);
    return true;
  }
}
