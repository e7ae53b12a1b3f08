import type { Spent } from '../budget/account.ts';
import type { Opening } from '../budget/agent-budgets.ts';
import type { Meter } from '../budget/meter.ts';
import type { Decision } from '../policy/decision.ts';
import type { StatementAnalysis } from '../statement/analysis.ts';

/** What a session asks of its agent's budgets; answered at once, from this process' own accounts. */
export type SessionBudget = {
  /** `asked`: the database was asked for the sake of these just now; only then they can be found used up. */
  readonly open: (statements: readonly StatementAnalysis[], asked: boolean) => Opening;
  /** Counted, and not stopped. */
  readonly uncapped: (statements: readonly StatementAnalysis[]) => readonly (Meter | null)[];
  /** The budget of these that is used up, as far as is known; null: none. */
  readonly exhausted: (statements: readonly StatementAnalysis[]) => Spent | null;
  /** Bytes that belong to no statement. */
  readonly loose: (bytes: number) => void;
};

/** A statement that met the wall at its start: an export, whatever it is by itself. */
export type OverBudget = { readonly spent: Spent; readonly decision: Decision };
