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

/**
 * Whether a message that is not there yet is to be posted now. Of requests that are shown as one, the oldest has the card;
 * the next one gets its own when that is answered.
 */
export function isDue(key: MessageKey, request: RequestView): boolean {
  const first = request.alike[0] ?? request.id;
  if (key !== 'slack-outcome' && first !== request.id) return false;
  switch (key) {
    case 'slack':
      return request.state === 'open' || request.state === 'approved' || request.state === 'consumed';
    case 'slack-escalation':
      return request.state === 'open' && request.escalated;
    case 'slack-outcome':
      return request.outcome !== null || request.state === 'unknown';
  }
}
