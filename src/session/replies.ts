/**
 * Backend messages: each is matched to the ledger. What the server says goes on unchanged, but for the answers to
 * substitutes and to messages of our own.
 */
import {
  BACKEND,
  commandTag,
  decodeErrorFields,
  decodeParameterStatus,
  encodeError,
  fatalError,
  type TransactionStatus,
} from '../protocol/backend.ts';
import type { DataHandled } from '../protocol/backend-scanner.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { applySymbols } from './apply-symbols.ts';
import { renamed } from './asker.ts';
import { countText } from './budget.ts';
import { wall } from './budget-wall.ts';
import { copyCompleted, copyFailed, copyOpened } from './copy.ts';
import { copyFailedOpen, probeAnswered, probeEnded } from './copy-probe.ts';
import { RESERVED } from './forward.ts';
import { giveUp } from './give-up.ts';
import type { LedgerEntry } from './ledger.ts';
import { overflow } from './overflow.ts';
import { PINNED } from './pinned.ts';
import { endRequests, recordOutcome } from './record.ts';
import { rewriteError } from './refusal.ts';
import { countRow, exceeds } from './row-guard.ts';
import type { Run } from './run.ts';
import { parseSearchPath } from './search-path.ts';
import type { SessionState } from './state.ts';
import { completedAnyway, stopped, swallowed } from './stopping.ts';
import { passError, passText } from './text-guard.ts';

/** What becomes of a frame: it goes on, or another takes its place, or the session is over. */
export type Relay = 'pass' | 'end' | { readonly replace: Buffer };

/** A whole frame of any type but DataRow and CopyData. */
export function reply(state: SessionState, type: number, frame: Buffer): Relay {
  switch (type) {
    case BACKEND.notice:
      return passText(answering(state), frame, 0);
    case BACKEND.notification:
      state.setup.budget?.loose(frame.length);
      return 'pass';
    case BACKEND.parameterStatus:
      return parameterStatus(state, frame);
    case BACKEND.error:
      return error(state, frame);
    case BACKEND.readyForQuery:
      return readyForQuery(state, frame);
    default: {
      const relay = answer(state, type, frame);
      return state.stop === null || relay === 'end' ? relay : swallowed(state, state.stop, type);
    }
  }
}

/** The statement that the server is at. */
function answering({ ledger: { head } }: SessionState): Run | undefined {
  return head?.runs[head.completed];
}

/** DataRow or CopyData of `bytes` body bytes: counted. What comes to more than may pass waits, or ends the session. */
export function data(state: SessionState, bytes: number): DataHandled {
  if (state.phase === 'ended') return 'stop';
  const head = state.ledger.head;
  if (head === undefined || head.refusal !== null || !STATEMENT.has(head.kind)) {
    lost(state, 'data without a statement');
    return 'stop';
  }
  if (state.stop !== null) return 'drop';
  head.begun = true;
  const run = head.runs[head.completed];
  if (run !== undefined) {
    const { guard } = run;
    if (guard !== null && exceeds(guard, run, bytes)) {
      const handled = overflow(state, run, guard, bytes);
      if (handled !== 'pass') return handled;
    }
    if (run.meter !== null && !run.meter.row(bytes)) {
      const handled = wall(state, run);
      if (handled !== 'pass') return handled;
    }
    run.begun = true;
    countRow(run, bytes);
  }
  return 'pass';
}

