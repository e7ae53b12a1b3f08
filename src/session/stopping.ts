/**
 * Stopping a result in its middle. A cancel alone is not enough: the server may have come to the end of the statement
 * long ago, for its rows lie in socket buffers. So: a cancel, its end awaited; then what still comes is read and thrown
 * away. If an error comes, it gets our fields. If the statement had completed, nobody hears so: a substitute follows it,
 * which the server rejects, so that the transaction is aborted and ReadyForQuery is the server's own.
 */
import { serialize } from 'pg-protocol';
import type { RestRefusal } from '../audit/entry.ts';
import { BACKEND, type ErrorFields, encodeError, type TransactionStatus } from '../protocol/backend.ts';
import { forward, injectFlush, refuse } from './forward.ts';
import type { LedgerEntry } from './ledger.ts';
import { closeWith } from './obey.ts';
import { endRequests, recordOutcome } from './record.ts';
import { passedOf } from './row-guard.ts';
import type { Run } from './run.ts';
import type { SessionState, Stop } from './state.ts';
import { ranToItsEnd, restNotSent } from './wording-midway.ts';

type Relayed = { readonly replace: Buffer };

const NOTHING = Buffer.alloc(0);

/** Upstream is not read at this time; it is again when the cancel has ended (`cancelEnded`). */
export function beginStop(state: SessionState, run: Run, fields: ErrorFields, by: RestRefusal): void {
  if (run.rest !== null) run.rest.refusedBy = by;
  state.current = null;
  state.phase = 'stopping';
  state.stop = { run, fields: restNotSent(fields, passedOf(run)) };
  // Where it has come to its end the server would keep that for itself until Sync. Not behind the cancel: it could be hit.
  if (!state.cancelInFlight && unsynced(state)) injectFlush(state);
  if (state.cancelInFlight) return;
  state.cancelInFlight = true;
  state.effects.push({ kind: 'cancelUpstream' });
}

/** The cancel can hit nothing any more. */
export function cancelEnded(state: SessionState): void {
  state.effects.push({ kind: 'resumeUpstream' });
}

/** The client hears no more of it; the server comes to its end. */
export function goneWhileStopping(state: SessionState): void {
  state.clientGone = true;
  state.inbox.clear();
  state.withheld = [];
}

/** The error has come: what follows in its group or string is the server's own. */
export function stopped(state: SessionState): void {
  state.stop = null;
  state.phase = 'streaming';
}

/**
 * The statement of an Execute had completed (or its portal has given what was asked for), and the client's Sync was not
 * sent: the group fails behind it. Everything else between it and the end stays here.
 */
export function swallowed(state: SessionState, { fields }: Stop, type: number): Relayed {
  const ended = type === BACKEND.commandComplete || type === BACKEND.portalSuspended;
  if (ended && unsynced(state)) refuse(state, { kind: 'inGroup' }, fields);
  return { replace: NOTHING };
}

/** The group or string had completed: what is in its place is rejected in the same transaction, or in one of its own. */
export function completedAnyway(
  state: SessionState,
  { kind, runs }: LedgerEntry,
  { run, fields }: Stop,
  status: TransactionStatus,
): Buffer | 'end' {
  const done = kind === 'query' ? runs : [run];
  const mayCommit = done.some(({ symbols }) => symbols.some((symbol) => symbol.kind === 'transaction'));
  const undone = status !== 'I' && !mayCommit;
  if (!undone && !onlyReads(state, done)) return committed(state, done, fields);
  if (kind === 'query') refuse(state, { kind: 'query' }, fields);
  else {
    refuse(state, { kind: 'inGroup' }, fields);
    forward(state, serialize.sync(), { kind: 'sync' });
    state.group += 1;
  }
  return NOTHING;
}

/** The server keeps its last answers until a Sync, which was not sent. */
export function unsynced({ ledger }: SessionState): boolean {
  return !ledger.some(({ kind }) => kind === 'sync' || kind === 'query');
}

function onlyReads({ openRuns }: SessionState, runs: readonly Run[]): boolean {
  return openRuns.onlyRead && runs.every((run) => run.class === 'read');
}

/** What it changed is there, so an error that says otherwise would not be true, and nothing else is but the end. */
function committed(state: SessionState, runs: readonly Run[], fields: ErrorFields): 'end' {
  for (const run of runs) {
    run.sqlstate = null;
    recordOutcome(state, run, 'executed');
  }
  endRequests(state, runs, () => 'executed');
  const error = encodeError({ S: 'FATAL', V: 'FATAL', ...ranToItsEnd(fields) });
  closeWith(state, error, 'a result was stopped after its statement had committed');
  return 'end';
}
