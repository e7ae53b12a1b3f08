/** A message that waits and will not be sent: whatever was recorded or asked about it gets its end. */
import { recordOutcome } from './record.ts';
import type { Current, SessionState } from './state.ts';

/** Takes the waiting message away. The phase is the caller's to set. */
export function giveUp(state: SessionState): void {
  const { current } = state;
  if (current === null) return;
  state.current = null;
  if (state.phase === 'held') {
    state.effects.push({ kind: 'stopTimers', end: 'detached' }, { kind: 'unwatch' });
    state.effects.push({ kind: 'detach', requestId: current.request?.id ?? '' });
  }
  // Approved, and being judged once more: another connection may still use it.
  else if (current.approved && current.release === null && state.phase !== 'releasing')
    state.effects.push({ kind: 'detach', requestId: current.request?.id ?? '' });
  // Consumed, but nobody is there to take the result: it does not run.
  if (current.release !== null) endUnused(state, current.release.requestId);
  for (const run of current.runs) recordOutcome(state, run, current.refusal?.outcome ?? 'withdrawn');
}

/** A hold that ends in a refusal which nobody decided: what was asked about is not there any more. */
export function endHold(state: SessionState, current: Current, sqlstate: string | null): void {
  if (current.request === null || current.release !== null) return;
  state.effects.push({
    kind: 'withdraw',
    requestId: current.request.id,
    why: 'the statement cannot run any more',
  });
  for (const run of current.runs) {
    run.sqlstate = sqlstate;
    recordOutcome(state, run, 'denied');
  }
}

/** A release whose statement will not run. */
export function endUnused(state: SessionState, requestId: string, sqlstate: string | null = null): void {
  state.effects.push({
    kind: 'end',
    requestId,
    outcome: 'failed',
    tag: null,
    rows: 0,
    bytes: 0,
    sqlstate,
  });
}