function answer(state: SessionState, type: number, frame: Buffer): Relay {
  const head = state.ledger.head;
  if (head === undefined) return lost(state, `message ${String.fromCharCode(type)} that nothing asked for`);
  if (head.kind === 'copyProbe' && type === BACKEND.closeComplete) return probed(state, type, frame);
  if (head.refusal !== null) return lost(state, 'the server accepted a substitute');
  if (!(EXPECTED[type] ?? ANY).has(head.kind))
    return lost(state, `message ${String.fromCharCode(type)} in answer to ${head.kind}`);
  head.begun = true;
  if (head.own) {
    pop(state);
    return { replace: NOTHING };
  }
  switch (type) {
    case BACKEND.parseComplete:
      state.statements.confirm(head);
      break;
    case BACKEND.bindComplete:
      state.portals.confirm(head);
      for (const run of head.runs) if (run.state === 'sent') state.openRuns.bound(run);
      break;
    case BACKEND.closeComplete:
      state.statements.confirm(head);
      state.portals.confirm(head);
      break;
    case BACKEND.portalSuspended:
      for (const run of head.runs) {
        run.begun = true;
        if (state.stop !== null) failRun(state, run, state.stop.fields['C'] ?? null);
      }
      break;
    case BACKEND.commandComplete:
      return commandComplete(state, head, commandTag(frame));
    case BACKEND.emptyQuery:
      if (head.kind === 'query') return 'pass';
      break;
    case BACKEND.rowDescription:
      if (head.kind !== 'describe') return 'pass';
      break;
    case BACKEND.copyInResponse:
      return copyInResponse(state, head);
    case BACKEND.functionCallResponse:
      for (const run of head.runs) state.openRuns.done(run, 'complete');
      return 'pass';
    case BACKEND.parameterDescription:
    case BACKEND.copyOutResponse:
    case BACKEND.copyDone:
      return 'pass';
  }
  pop(state);
  return 'pass';
}

const ANY: ReadonlySet<string> = new Set<string>();
const STATEMENT = new Set(['query', 'execute']);
/** Which messages each answer belongs to (manual, "Message Flow"). */
const EXPECTED: Readonly<Record<number, ReadonlySet<string>>> = {
  [BACKEND.parseComplete]: new Set(['parse']),
  [BACKEND.bindComplete]: new Set(['bind']),
  [BACKEND.closeComplete]: new Set(['close']),
  [BACKEND.parameterDescription]: new Set(['describe']),
  [BACKEND.noData]: new Set(['describe']),
  [BACKEND.rowDescription]: new Set(['describe', 'query']),
  [BACKEND.commandComplete]: STATEMENT,
  [BACKEND.emptyQuery]: STATEMENT,
  [BACKEND.portalSuspended]: new Set(['execute']),
  [BACKEND.copyInResponse]: STATEMENT,
  [BACKEND.copyOutResponse]: STATEMENT,
  [BACKEND.copyDone]: STATEMENT,
  [BACKEND.functionCallResponse]: new Set(['functionCall']),
};

function commandComplete(state: SessionState, head: LedgerEntry, tag: string): Relay {
  const run = head.runs[head.completed];
  if (head.kind === 'query') {
    if (run === undefined && !head.unparsed) return lost(state, 'more results than statements');
    if (run !== undefined && head.completed < head.runs.length - 1) head.completed += 1;
    else if (run !== undefined && !head.unparsed) head.completed += 1;
  }
  if (run !== undefined && state.stop !== null) failRun(state, run, state.stop.fields['C'] ?? null);
  else if (run !== undefined) {
    run.tag = tag;
    if (run.state !== 'recorded') state.openRuns.done(run, 'complete');
    // Of a text that was not understood it is known only now whether it took COPY data.
    if (state.copy?.entry === head && (run.copyIn || state.copy.open)) {
      run.bytes += state.copy.bytes;
      copyCompleted(state, state.copy);
    }
    applySymbols(state, run, tag);
  }
  if (head.kind === 'execute') pop(state);
  return 'pass';
}

function copyInResponse(state: SessionState, head: LedgerEntry): Relay {
  const { copy } = state;
  if (copy === null || copy.entry !== head) return lost(state, 'COPY FROM STDIN that no statement asked for');
  copyOpened(state, copy);
  return 'pass';
}

