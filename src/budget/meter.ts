/** Counts what one statement gives away, against every budget that it counts for. */
import type { Account } from './account.ts';
import type { Need } from './budget.ts';

/** What a statement counts for. */
export type Charge = { readonly account: Account; readonly need: Need };

export class Meter {
  readonly #charges: readonly Charge[];
  /** A person approved it, or mode observe lets it pass: it is counted, and not stopped. */
  readonly #unbounded: boolean;
  /** Bytes of the row that did not fit. */
  #waiting = 0;
  #ended = false;

  constructor(charges: readonly Charge[], unbounded: boolean) {
    this.#charges = charges;
    this.#unbounded = unbounded;
    for (const { account, need } of charges) account.begin(need);
  }

  /** One more row with a body of so many bytes. False: it does not fit any more, and was not counted. */
  row(bytes: number): boolean {
    const charges = this.#charges;
    if (!this.#unbounded)
      for (let i = 0; i < charges.length; i++)
        if (charges[i]?.account.fits(1, bytes) === false) return this.#wait(bytes);
    for (let i = 0; i < charges.length; i++) charges[i]?.account.take(1, bytes);
    return true;
  }

  #wait(bytes: number): false {
    this.#waiting = bytes;
    for (const { account } of this.#charges) account.waits(1, bytes);
    return false;
  }

  /** Notices and errors: they pass, and count. */
  text(bytes: number): void {
    for (const { account } of this.#charges) account.take(0, bytes);
  }

  /** The account that the last row which did not fit does not fit into; null: it would fit by now. */
  full(): Account | null {
    return this.#charges.find(({ account }) => !account.fits(1, this.#waiting))?.account ?? null;
  }

  /** There is less left than the statement is expected to take. */
  get tight(): boolean {
    if (this.#unbounded) return false;
    return this.#charges.some(({ account, need }) => {
      const { rows, bytes } = account.left();
      return (rows !== null && rows < need.rows) || (bytes !== null && bytes < need.bytes);
    });
  }

  /** What may still flow before a budget must be asked; null: not limited. An upper bound for the run's own guard. */
  left(): { readonly rows: number | null; readonly bytes: number | null } {
    if (this.#unbounded) return { rows: null, bytes: null };
    let rows: number | null = null;
    let bytes: number | null = null;
    for (const { account } of this.#charges) {
      const left = account.left();
      rows = lesser(rows, left.rows);
      bytes = lesser(bytes, left.bytes);
    }
    return { rows, bytes };
  }

  /** The statement is over. More calls do nothing. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const { account, need } of this.#charges) account.end(need);
  }
}

function lesser(a: number | null, b: number | null): number | null {
  return a === null ? b : b === null ? a : Math.min(a, b);
}
