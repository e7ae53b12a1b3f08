import { askedAt } from '../../approval/eligibility.ts';
import type { RequestView } from '../../approval/guard.ts';
import type { Group, Person } from '../../config/config.ts';
import type { Mentions } from './card.ts';
import type { MessageKey } from './places.ts';

/** More would be a crowd, and Slack limits a message. */
const MENTIONED = 10;

/**
 * Whom the rule names, as this workspace knows them, or whom its escalation brings in; never the owner of the agent, who
 * cannot answer.
 */
export function mentionsFor(
  request: RequestView,
  key: MessageKey,
  people: readonly Person[],
  groups: readonly Group[],
  teamId: string,
  nowMs: number,
): Mentions {
  const { escalation, onCall = [] } = request.demand;
  const brought =
    key === 'slack-escalation'
      ? [...(escalation?.approvers ?? []), ...onCall.flatMap(({ later = [] }) => later)]
      : [];
  const named = new Set(brought.length > 0 ? brought : askedNow(request, nowMs));
  const users = people
    .filter(({ id }) => named.has(id) && id !== request.session.owner && id !== request.session.onBehalfOf)
    .flatMap(({ slack }) => slack.map((pair) => pair.split('/')))
    .flatMap(([team, user]) => (team === teamId && user !== undefined && user !== '' ? [user] : []));
  const called = groups.flatMap(({ name, slackUserGroup }) =>
    named.has(name) && slackUserGroup !== null ? [slackUserGroup] : [],
  );
  return { users: users.slice(0, MENTIONED), groups: called.slice(0, MENTIONED) };
}

/** Whom the rule names; while only some of them are on call, those. */
function askedNow({ demand }: RequestView, nowMs: number): readonly string[] {
  const lists = askedAt(demand, nowMs);
  const onCall = demand.approvers.length > 0 ? lists.slice(1) : lists;
  return onCall.length > 0 ? onCall.flat() : demand.approvers;
}
