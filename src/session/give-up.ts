/** A message that waits and will not be sent: whatever was recorded or asked about it gets its end. */
import { recordOutcome } from './record.ts';
import type { SessionState } from './state.ts';

/** Takes the waiting message away. The phase is the caller's to set. */
export function giveUp(state: SessionState): void {
  const { current } = state;
  if (current === null) return;
  state.current = null;
  if (state.phase === 'held') {
    state.effects.push({ kind: 'stopTimers', end: 'detached' }, { kind: 'unwatch' });
    state.effects.push({ kind: 'detach', requestId: current.request?.id ?? '' });
  }
  // Consumed, but nobody is there to take the result: it does not run.
  if (current.release !== null) endUnused(state, current.release.requestId);
  for (const run of current.runs) recordOutcome(state, run, current.refusal?.outcome ?? 'withdrawn');
}

/** A release whose statement will not run. */
export function endUnused(state: SessionState, requestId: string): void {
  state.effects.push({
    kind: 'end',
    requestId,
    outcome: 'failed',
    tag: null,
    rows: 0,
    bytes: 0,
    sqlstate: null,
  });
}
