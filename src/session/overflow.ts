/** A result that comes to more than it was let pass for. */

import type { Decision } from '../policy/decision.ts';
import { type ErrorFields, encodeError } from '../protocol/backend.ts';
import type { DataHandled } from '../protocol/backend-scanner.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { type Analysis, higherClass, type StatementAnalysis } from '../statement/analysis.ts';
import { decisionOf, uncapped } from './budget.ts';
import { injectFlush } from './forward.ts';
import { giveUp } from './give-up.ts';
import type { LedgerEntry } from './ledger.ts';
import { openEffect, questionOf } from './question.ts';
import { approvedGuard, boundOf, exceeds, passedOf } from './row-guard.ts';
import type { Rest, RowGuard, Run } from './run.ts';
import { type Current, newCurrent, type Phase, type SessionState } from './state.ts';
import { beginStop, unsynced } from './stopping.ts';
import type { Subject } from './subject.ts';
import { cancelled, deniedByPolicy } from './wording.ts';
import { beyondApproved, cancelledMidway, nobodyWaits, overflown, passedSoFar } from './wording-midway.ts';

/**
 * The row of `more` bytes at which the limit is reached has not gone on. Policy decides anew, for it is an export now; to
 * ask a person, or to stop, needs that nothing was sent behind it. Otherwise the session ends.
 */
export function overflow(state: SessionState, run: Run, guard: RowGuard, more: number): DataHandled {
  const subject = asExport(run, guard);
  const decision = subject === null ? null : state.setup.decide(subject.analysis, state.now);
  if (decision?.decision === 'allow' && guard.beyond === 'ask') {
    const bound = boundOf(decision.limits);
    if (bound === null || !exceeds(bound, run, more)) {
      run.guard = bound === null ? null : { ...guard, ...bound };
      return 'pass';
    }
  }
  run.rest =
    decision === null || guard.beyond === 'stop'
      ? { class: higherClass(run.class, 'export'), rule: guard.rule, reasons: guard.reasons, refusedBy: null }
      : restAs(decision);
  if (subject === null || decision === null || !mayPause(state) || !nothingBehind(state))
    return endSession(state, run, overflown(guard, passedOf(run), more));
  putBack(state);
  state.effects.push({ kind: 'pauseUpstream' });
  if (state.cancelInFlight) beginStop(state, run, cancelled(), 'withdrawn');
  else if (guard.beyond === 'stop' || decision.decision === 'allow')
    beginStop(state, run, beyondApproved(guard), 'limit');
  else if (decision.decision === 'deny') beginStop(state, run, deniedByPolicy(decision), 'policy');
  else ask(state, newCurrent(0, NO_FRAME, run), run, subject, decision);
  return 'pause';
}

/** Goes on with what is known now of the request about an interrupted result. */
export function interruptedAnswer(state: SessionState, current: Current, run: Run): void {
  const { release, refusal, request, subject, question } = current;
  const id = request?.id ?? '';
  const rule = current.decision?.rule ?? '';
  if (refusal !== null) return beginStop(state, run, refusal.fields, refusal.outcome);
  if (subject === null) throw new Error('a result was interrupted for no reason');
  if (release === null) {
    // Of the time when people were asked, as every release is.
    const decision = decisionOf(state, subject.analysis, current, current.decidedAt);
    state.phase = 'releasing';
    // Built anew: the store verifies the receipt against the policy that is in force now.
    state.effects.push({ kind: 'release', requestId: id, question: questionOf(state, subject, decision) });
    return;
  }
  run.requestId = id;
  run.approvers = release.approvers;
  // What people let pass is counted, and not stopped.
  run.meter?.end();
  run.meter = uncapped(state, subject.analysis)[run.place] ?? null;
  if (current.cancelled) return beginStop(state, run, cancelledMidway(rule, id), 'withdrawn');
  run.guard = run.guard === null ? null : approvedGuard(question?.limits, run.guard);
  goOn(state);
}

/** The row that waits goes on, and what comes behind it. */
export function goOn(state: SessionState): void {
  state.current = null;
  state.phase = 'streaming';
  state.stream ??= { kind: 'query', synced: false, flushed: true };
  if (unsynced(state)) injectFlush(state);
  state.effects.push({ kind: 'resumeUpstream' });
}

