/** The budgets of one agent in this process: all of its sessions count on the same accounts. */
import type { StatementAnalysis } from '../statement/analysis.ts';
import { Account, type Spent } from './account.ts';
import { type Budget, foldedOf, type Need, needOf, readsAnything } from './budget.ts';
import { type Charge, Meter } from './meter.ts';

/** Whether a string may begin; the meters are of its statements, null where one takes nothing that counts. */
export type Opening =
  | { readonly kind: 'open'; readonly meters: readonly (Meter | null)[] }
  /** The database must be asked first. */
  | { readonly kind: 'ask' }
  | { readonly kind: 'spent'; readonly spent: Spent };

export type Demand = Charge;

/** Rows and bytes that no statement exceeds without a person. */
export type Most = { readonly rows: number; readonly bytes: number };

export class AgentBudgets {
  readonly accounts: readonly Account[];
  readonly #most: Most;
  readonly #untagged: readonly Account[];
  readonly #tagged: readonly Account[];

  constructor(budgets: readonly Budget[], most: Most) {
    this.#most = most;
    this.accounts = budgets.map((budget) => new Account(budget));
    this.#untagged = this.accounts.filter(({ budget }) => budget.tag === null);
    this.#tagged = this.accounts.filter(({ budget }) => budget.tag !== null);
  }

  /** `now`: milliseconds of the steady clock. `asked`: the database was asked for the sake of this string. */
  open(statements: readonly StatementAnalysis[], now: number, asked: boolean): Opening {
    const charges = statements.map((statement) => this.#charges(statement));
    let ask = false;
    for (const { account, need } of summed(charges)) {
      const readiness = account.readiness(now, need, asked);
      if (readiness === 'spent') return { kind: 'spent', spent: account.spent() };
      if (readiness === 'ask') ask = true;
    }
    return ask
      ? { kind: 'ask' }
      : { kind: 'open', meters: charges.map((one, i) => this.#meter(one, statements[i], false)) };
  }

  /** Counted, and not stopped. */
  uncapped(statements: readonly StatementAnalysis[]): readonly (Meter | null)[] {
    return statements.map((statement) => this.#meter(this.#charges(statement), statement, true));
  }

  /** A budget of which everybody together took all, as far as is known: for mode observe, where nobody is asked. */
  exhausted(statements: readonly StatementAnalysis[], now: number): Spent | null {
    for (const { account } of this.demands(statements)) if (account.exhausted(now)) return account.spent();
    return null;
  }

  /** What a string needs of each account, taken together. */
  demands(statements: readonly StatementAnalysis[]): readonly Demand[] {
    return summed(statements.map((statement) => this.#charges(statement)));
  }

  /** What belongs to no statement: a notification's payload. */
  loose(bytes: number): void {
    for (const account of this.#untagged) account.take(0, bytes);
  }

  #meter(
    charges: readonly Charge[],
    statement: StatementAnalysis | undefined,
    unbounded: boolean,
  ): Meter | null {
    if (charges.length === 0 || statement === undefined) return null;
    return new Meter(charges, unbounded, foldedOf(statement, this.#most));
  }

  #charges(statement: StatementAnalysis): readonly Charge[] {
    const need = needOf(statement, this.#most);
    if (need === null) return NONE;
    const of = (account: Account): Charge => ({ account, need });
    if (this.#tagged.length === 0) return this.#untagged.map(of);
    const unknown = readsAnything(statement);
    return this.accounts
      .filter(({ budget: { tag } }) => tag === null || unknown || statement.tags.includes(tag))
      .map(of);
  }
}

/** What the statements of a string need together, by account. */
function summed(charges: readonly (readonly Charge[])[]): readonly Demand[] {
  const [first = NONE] = charges;
  if (charges.length <= 1) return first;
  const sums = new Map<Account, Need>();
  for (const { account, need } of charges.flat()) {
    const sum = sums.get(account) ?? { rows: 0, bytes: 0 };
    sums.set(account, { rows: sum.rows + need.rows, bytes: sum.bytes + need.bytes });
  }
  return [...sums].map(([account, need]) => ({ account, need }));
}

const NONE: readonly never[] = [];
