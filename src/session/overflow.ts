/** A result that came to more than it was let pass for. */
import { encodeError } from '../protocol/backend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { giveUp } from './give-up.ts';
import type { RowGuard, Run } from './run.ts';
import type { SessionState } from './state.ts';
import { overflown } from './wording.ts';

/**
 * Ends the session. The statement may have come to its end on the server already, and later messages may be on their
 * way: no error in the place of the rest would be true (nor undo what those do), so nothing but the end is.
 */
export function overflow(state: SessionState, run: Run, guard: RowGuard, more: number): 'end' {
  state.openRuns.done(run, 'failed');
  run.sqlstate = SQLSTATE.programLimitExceeded;
  giveUp(state);
  state.phase = 'ended';
  const error = encodeError({ S: 'FATAL', V: 'FATAL', ...overflown(guard, run, more) });
  state.effects.push(
    { kind: 'stopTimers', end: 'failed' },
    // What it still does there is for nobody.
    { kind: 'cancelUpstream' },
    { kind: 'close', error, why: 'a result was larger than estimated' },
  );
  return 'end';
}
