/** The client cancels what runs, or is gone. */
import { encodeError, fatalError } from '../protocol/backend.ts';
import { injectFlush } from './forward.ts';
import { giveUp } from './give-up.ts';
import { leaveInterrupted } from './overflow.ts';
import type { SessionState } from './state.ts';
import { inputOver } from './wording.ts';

/** A cancel while something runs goes upstream, on its own connection; while nothing does it means nothing. */
export function cancelRunning(state: SessionState): void {
  if (state.ledger.empty) {
    // A message that is still being judged is refused when it has been; one behind a cancel is next.
    if (state.current !== null) state.current.cancelled = true;
    else if (state.cancelInFlight && !state.inbox.empty) state.cancelNext = true;
    return;
  }
  if (state.cancelInFlight) return;
  state.cancelInFlight = true;
  state.effects.push({ kind: 'cancelUpstream' });
}

/** The client's socket ended: what was sent still runs, its outcome is recorded, nothing more is taken. */
export function leave(state: SessionState): void {
  const farewell = lastWord(state);
  const { current } = state;
  state.clientGone = true;
  state.inbox.clear();
  state.withheld = [];
  giveUp(state);
  if (current !== null && current.interrupted !== null)
    return leaveInterrupted(state, current, current.interrupted);
  state.phase = 'ready';
  state.stream = null;
  if (state.ledger.empty || state.copy !== null) {
    state.phase = 'ended';
    state.effects.push({ kind: 'close', error: farewell, why: 'the client closed the connection' });
  } else if (!state.cancelInFlight) {
    // A group without Sync: the server would keep its answers, and its locks, for ever.
    injectFlush(state);
    // Nobody can learn whether a plain read came to its end: it is stopped, where Postgres would let it run until it
    // finds that nobody takes its rows. What may have effects comes to its end, as in Postgres.
    if (state.openRuns.onlyRead) cancelRunning(state);
  }
}

/** For a client that sends nothing more, but may still read: why its statement did not run. */
function lastWord({ inputEnd, current, phase }: SessionState): Buffer | null {
  if (inputEnd === null) return null;
  if (inputEnd.kind === 'broken')
    return inputEnd.code === null ? null : fatalError(inputEnd.code, inputEnd.message);
  if (phase !== 'held' || current?.request == null) return null;
  const { C, M, D, H } = inputOver(current.decision?.rule ?? '', current.request.id);
  return encodeError({ S: 'FATAL', V: 'FATAL', C: C ?? '', M: M ?? '', D: D ?? '', H: H ?? '' });
}