function error(state: SessionState, frame: Buffer): Relay {
  const fields = decodeErrorFields(frame);
  const severity = fields['V'] ?? fields['S'];
  const head = state.ledger.head;
  if (severity === 'FATAL' || severity === 'PANIC') state.fatalSeen = true;
  if (state.fatalSeen) return 'pass';
  if (head?.kind === 'copyProbe') return probed(state, BACKEND.error, frame);
  if (head === undefined) {
    // statement_timeout while it waits for the rest of a group: the server skips to Sync, as after any error.
    if (state.groupOpen) {
      state.skipping = true;
      state.withheld = [];
    }
    return 'pass';
  }
  if (head.kind === 'query' && head.midGroup && !head.begun && fields['C'] === SQLSTATE.queryCanceled)
    // It may have struck before the Query arrived, which is then skipped, or during it.
    return lost(state, 'a timeout in the middle of a group');
  const refusal = state.stop ?? head.refusal;
  const own = errorInstead(state, head, frame, severity);
  if (state.stop !== null) stopped(state);
  const relay = own === null ? passError(answering(state), frame, fields, head.moved) : { replace: own };
  const sqlstate = own === null ? (fields['C'] ?? null) : (refusal?.fields['C'] ?? null);
  if (state.copy?.entry === head) {
    if (state.copy.open) copyFailedOpen(state, head.kind === 'execute');
    copyFailed(state);
  }
  state.groupError = sqlstate;
  fail(state, head, sqlstate);
  if (head.kind === 'query' || head.kind === 'sync' || head.kind === 'functionCall') return relay;
  pop(state);
  if (!state.ledger.skipToSync((entry) => skipped(state, entry))) {
    state.skipping = true;
    // They belong to the failed group: the server would have skipped them.
    state.withheld = [];
  }
  return relay;
}

/** Null: the server's own goes on. */
function errorInstead(
  { stop }: SessionState,
  { refusal }: LedgerEntry,
  frame: Buffer,
  severity: string | undefined,
): Buffer | null {
  if (stop !== null) return encodeError({ S: severity ?? 'ERROR', V: 'ERROR', ...stop.fields });
  return refusal === null ? null : rewriteError(frame, refusal);
}

/** The statement that the error is about; in a Query those after it never ran. */
function fail(state: SessionState, head: LedgerEntry, sqlstate: string | null): void {
  state.statements.drop(head);
  state.portals.drop(head);
  if (head.kind === 'bind') state.failedBinds.add(head.name);
  if (head.kind === 'parse' && head.name === '') state.statements.set('', null);
  if (head.kind === 'query' && head.name !== RESERVED) {
    state.statements.set('', null);
    // In a failed transaction it did not come as far as to a portal. Elsewhere that is not certain.
    if (state.transaction !== 'E' || sqlstate !== SQLSTATE.inFailedTransaction) {
      state.portals.set('', null);
      state.queryFailed = true;
    }
  }
  head.runs.forEach((run, i) => {
    if (head.kind === 'query' && i < head.completed) return;
    const about = i === head.completed || head.kind !== 'query';
    failRun(state, run, about ? sqlstate : null);
  });
}

function failRun(state: SessionState, run: Run, sqlstate: string | null): void {
  state.statements.drop(run);
  state.portals.drop(run);
  if (run.state === 'recorded') return;
  state.openRuns.done(run, 'failed');
  run.sqlstate = sqlstate;
}

function skipped(state: SessionState, entry: LedgerEntry): void {
  state.statements.drop(entry);
  state.portals.drop(entry);
  if (state.copy?.entry === entry) copyFailed(state);
  for (const run of entry.runs) {
    // Also of a portal that ran to its end before: this time it did not.
    state.statements.drop(run);
    state.portals.drop(run);
    if (run.state === 'sent' || run.state === 'bound') failRun(state, run, null);
  }
}

/** Answers to what was asked after a failed COPY: they stay here, and then the client gets those that are its own. */
function probed(state: SessionState, type: number, frame: Buffer): Relay {
  const probe = state.copyProbe;
  if (probe === null) return lost(state, 'an answer to no question');
  if (type !== BACKEND.closeComplete)
    return probeAnswered(probe, type, frame) ? { replace: NOTHING } : lost(state, 'an error after COPY');
  const clients = probeEnded(state, probe);
  if (clients === null) return lost(state, 'no ReadyForQuery after COPY');
  pop(state);
  return { replace: clients };
}

const NOTHING = Buffer.alloc(0);

