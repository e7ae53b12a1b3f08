/**
 * How far a COPY FROM STDIN that fails has read. A Sync among its data is eaten or not, depending on which of the data
 * were at fault; a message that has no place there ends the session or not, depending on whether the COPY has failed
 * just before. Only the server knows: it is sent a Sync and a Close of a name that nobody has, and nothing else until
 * that is answered. The answers to these stay here.
 */
import { serialize } from 'pg-protocol';
import { BACKEND, encodeFrame } from '../protocol/backend.ts';
import { FRONTEND } from '../protocol/frontend.ts';
import { forgetSyncs } from './copy.ts';
import { forward, forwardSilently } from './forward.ts';
import { RESERVED_NAME } from './refusal.ts';
import type { CopyProbe, SessionState } from './state.ts';

/**
 * A message of that type has come among COPY data. Without its body it does nothing: if COPY still takes data, the server
 * says what it says to any such message, and ends the session; otherwise it is malformed.
 */
export function interruptCopy(state: SessionState, type: number): void {
  send(state, { interruptedBy: type, inGroup: false, answered: false, ready: [] }, [
    encodeFrame(type, Buffer.alloc(0)),
  ]);
}

/** The COPY at the ledger's head has failed after it took data: asks, where it matters, what else it has read. */
export function copyFailedOpen(state: SessionState, inGroup: boolean): void {
  if (state.copyProbe === null) {
    if (!state.ledger.some(({ inCopy }) => inCopy)) return;
    send(state, { interruptedBy: null, inGroup, answered: false, ready: [] }, []);
  } else state.copyProbe.inGroup = inGroup;
  forgetSyncs(state);
}

function send(state: SessionState, probe: CopyProbe, first: readonly Buffer[]): void {
  state.copyProbe = probe;
  const own = [...first, serialize.sync(), serialize.close({ type: 'S', name: RESERVED_NAME })];
  forward(state, Buffer.concat(own), { kind: 'copyProbe' });
  forwardSilently(state, serialize.flush());
}

/** An answer to the probe; `ready` frames are kept. False: no such answer is possible. */
export function probeAnswered(probe: CopyProbe, type: number, frame: Buffer): boolean {
  if (type === BACKEND.readyForQuery) probe.ready.push(Buffer.from(frame));
  else if (type === BACKEND.error && probe.interruptedBy !== null && !probe.answered) probe.answered = true;
  else return false;
  return true;
}

/** The probe is over: those ReadyForQuery that belong to the client. Null: there were fewer than our own. */
export function probeEnded(state: SessionState, probe: CopyProbe): Buffer | null {
  const own = probe.answered && ENDS_ITSELF.has(probe.interruptedBy ?? 0) ? 2 : 1;
  const clients = probe.ready.length - own;
  if (clients < 0) return null;
  state.copyProbe = null;
  if (probe.inGroup && clients === 0) {
    // Our Sync has ended the skipping on the server; the client has not sent its own yet.
    state.skipping = true;
    state.withheld = [];
  }
  return Buffer.concat(probe.ready.slice(0, clients));
}

/** Messages that get a ReadyForQuery of their own. */
const ENDS_ITSELF: ReadonlySet<number> = new Set([FRONTEND.query, FRONTEND.functionCall]);
