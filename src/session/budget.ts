/**
 * Budgets: what a session's statements take of what their agent may read within a window. A statement that finds its
 * budget used up is an export, and a person is asked; one that runs into the wall in the middle ends there.
 */
import type { Ended } from '../approval/port.ts';
import type { Spent } from '../budget/account.ts';
import type { Opening } from '../budget/agent-budgets.ts';
import type { Meter } from '../budget/meter.ts';
import type { Decision } from '../policy/decision.ts';
import type { ErrorFields } from '../protocol/backend.ts';
import { type Analysis, higherClass } from '../statement/analysis.ts';
import type { OverBudget } from './budget-port.ts';
import type { Run } from './run.ts';
import type { Current, SessionState } from './state.ts';
import { amountsOf, budgetUsedUp, deniedByPeople, deniers, opensAgain } from './wording.ts';

export const NO_METERS: readonly (Meter | null)[] = [];

/** What policy says, or, where a budget is used up, that a person is asked. A denial stays one. */
export function decisionOf(
  state: SessionState,
  analysis: Analysis,
  current: Current | null,
  at: number,
): Decision {
  const decision = state.setup.decide(analysis, at);
  return decision.decision === 'allow' ? (current?.overBudget?.decision ?? decision) : decision;
}

/** Whether a statement that policy allows may begin. */
export function openBudget(state: SessionState, analysis: Analysis, current: Current | null): Opening {
  const { budget } = state.setup;
  if (budget === undefined) return { kind: 'open', meters: NO_METERS };
  return budget.open(analysis.statements, current?.budgetAsked === true);
}

/** The meters of what runs whatever the budget says. */
export function uncapped(state: SessionState, analysis: Analysis): readonly (Meter | null)[] {
  return state.setup.budget?.uncapped(analysis.statements) ?? NO_METERS;
}

/** In mode observe: what would have been decided. */
export function observed(state: SessionState, analysis: Analysis, decision: Decision): Decision {
  if (decision.decision !== 'allow') return decision;
  const spent = state.setup.budget?.exhausted(analysis.statements) ?? null;
  return spent === null ? decision : overBudget(state, analysis, spent).decision;
}

/** Who is asked is what policy says of exports; where it lets them pass or denies them, a budget still has its wall. */
export function overBudget(state: SessionState, analysis: Analysis, spent: Spent): OverBudget {
  const statements = analysis.statements.map((statement) => ({
    ...statement,
    class: higherClass(statement.class, 'export'),
  }));
  const rank = higherClass(analysis.class, 'export');
  const asExport = state.setup.decide({ ...analysis, statements, class: rank }, state.now);
  const held = asExport.decision !== 'deny';
  const { budget } = spent;
  return {
    spent,
    decision: {
      ...asExport,
      decision: held ? 'hold' : 'deny',
      rule: `budget:${budget.name}`,
      class: rank,
      reasons: [`the budget ${budget.name} is used up: ${amountsOf(spent)}; it ${opensAgain(spent)}`],
      approval: held ? (asExport.approval ?? { approvers: [], quorum: 1, assurance: 1 }) : null,
      raised: true,
    },
  };
}

/** Who waits in vain for a person can wait for the budget's next window. */
export function sayingWhen({ overBudget }: Current, fields: ErrorFields): ErrorFields {
  if (overBudget === null) return fields;
  return {
    ...fields,
    H: `${fields['H'] ?? ''} The budget ${overBudget.spent.budget.name} ${opensAgain(overBudget.spent)}.`,
  };
}

/** A person said no. */
export function deniedFields(
  { overBudget }: Current,
  rule: string,
  id: string,
  ended: Ended | null,
): ErrorFields {
  if (overBudget === null) return deniedByPeople(rule, id, ended);
  return budgetUsedUp(rule, id, deniers(ended), overBudget.spent);
}

/** Notices and errors pass, and count; the text of an error may tell of a row. */
export function countText(run: Run | undefined, frame: Buffer, rows = 0): void {
  run?.meter?.text(rows, frame.length - HEADER);
}

const HEADER = 5;
