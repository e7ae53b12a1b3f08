/**
 * A budget in the middle of a result. Where the slice is used up the next one is asked for, while upstream is not read;
 * where there is none any more a person is asked about the rest.
 */
import type { Spent } from '../budget/account.ts';
import type { DataHandled } from '../protocol/backend-scanner.ts';
import { higherClass } from '../statement/analysis.ts';
import { overBudget } from './budget.ts';
import { cancelRunning } from './leaving.ts';
import {
  ask,
  endSession,
  goOn,
  leaveInterrupted,
  mayPause,
  NO_FRAME,
  nothingBehind,
  putBack,
  restAs,
} from './overflow.ts';
import { passedOf } from './row-guard.ts';
import type { Run } from './run.ts';
import { type Current, newCurrent, type SessionState } from './state.ts';
import { beginStop } from './stopping.ts';
import { budgetUnknown, budgetUsedUp, budgetWall, cancelled } from './wording.ts';

/** The next row does not fit into the slice: it waits. Where it cannot the session ends. */
export function wall(state: SessionState, run: Run): DataHandled {
  const { subject, meter } = run;
  const account = meter?.full() ?? null;
  if (account === null) return 'pass';
  if (subject === null || !mayPause(state)) return atWall(state, run, account.spent());
  putBack(state);
  state.effects.push({ kind: 'pauseUpstream' });
  if (state.cancelInFlight) {
    beginStop(state, run, cancelled(), 'withdrawn');
    return 'pause';
  }
  const current = newCurrent(0, NO_FRAME, run);
  current.subject = subject;
  state.current = current;
  state.phase = 'budgeting';
  state.slicesDue += 1;
  state.effects.push({ kind: 'budget', analysis: subject.analysis });
  return 'pause';
}

/** The next row is more than the budget has, and nobody can be asked. */
function atWall(state: SessionState, run: Run, spent: Spent): 'stop' {
  const { budget } = spent;
  const reasons = [`the budget ${budget.name} is used up`];
  run.rest = {
    class: higherClass(run.class, 'export'),
    rule: `budget:${budget.name}`,
    reasons,
    refusedBy: null,
  };
  return endSession(state, run, budgetWall(spent, passedOf(run)));
}

/** The database has answered. `failed`: why it could not. */
export function slicedMidway(state: SessionState, current: Current, run: Run, failed: string | null): void {
  const { subject } = current;
  const account = run.meter?.full() ?? null;
  if (current.leave === 'gone' || state.leaving) return leaveInterrupted(state, current, run);
  if (current.cancelled) return beginStop(state, run, cancelled(), 'withdrawn');
  if (failed !== null) {
    const reasons = [`its budget could not be asked: ${failed}`];
    run.rest = { class: higherClass(run.class, 'export'), rule: 'floor:budget', reasons, refusedBy: null };
    return beginStop(state, run, budgetUnknown(failed), 'limit');
  }
  if (account === null || subject === null) return goOn(state);
  if (account.moved) {
    state.slicesDue += 1;
    state.effects.push({ kind: 'budget', analysis: subject.analysis });
    return;
  }
  // The server may have begun with it: no error in the place of the rest would be true.
  if (!nothingBehind(state)) {
    atWall(state, run, account.spent());
    return;
  }
  const over = overBudget(state, subject.analysis, account.spent());
  current.overBudget = over;
  if (over.decision.decision === 'deny') {
    run.rest = restAs(over.decision);
    return beginStop(state, run, budgetUsedUp(over.decision.rule, null, 'policy', over.spent), 'policy');
  }
  ask(state, current, run, subject, over.decision);
}

/** Whoever it was for has gone, or asks again. */
export function slicedLate(state: SessionState): void {
  state.slicesDue -= 1;
}

/** A result that is interrupted is stopped when the answer has come. */
export function cancelBudgeting(state: SessionState): void {
  const { current } = state;
  if (current === null || current.interrupted === null) cancelRunning(state);
  else current.cancelled = true;
}
