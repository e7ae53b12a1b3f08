/** What people are told of an agent's budgets when a request is opened. */
import type { ContextFinding } from '../approval/port.ts';
import type { Budget, BudgetWindow } from '../budget/budget.ts';
import { amountsOf, opensAgain } from '../session/wording.ts';

/** One item for each budget; `windows`: the present ones, of those of which something was taken. */
export function budgetFindings(
  budgets: readonly Budget[],
  windows: readonly BudgetWindow[],
): readonly ContextFinding[] {
  const items = budgets.map((budget) => {
    const window = windows.find((one) => one.budget === budget.name);
    const taken = window?.taken ?? { rows: 0, bytes: 0 };
    const tag = budget.tag === null ? '' : ` (tag ${budget.tag})`;
    const spent = { budget, taken, endsAt: window?.endsAt ?? 0 };
    const ends = window === undefined ? '' : `; ${opensAgain(spent)}`;
    return `${budget.name}${tag}: ${amountsOf(spent)}${ends}`;
  });
  return [{ label: 'Budget', text: '', items, of: items.length }];
}

export function budgetsNotKnown(): ContextFinding {
  return {
    label: 'Budget',
    text: 'what the agent has taken already could not be found out in time',
    items: [],
    of: 0,
  };
}
