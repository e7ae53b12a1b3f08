/** Sends what stands in the place of SHOW countersign.requests. */
import type { OwnRequest } from '../approval/port.ts';
import { forward, forwardQuery, RESERVED } from './forward.ts';
import { listingBind, listingQuery, listingSql } from './listing.ts';
import { closeOwn } from './refusal.ts';
import type { Run } from './run.ts';
import type { Prepared, SessionState } from './state.ts';
import type { Subject } from './subject.ts';

export function forwardListingQuery(
  state: SessionState,
  subject: Subject,
  runs: readonly Run[],
  requests: readonly OwnRequest[],
): void {
  const { frame, moved } = listingQuery(subject.sql, subject.analysis, selectOf(state, requests));
  forwardQuery(state, frame, subject, runs, moved);
}

/** Before the Bind of a SHOW countersign.requests: a statement of ours with what is to be shown. What is sent as Bind. */
export function forwardListingBind(
  state: SessionState,
  frame: Buffer,
  { parameterTypes }: Prepared,
  requests: readonly OwnRequest[],
): Buffer {
  const [parse, bind] = listingBind(frame, parameterTypes, selectOf(state, requests));
  forward(state, closeOwn(), { kind: 'close', own: true });
  forward(state, parse, { kind: 'parse', own: true, name: RESERVED });
  state.leftover = true;
  return bind;
}

function selectOf({ setup }: SessionState, requests: readonly OwnRequest[]): string {
  return listingSql(requests, setup.fewCharacters === true);
}
