import type { CardKey, RequestView } from '../../approval/guard.ts';

/** A message about a request: its card, the card of its escalation, and the reply that says what came of it. */
export type MessageKey = Extract<CardKey, 'slack' | 'slack-escalation' | 'slack-outcome'>;

/** Where a message of a request belongs: the id of a channel, or of a user, who gets it as a direct message. */
export type Place = { readonly key: MessageKey; readonly channel: string };

/** The cards of a request; the second one is due when it escalates. `channel`: for requests whose rule names none. */
export function placesOf({ demand }: RequestView, channel: string): readonly Place[] {
  const own = demand.channel ?? channel;
  const { escalation } = demand;
  return [
    { key: 'slack', channel: own },
    ...(escalation === undefined
      ? []
      : [{ key: 'slack-escalation' as const, channel: escalation.channel ?? own }]),
  ];
}

/** Whether a message that is not there yet is to be posted now. */
export function isDue(key: MessageKey, request: RequestView): boolean {
  switch (key) {
    case 'slack':
      return request.state === 'open' || request.state === 'approved' || request.state === 'consumed';
    case 'slack-escalation':
      return request.state === 'open' && request.escalated;
    case 'slack-outcome':
      return request.outcome !== null || request.state === 'unknown';
  }
}