function readyForQuery(state: SessionState, frame: Buffer): Relay {
  const head = state.ledger.head;
  const own = head?.kind === 'copyProbe';
  if (
    head === undefined ||
    (!own && head.kind !== 'query' && head.kind !== 'sync' && head.kind !== 'functionCall')
  )
    return lost(state, `ReadyForQuery in answer to ${head?.kind ?? 'nothing'}`);
  const status = String.fromCharCode(frame[5] ?? 0);
  if (status !== 'I' && status !== 'T' && status !== 'E') return lost(state, 'unknown transaction status');
  state.transaction = status;
  if (head.kind === 'query') {
    state.statements.confirm(head);
    state.portals.confirm(head);
  }
  if (!own) pop(state);
  if (state.stop !== null && !own) return stoppedTooLate(state, head, status);
  settleRuns(state, status);
  if (status === 'I') transactionEnded(state);
  state.groupError = null;
  // Changes of settings are reported before it. What is left may be our own.
  const answered = !state.ledger.some((entry) => !entry.own);
  if (answered || head.group >= state.pinnedGroup) state.pinnedUncertain = false;
  if (answered && state.setup.reportsSearchPath && state.setup.mode === 'enforce')
    state.searchPathUncertain = false;
  return own ? probed(state, BACKEND.readyForQuery, frame) : 'pass';
}

/** A result was stopped whose statement had come to its end: ReadyForQuery waits until an error stands before it. */
function stoppedTooLate(state: SessionState, head: LedgerEntry, status: TransactionStatus): Relay {
  const { stop } = state;
  if (stop === null) return 'pass';
  const instead = completedAnyway(state, head, stop, status);
  return instead === 'end' ? 'end' : { replace: instead };
}

/** Outcomes are certain now: what completed is committed, or part of a transaction that goes on. */
function settleRuns(state: SessionState, status: TransactionStatus): void {
  const done = state.openRuns.settle(status);
  if (done.length === 0) return;
  const outcomes = new Map(done.map((run) => [run, outcomeOf(state, run)] as const));
  for (const run of done) recordOutcome(state, run, outcomes.get(run) ?? 'unknown', status);
  endRequests(state, done, (run) => {
    const outcome = outcomes.get(run);
    return outcome === 'withdrawn' ? 'failed' : (outcome ?? 'unknown');
  });
}

function outcomeOf(state: SessionState, run: Run): 'executed' | 'failed' | 'unknown' | 'withdrawn' {
  if (run.state === 'failed') return 'failed';
  // Bound, and its portal is gone: it never ran.
  if (run.state === 'bound' && !run.begun) return 'withdrawn';
  if (run.state !== 'complete' || state.groupError === null || !run.implicitTransaction) return 'executed';
  // An error later in an implicit transaction undid what had completed, unless that had committed by itself.
  if (run.maySelfCommit) return 'unknown';
  failRun(state, run, state.groupError);
  return 'failed';
}

function transactionEnded(state: SessionState): void {
  state.queryFailed = false;
  state.failedBinds.clear();
  state.portals.deleteWhere((portal) => portal.kind !== 'sql' || !portal.withHold);
  state.pathSetInTransaction = false;
  // What changes it and is still under way would be missed.
  if (state.catalogUncertain && !state.refreshing && !state.openRuns.changeCatalog) {
    state.refreshing = true;
    state.effects.push({ kind: 'refreshCatalog' });
  }
}

function parameterStatus(state: SessionState, frame: Buffer): Relay {
  const { name, value } = decodeParameterStatus(frame);
  // application_name may have been set to anything.
  countText(answering(state), frame);
  if (name === 'application_name') renamed(state, value);
  if (name === 'search_path') state.searchPath = parseSearchPath(value, state.setup.facts.role);
  const pinned = PINNED[name];
  if (pinned === undefined) return 'pass';
  if (value === pinned) state.unpinned.delete(name);
  else if (state.setup.mode === 'enforce')
    return lost(state, `pinned setting ${name} was changed to ${value}`, SQLSTATE.insufficientPrivilege);
  else state.unpinned.add(name);
  state.unpinnedOnce ||= state.unpinned.size > 0;
  return 'pass';
}

/** The session is out of step or unsafe: nothing else is true any more but to end it. */
function lost(state: SessionState, why: string, code: string = SQLSTATE.protocolViolation): Relay {
  giveUp(state);
  state.phase = 'ended';
  state.effects.push(
    { kind: 'stopTimers', end: 'failed' },
    { kind: 'close', error: fatalError(code, `countersign: session closed: ${why}`), why },
  );
  return 'end';
}

function pop(state: SessionState): void {
  const entry = state.ledger.pop();
  if (state.copy !== null && state.copy.entry === entry) state.copy = null;
  while (state.ledger.head?.kind === 'copyEnd') state.ledger.pop();
}
