/**
 * A statement whose result is measured may be stopped in its middle, and then an error stands in the place of the rest.
 * That is only true where the server has done nothing of what the client sent behind it. So that waits, until the result is complete.
 */
import { FRONTEND } from '../protocol/frontend.ts';
import { injectFlush } from './forward.ts';
import type { SessionState } from './state.ts';

/** Whether the next message of the client may be sent now, while a result flows. Where not, the server is to answer. */
export function mayFollow(state: SessionState, type: number): boolean {
  const { stream } = state;
  if (stream === null || stream.kind === 'query' || stream.synced) return false;
  if (type === FRONTEND.flush) return true;
  // It commits: what only reads has nothing to commit.
  if (type === FRONTEND.sync && state.openRuns.onlyRead) {
    stream.synced = true;
    return true;
  }
  if (!stream.flushed) {
    stream.flushed = true;
    injectFlush(state);
  }
  return false;
}