/** The client is not there to wait for an answer. */
export function leaveInterrupted(state: SessionState, { decision, request }: Current, run: Run): void {
  beginStop(state, run, nobodyWaits(decision?.rule ?? '', request?.id ?? null), 'withdrawn');
}

/** Puts the question about the rest of a result; `current` stands for it. */
export function ask(
  state: SessionState,
  current: Current,
  run: Run,
  subject: Subject,
  decision: Decision,
): void {
  run.rest = restAs(decision);
  current.decision = decision;
  current.decidedAt = state.now;
  current.subject = subject;
  if (state.leaving) return leaveInterrupted(state, current, run);
  current.question = questionOf(state, subject, decision);
  state.current = current;
  state.phase = 'opening';
  state.effects.push(openEffect(state, subject, current.question, passedOf(run)));
}

/** What the log says of the rest of a result. */
export function restAs({ class: rank, rule, reasons }: Decision): Rest {
  return { class: rank, rule, reasons, refusedBy: null };
}

export const NO_FRAME = Buffer.alloc(0);

/** What was judged, as the export that its statement has come to be. Null: nobody knows what it belongs to. */
function asExport(run: Run, guard: RowGuard): Subject | null {
  const { subject, place } = run;
  const statement = subject?.analysis.statements[place];
  if (subject === null || statement === undefined) return null;
  const rank = higherClass(statement.class, 'export');
  const reasons = [passedSoFar(guard, run, passedOf(run)), ...statement.reasons];
  const { sizes } = statement;
  // What the planner expected of it counts no longer.
  const known = sizes === undefined ? {} : { sizes: { ...sizes, expected: null } };
  const raised: StatementAnalysis = { ...statement, ...known, class: rank, reasons };
  const { analysis } = subject;
  const statements = analysis.statements.map((one, i) => (i === place ? raised : one));
  const whole: Analysis = { ...analysis, statements, class: higherClass(analysis.class, rank), reasons };
  return { ...subject, analysis: whole };
}

/** Nothing waits for an answer of the world. */
export function mayPause({ current, clientGone, copy, copyProbe, phase }: SessionState): boolean {
  if (clientGone || copy !== null || copyProbe !== null || !MAY_BE_INTERRUPTED.has(phase)) return false;
  return current === null || current.request === null;
}

/** What was sent behind it would not run, or has no answer, if it fails. */
export function nothingBehind({ ledger }: SessionState): boolean {
  const behind = ledger.behindHead();
  const sync = behind.findIndex(({ kind }) => kind === 'sync');
  return behind.every((entry, i) => entry.own || (HARMLESS.has(entry.kind) && (sync === -1 || i <= sync)));
}

const MAY_BE_INTERRUPTED: ReadonlySet<Phase> = new Set([
  'ready',
  'streaming',
  'settling',
  'refreshing',
  'budgeting',
]);
const HARMLESS: ReadonlySet<LedgerEntry['kind']> = new Set(['describe', 'close', 'sync']);

/** A message that waits for what was sent before it is judged from the start, later. */
export function putBack(state: SessionState): void {
  const { current } = state;
  if (current === null) return;
  state.inbox.unshift({ type: current.type, frame: current.frame });
  state.current = null;
}

/**
 * Ends the session. The statement may have come to its end on the server already, and later messages are on their way:
 * no error in the place of the rest would be true (nor undo what those do), so nothing but the end is.
 */
export function endSession(state: SessionState, run: Run, fields: ErrorFields): 'stop' {
  // What writes may have committed.
  if (run.class === 'read' || run.class === 'session') state.openRuns.done(run, 'failed');
  run.sqlstate = SQLSTATE.programLimitExceeded;
  if (run.rest !== null) run.rest.refusedBy = 'limit';
  giveUp(state);
  state.phase = 'ended';
  const error = encodeError({ S: 'FATAL', V: 'FATAL', ...fields });
  state.effects.push(
    { kind: 'stopTimers', end: 'failed' },
    // What it still does there is for nobody.
    { kind: 'cancelUpstream' },
    { kind: 'close', error, why: 'a result was larger than estimated' },
  );
  return 'stop';
}
