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
  /** Rows that are folded into the first one to come. */
  #folded: number;
  #ended = false;

  constructor(charges: readonly Charge[], unbounded: boolean, folded = 0) {
    this.#charges = charges;
    this.#folded = folded;
    this.#unbounded = unbounded;
    for (const { account, need } of charges) account.begin(need);
  }

  /** One more row with a body of so many bytes. False: it does not fit any more, and was not counted. */
  row(bytes: number): boolean {
    const charges = this.#charges;
    const rows = 1 + this.#folded;
    if (!this.#unbounded)
      for (let i = 0; i < charges.length; i++)
        if (charges[i]?.account.fits(rows, bytes) === false) return this.#wait(rows, bytes);
    for (let i = 0; i < charges.length; i++) charges[i]?.account.take(rows, bytes);
    this.#folded = 0;
    return true;
  }

  /** So much more would fit, of a statement that may be stopped. */
  fits(rows: number, bytes: number): boolean {
    return this.#unbounded || this.#charges.every(({ account }) => account.fits(rows, bytes));
  }

  #wait(rows: number, bytes: number): false {
    this.#waiting = bytes;
    for (const { account } of this.#charges) account.waits(rows, bytes);
    return false;
  }

  /** Notices and errors: they pass, and count; `rows`: what an error tells of. */
  text(rows: number, bytes: number): void {
    for (const { account } of this.#charges) account.take(rows, bytes);
  }

  /** The account that the last row which did not fit does not fit into; null: it would fit by now. */
  full(): Account | null {
    return (
      this.#charges.find(({ account }) => !account.fits(1 + this.#folded, this.#waiting))?.account ?? null
    );
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
