import type { ApprovalDemand, DemandWindow, Escalation } from './decision.ts';
import { durationMs } from './duration.ts';
import type { OnCall, RuleEscalation } from './rule.ts';

/** What a rule's `escalate` asks; null where its time cannot be read, which the configuration refuses. */
export function escalationOf({ after, approvers, channel }: RuleEscalation): Escalation | null {
  const afterMs = durationMs(after);
  if (afterMs === null) return null;
  return { afterMs, approvers: approvers ?? [], ...(channel === undefined ? {} : { channel }) };
}

/** The windows of a rule, with whom its own escalation brings in: or nobody whom it names could answer in quiet hours. */
export function widenedLater(
  onCall: readonly OnCall[],
  escalation: Escalation | null,
): readonly DemandWindow[] {
  return onCall.map((window) => {
    const later = (escalation?.approvers ?? []).filter((name) => !window.approvers.includes(name));
    return later.length === 0 ? window : { ...window, later };
  });
}

/**
 * What satisfies both of two escalations: who is named by both demands as they are later on, from the later of the two
 * times. `approvers` are those whom both demands name from the beginning.
 */
export function commonEscalation(
  a: ApprovalDemand,
  b: ApprovalDemand,
  approvers: readonly string[],
): Escalation | undefined {
  if (a.escalation === undefined && b.escalation === undefined) return undefined;
  const afterMs = Math.max(a.escalation?.afterMs ?? 0, b.escalation?.afterMs ?? 0);
  const channel = a.escalation?.channel ?? b.escalation?.channel;
  const later = approvers.length === 0 ? [] : (commonApprovers(laterApprovers(a), laterApprovers(b)) ?? []);
  const added = later.filter((name) => !approvers.includes(name));
  const widens = [...(a.onCall ?? []), ...(b.onCall ?? [])].some(({ later }) => later !== undefined);
  if (added.length === 0 && channel === undefined && !widens) return undefined;
  return { afterMs, approvers: added, ...(channel === undefined ? {} : { channel }) };
}

/** Those that both lists name (an empty list names everybody); null where nobody is in both. */
export function commonApprovers(a: readonly string[], b: readonly string[]): readonly string[] | null {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const both = a.filter((name) => b.includes(name));
  return both.length === 0 ? null : both;
}

/**
 * The demand as it stands at a time: from `fromMs` on (milliseconds since 1970, by the database's clock; null: there is
 * no escalation) the people of the escalation may answer as well, also in the windows of their own rule. Everybody stays
 * everybody.
 */
export function demandAt(demand: ApprovalDemand, fromMs: number | null, nowMs: number): ApprovalDemand {
  const { escalation, onCall } = demand;
  // Written so that a time which is no number escalates nothing.
  const escalated = escalation !== undefined && fromMs !== null && nowMs >= fromMs;
  if (!escalated) return demand;
  return {
    ...demand,
    approvers: laterApprovers(demand),
    ...(onCall === undefined ? {} : { onCall: onCall.map(widened) }),
  };
}

function widened({ later, ...window }: DemandWindow): OnCall {
  return later === undefined ? window : { ...window, approvers: [...window.approvers, ...later] };
}

function laterApprovers({ approvers, escalation }: ApprovalDemand): readonly string[] {
  if (approvers.length === 0) return [];
  return [...new Set([...approvers, ...(escalation?.approvers ?? [])])];
}
