/** A budget that is used up in the middle of a result. */
import { encodeError } from '../protocol/backend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { giveUp } from './give-up.ts';
import type { Run } from './run.ts';
import type { SessionState } from './state.ts';
import { budgetWall } from './wording.ts';

/** As with every result that is too large, nothing but the end of the session would be true. */
export function wall(state: SessionState, run: Run, more: number): 'end' {
  const account = run.meter?.full(more) ?? null;
  state.openRuns.done(run, 'failed');
  run.sqlstate = SQLSTATE.programLimitExceeded;
  giveUp(state);
  state.phase = 'ended';
  const fields =
    account === null ? { M: 'countersign: a budget is used up' } : budgetWall(account.spent(), run);
  const error = encodeError({ S: 'FATAL', V: 'FATAL', C: SQLSTATE.programLimitExceeded, ...fields });
  state.effects.push(
    { kind: 'stopTimers', end: 'failed' },
    { kind: 'cancelUpstream' },
    { kind: 'close', error, why: 'a budget was used up in the middle of a result' },
  );
  return 'end';
}
