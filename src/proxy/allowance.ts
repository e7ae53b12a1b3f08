/** So many a second on average, and as many as in `BURST_SECONDS` at once (a token bucket). */
export class Allowance {
  readonly #perSecond: number;
  #left: number;
  /** Milliseconds, of whatever clock the caller has. */
  #at = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#left = perSecond * BURST_SECONDS;
  }

  /** False where it is used up. */
  take(nowMs: number): boolean {
    const gained = (Math.max(0, nowMs - this.#at) * this.#perSecond) / 1000;
    this.#left = Math.min(this.#perSecond * BURST_SECONDS, this.#left + gained);
    this.#at = nowMs;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}

const BURST_SECONDS = 4;

/** One allowance for everybody, and one for each address, so that one guesser does not use up everybody's. */
export class Allowances {
  readonly #all: Allowance;
  readonly #perAddress: number;
  readonly #addresses = new Map<string, Allowance>();

  constructor(perSecond: number, perAddressPerSecond: number) {
    this.#all = new Allowance(perSecond);
    this.#perAddress = perAddressPerSecond;
  }

  take(address: string, nowMs: number): boolean {
    const own = this.#addresses.get(address) ?? new Allowance(this.#perAddress);
    // The one that was heard of last is the last to be forgotten.
    this.#addresses.delete(address);
    this.#addresses.set(address, own);
    if (this.#addresses.size > REMEMBERED) {
      const [oldest] = this.#addresses.keys();
      if (oldest !== undefined) this.#addresses.delete(oldest);
    }
    return own.take(nowMs) && this.#all.take(nowMs);
  }
}

/** Addresses of which a use is remembered. */
const REMEMBERED = 10_000;
