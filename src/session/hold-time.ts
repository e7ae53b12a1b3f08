/** How long a hold waits on its connection, and what the client is told meanwhile. */
import type { ApprovalDemand } from '../policy/decision.ts';
import { encodeNotice } from '../protocol/backend.ts';
import type { Current, SessionState } from './state.ts';
import { heldNotice } from './wording.ts';

/** What a timer can wait, milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** As its rule says, and no longer than a transaction, or a result that waits in its middle, may keep its locks. */
export function holdMsOf(
  { setup: { limits }, transaction }: SessionState,
  { holdMs }: ApprovalDemand,
  midway: boolean,
): number {
  const most = Math.min(holdMs ?? limits.holdTimeoutMs, LONGEST_TIMER);
  const keepsLocks = transaction !== 'I' || midway;
  return keepsLocks ? Math.min(most, limits.holdTimeoutInTransactionMs) : most;
}

/** From now on. */
export function beginHold(state: SessionState, current: Current): void {
  const demand = current.question?.demand ?? NO_DEMAND;
  const holdMs = holdMsOf(state, demand, current.interrupted !== null);
  current.waitsUntil = state.now + holdMs * 1000;
  state.effects.push({ kind: 'startTimers', holdMs, noticeMs: state.setup.limits.noticeIntervalMs });
  sayHeld(state);
}

const NO_DEMAND: ApprovalDemand = { approvers: [], quorum: 1, assurance: 1 };

export function sayHeld(state: SessionState): void {
  const { current } = state;
  if (current?.request == null || current.decision === null) return;
  const until = new Date(current.waitsUntil / 1000).toISOString();
  state.effects.push({
    kind: 'toClient',
    frame: encodeNotice(heldNotice(current.request, current.decision, until)),
  });
}
