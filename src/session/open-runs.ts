/**
 * Statements whose outcome is not recorded yet. A client can have tens of thousands under way, so nothing here looks
 * at all of them for the sake of one.
 */
import type { TransactionStatus } from '../protocol/backend.ts';
import type { Run } from './run.ts';

export class OpenRuns {
  readonly #open = new Set<Run>();
  /** Bound; whether they will run is not known as long as their portals live. */
  readonly #bound = new Set<Run>();
  /** Complete or failed since the last ReadyForQuery. */
  #done = new Set<Run>();
  #changingCatalog = 0;
  #notReading = 0;

  /** Runs that are under way, or `bound` already. */
  add(runs: readonly Run[]): void {
    for (const run of runs) {
      if (run.state === 'recorded' || this.#open.has(run)) continue;
      this.#open.add(run);
      if (run.changesCatalog) this.#changingCatalog += 1;
      if (run.class !== 'read') this.#notReading += 1;
      if (run.state === 'bound') this.#bound.add(run);
    }
  }

  /** The server has bound it. */
  bound(run: Run): void {
    run.state = 'bound';
    if (this.#open.has(run)) this.#bound.add(run);
  }

  /** It is complete or has failed: the next ReadyForQuery makes its outcome certain. */
  done(run: Run, state: 'complete' | 'failed'): void {
    run.state = state;
    this.#bound.delete(run);
    if (this.#open.has(run)) this.#done.add(run);
  }

  /** Its outcome is in the log. */
  recorded(run: Run): void {
    run.state = 'recorded';
    if (this.#open.delete(run)) {
      if (run.changesCatalog) this.#changingCatalog -= 1;
      if (run.class !== 'read') this.#notReading -= 1;
    }
    this.#bound.delete(run);
    this.#done.delete(run);
  }

  /** Those whose outcome ReadyForQuery makes certain, in the order in which they came to it. */
  settle(status: TransactionStatus): readonly Run[] {
    if (this.#done.size === 0 && (status !== 'I' || this.#bound.size === 0)) return NONE;
    const settled = [...this.#done];
    this.#done = new Set();
    if (status === 'I') {
      settled.push(...this.#bound);
      this.#bound.clear();
    }
    return settled;
  }

  /** Those that completed since the last ReadyForQuery. */
  get finished(): ReadonlySet<Run> {
    return this.#done;
  }

  /** What changes the catalog is under way, or its outcome is not recorded yet. */
  get changeCatalog(): boolean {
    return this.#changingCatalog > 0;
  }

  /** There are some, and all of them are plain reads. */
  get onlyRead(): boolean {
    return this.#open.size > 0 && this.#notReading === 0;
  }

  /** Nothing but `run` is unanswered. */
  answeredBut(run: Run): boolean {
    const unanswered = this.#open.size - this.#bound.size - this.#done.size;
    return unanswered === (run.state === 'sent' && this.#open.has(run) ? 1 : 0);
  }

  /** All of them, which are not open any more. */
  takeAll(): readonly Run[] {
    const all = [...this.#open];
    this.#open.clear();
    this.#bound.clear();
    this.#done = new Set();
    this.#changingCatalog = 0;
    this.#notReading = 0;
    return all;
  }
}

const NONE: readonly Run[] = [];
