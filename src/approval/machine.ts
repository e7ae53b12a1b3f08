import type { RequestState } from './port.ts';

/** What can happen to a request. Every transition of every request is a cell of `TRANSITIONS`; the store owns none. */
export type RequestEvent =
  /** Enough eligible people approved: a receipt was signed. */
  | 'quorum'
  /** One eligible person denied. */
  | 'denial'
  /** The lifetime is over by the database's clock, or a newer policy or object superseded the request. */
  | 'expiry'
  /** The client cancelled, or the request was taken back. */
  | 'withdrawal'
  /** The holding process used the receipt. */
  | 'release'
  | 'executed'
  | 'failed'
  /** The process that released it is gone: nobody knows. Nothing is ever retried. */
  | 'loss';

/** `same`: nothing changes and nobody is told (a redelivery). `refused`: the event is an error of whoever sent it. */
export type Transition = RequestState | 'same' | 'refused';

/** DESIGN.md, section 10. Complete by type: a missing cell does not compile. */
export const TRANSITIONS: Readonly<Record<RequestState, Readonly<Record<RequestEvent, Transition>>>> = {
  open: {
    quorum: 'approved',
    denial: 'denied',
    expiry: 'expired',
    withdrawal: 'withdrawn',
    release: 'refused',
    executed: 'refused',
    failed: 'refused',
    loss: 'refused',
  },
  approved: {
    quorum: 'same',
    denial: 'refused',
    expiry: 'expired',
    withdrawal: 'withdrawn',
    release: 'consumed',
    executed: 'refused',
    failed: 'refused',
    loss: 'refused',
  },
  denied: ended('denied'),
  expired: ended('expired'),
  withdrawn: ended('withdrawn'),
  consumed: {
    quorum: 'same',
    denial: 'refused',
    // Too late: the statement is on its way.
    expiry: 'same',
    withdrawal: 'same',
    // The second release of one approval.
    release: 'refused',
    executed: 'executed',
    failed: 'failed',
    loss: 'unknown',
  },
  executed: ended('executed'),
  failed: ended('failed'),
  unknown: ended('unknown'),
};

/** Ended: late time-outs, cancels and repeated outcomes change nothing; a new answer or release is refused. */
function ended(state: 'denied' | 'expired' | 'withdrawn' | 'executed' | 'failed' | 'unknown') {
  const ran = state === 'executed' || state === 'failed' || state === 'unknown';
  return {
    quorum: ran ? 'same' : 'refused',
    denial: state === 'denied' ? 'same' : 'refused',
    expiry: 'same',
    withdrawal: 'same',
    release: 'refused',
    executed: ran ? 'same' : 'refused',
    failed: ran ? 'same' : 'refused',
    loss: ran ? 'same' : 'refused',
  } as const;
}

/** What an event makes of a request in this state. */
export function transition(state: RequestState, event: RequestEvent): Transition {
  return TRANSITIONS[state][event];
}

/** The states from which this event leads on, for the compare part of a compare-and-swap. */
export function statesBefore(event: RequestEvent): readonly RequestState[] {
  return REQUEST_STATES.filter((state) => {
    const next = TRANSITIONS[state][event];
    return next !== 'same' && next !== 'refused';
  });
}

export const REQUEST_STATES: readonly RequestState[] = [
  'open',
  'approved',
  'denied',
  'expired',
  'withdrawn',
  'consumed',
  'executed',
  'failed',
  'unknown',
];

/** Can still be answered or released. */
export function isLive(state: RequestState): boolean {
  return state === 'open' || state === 'approved';
}
