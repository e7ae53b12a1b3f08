/**
 * The one place where the session changes between its phases: a table of every phase against every event, complete
 * by type. Judging starts over (`resume`) after each answer that it waited for.
 */
import type { Ended, OpenedRequest, OwnRequest, Release, RequestState } from '../approval/port.ts';
import type { ErrorFields } from '../protocol/backend.ts';
import type { Analysis } from '../statement/analysis.ts';
import { deniedFields, sayingWhen } from './budget.ts';
import { cancelBudgeting, slicedLate, slicedMidway } from './budget-wall.ts';
import type { HoldEnd } from './effect.ts';
import { endUnused } from './give-up.ts';
import { beginHold, sayHeld } from './hold-time.ts';
import { cancelRunning, leave } from './leaving.ts';
import { process } from './messages.ts';
import { clientFields, isMistake } from './mistakes.ts';
import { interruptedAnswer } from './overflow.ts';
import { recordIntents } from './record.ts';
import type { Current, Phase, SessionState } from './state.ts';
import { goneWhileStopping } from './stopping.ts';
import {
  type AskLimit,
  CANCELLED,
  cancelled,
  cannotAsk,
  draining,
  expired,
  holdTimedOut,
  releaseRefused,
  withdrawn,
} from './wording.ts';

export type WaitEvent =
  | { readonly kind: 'analysed'; readonly analysis: Analysis }
  /** Null: the server could not say more. */
  | { readonly kind: 'clarified'; readonly analysis: Analysis | null }
  /** `failed`: why the budgets could not be asked; null: they were. */
  | { readonly kind: 'sliced'; readonly failed: string | null }
  /** Everything that was sent has been answered. */
  | { readonly kind: 'settled' }
  | { readonly kind: 'refreshed' }
  /** Null: they could not be looked up. */
  | { readonly kind: 'listed'; readonly requests: readonly OwnRequest[] | null }
  /** Null: the server accepts it, or could not be asked. */
  | { readonly kind: 'probed'; readonly rejection: ErrorFields | null }
  | { readonly kind: 'opened'; readonly request: OpenedRequest }
  | { readonly kind: 'openFailed'; readonly why: string; readonly limit: AskLimit }
  | { readonly kind: 'answered'; readonly state: RequestState; readonly ended: Ended | null }
  | { readonly kind: 'released'; readonly release: Release }
  | { readonly kind: 'releaseFailed'; readonly why: string }
  | { readonly kind: 'holdTimeout' }
  | { readonly kind: 'noticeDue' }
  /** The client's CancelRequest. */
  | { readonly kind: 'cancel' }
  | { readonly kind: 'clientGone' }
  | { readonly kind: 'drain' };
export type WaitEventKind = WaitEvent['kind'];

type Handler<K extends WaitEventKind> = (state: SessionState, event: Extract<WaitEvent, { kind: K }>) => void;
/** `ignore`: it can come late and changes nothing. `impossible`: only a fault of ours could bring it. */
type Cell<K extends WaitEventKind> = Handler<K> | 'ignore' | 'impossible';
export type Table = { readonly [P in Phase]: { readonly [K in WaitEventKind]: Cell<K> } };

export const TABLE: Table = {
  // Answers for a message that was given up when the client left.
  ready: row({
    analysed: 'ignore',
    clarified: 'ignore',
    listed: 'ignore',
    probed: 'ignore',
    settled: 'ignore',
    refreshed: catalogRead,
    cancel: cancelRunning,
    clientGone: leave,
    drain: 'ignore',
  }),
  analysing: row({ analysed, refreshed: catalogRead, cancel: cancelRunning, clientGone: leave }),
  clarifying: row({ clarified, refreshed: catalogRead, cancel: cancelRunning, clientGone: leave }),
  budgeting: row({ sliced, refreshed: catalogRead, cancel: cancelBudgeting, clientGone: leave }),
  settling: row({ settled: resume, refreshed: catalogRead, cancel: cancelRunning, clientGone: leave }),
  refreshing: row({ refreshed: catalogReadResume, cancel: cancelRunning, clientGone: leave }),
  listing: row({ listed, refreshed: catalogRead, cancel: cancelRunning, clientGone: leave }),
  probing: row({ probed, refreshed: catalogRead, cancel: cancelRunning, clientGone: leave }),
  opening: row({
    opened,
    openFailed,
    refreshed: catalogRead,
    cancel: cancelLater,
    clientGone: leaveLater('gone'),
    drain: leaveLater('drain'),
  }),
  held: row({
    answered,
    holdTimeout,
    noticeDue: sayHeld,
    refreshed: catalogRead,
    cancel: cancelHold,
    clientGone: leave,
    drain: drainHold,
  }),
  releasing: row({
    released,
    releaseFailed,
    refreshed: catalogRead,
    cancel: cancelLater,
    clientGone: leaveLater('gone'),
  }),
  streaming: row({ refreshed: catalogRead, cancel: cancelRunning, clientGone: leave }),
  stopping: row({ refreshed: catalogRead, cancel: 'ignore', clientGone: goneWhileStopping }),
  ended: row({
    analysed: 'ignore',
    clarified: 'ignore',
    listed: 'ignore',
    probed: 'ignore',
    opened: openedTooLate,
    openFailed: 'ignore',
    released: releasedTooLate,
    releaseFailed: 'ignore',
    refreshed: 'ignore',
    cancel: 'ignore',
    clientGone: 'ignore',
  }),
};

/** What may always come late (a timer that had fired, a notification that was on its way) is ignored by default. */
function row(cells: Partial<Table[Phase]>): Table[Phase] {
  return {
    analysed: 'impossible',
    clarified: 'impossible',
    sliced: slicedLate,
    settled: 'ignore',
    refreshed: 'impossible',
    listed: 'impossible',
    probed: 'impossible',
    opened: 'impossible',
    openFailed: 'impossible',
    answered: 'ignore',
    released: 'impossible',
    releaseFailed: 'impossible',
    holdTimeout: 'ignore',
    noticeDue: 'ignore',
    cancel: 'impossible',
    clientGone: 'impossible',
    drain: 'ignore',
    ...cells,
  };
}

/** Throws where the table says that this cannot happen. */
export function step<K extends WaitEventKind>(
  state: SessionState,
  event: Extract<WaitEvent, { kind: K }>,
): void {
  const cell: Cell<K> = TABLE[state.phase][event.kind as K];
  if (cell === 'ignore') return;
  if (cell === 'impossible') throw new Error(`event ${event.kind} in phase ${state.phase}`);
  cell(state, event);
}

/** Judges the waiting message again, from the start, with what is known now. */
export function resume(state: SessionState): void {
  const { current } = state;
  if (current === null) throw new Error(`nothing waits in phase ${state.phase}`);
  if (current.interrupted !== null) return interruptedAnswer(state, current, current.interrupted);
  // Nothing goes upstream while a cancel is on its way: it could hit the wrong statement.
  if (state.cancelInFlight) {
    state.phase = 'settling';
    return;
  }
  state.phase = 'ready';
  process(state, current.type, current.frame, current);
}

function analysed(state: SessionState, event: { readonly analysis: Analysis }): void {
  if (state.current !== null) state.current.analysis = event.analysis;
  resume(state);
}

function clarified(state: SessionState, { analysis }: { readonly analysis: Analysis | null }): void {
  const { current } = state;
  if (current?.clarified != null) current.clarified = { ...current.clarified, analysis };
  resume(state);
}

function sliced(state: SessionState, { failed }: { readonly failed: string | null }): void {
  slicedLate(state);
  if (state.slicesDue > 0) return;
  const { current } = state;
  if (current !== null && current.interrupted !== null)
    return slicedMidway(state, current, current.interrupted, failed);
  if (current !== null) current.budgetFailed = failed;
  resume(state);
}

function listed(state: SessionState, { requests }: { readonly requests: Current['listed'] }): void {
  if (state.current !== null) state.current.listed = requests;
  resume(state);
}

function catalogRead(state: SessionState): void {
  state.refreshing = false;
  // Inside a new transaction that has changed the catalog again it stays uncertain.
  if (state.transaction === 'I') state.catalogUncertain = false;
}

function catalogReadResume(state: SessionState): void {
  catalogRead(state);
  resume(state);
}

function probed(state: SessionState, event: { readonly rejection: ErrorFields | null }): void {
  const { rejection } = event;
  if (state.current !== null)
    state.current.rejection =
      rejection !== null && isMistake(state, rejection) ? clientFields(rejection) : null;
  resume(state);
}

function opened(state: SessionState, { request }: { readonly request: OpenedRequest }): void {
  const current = waiting(state);
  current.request = request;
  recordHeldIntents(state, current, request.id);
  if (state.skipping) {
    // The server has failed the group meanwhile: the message is skipped.
    state.effects.push({ kind: 'detach', requestId: request.id });
    return resume(state);
  }
  if (current.cancelled || current.leave !== null) return leaveHold(state, current);
  state.phase = 'held';
  if (request.state !== 'open') return settleAnswer(state, current, request.state, request.ended);
  state.effects.push({ kind: 'watch', requestId: request.id });
  beginHold(state, current);
}

/** What runs already, and is asked about in the middle of its result, is in the log. */
function recordHeldIntents(state: SessionState, current: Current, requestId: string | null): void {
  const { interrupted } = current;
  if (interrupted !== null && interrupted.approvers.length === 0) interrupted.requestId = requestId;
  if (current.subject !== null && current.decision !== null && interrupted === null)
    current.runs = recordIntents(state, current.subject, current.decision, requestId);
}

function openFailed(state: SessionState, event: { readonly why: string; readonly limit: AskLimit }): void {
  const current = waiting(state);
  const rule = current.decision?.rule ?? '';
  recordHeldIntents(state, current, null);
  current.refusal = current.cancelled
    ? { fields: cancelled(), outcome: 'withdrawn' }
    : { fields: cannotAsk(rule, event.why, event.limit, isMidway(current)), outcome: 'denied' };
  if (current.leave === 'gone') return leave(state);
  resume(state);
}

function answered(
  state: SessionState,
  event: { readonly state: RequestState; readonly ended: Ended | null },
): void {
  if (event.state !== 'open') settleAnswer(state, waiting(state), event.state, event.ended);
}

function settleAnswer(
  state: SessionState,
  current: Current,
  answer: RequestState,
  ended: Ended | null,
): void {
  const id = current.request?.id ?? '';
  const rule = current.decision?.rule ?? '';
  if (answer === 'approved') {
    // A person's time has passed: what it means now is what is released, or nothing.
    current.approved = true;
    // Another function may fit the names better by now.
    if (callsByName(current)) current.clarified = null;
    state.effects.push({ kind: 'stopTimers', end: 'released' }, { kind: 'unwatch' });
    return resume(state);
  }
  const refusal =
    answer === 'denied'
      ? ({ fields: deniedFields(current, rule, id, ended), outcome: 'denied' } as const)
      : answer === 'expired'
        ? ({ fields: sayingWhen(current, expired(rule, id)), outcome: 'expired' } as const)
        : answer === 'withdrawn'
          ? ({ fields: withdrawn(rule, id), outcome: 'withdrawn' } as const)
          : ({
              fields: releaseRefused(rule, id, `the request is ${answer}`, isMidway(current)),
              outcome: 'denied',
            } as const);
  refuseHold(state, current, refusal, refusal.outcome);
}

/** What was approved calls users' functions that the server found for its names. */
function callsByName({ clarified }: Current): boolean {
  return clarified?.analysis?.statements.some(({ calls }) => calls.length > 0) ?? false;
}

function refuseHold(
  state: SessionState,
  current: Current,
  refusal: NonNullable<Current['refusal']>,
  end: HoldEnd,
): void {
  current.refusal = refusal;
  state.effects.push({ kind: 'stopTimers', end }, { kind: 'unwatch' });
  resume(state);
}

function released(state: SessionState, { release }: { readonly release: Release }): void {
  const current = waiting(state);
  current.release = release;
  if (current.leave === 'gone') return leave(state);
  resume(state);
}

function releaseFailed(state: SessionState, event: { readonly why: string }): void {
  const current = waiting(state);
  const id = current.request?.id ?? '';
  const rule = current.decision?.rule ?? '';
  // If it was not consumed, the same statement, sent again, may still use it, unless it was cancelled.
  state.effects.push(
    current.cancelled
      ? { kind: 'withdraw', requestId: id, why: CANCELLED }
      : { kind: 'detach', requestId: id },
  );
  if (current.leave === 'gone') return leave(state);
  current.refusal = current.cancelled
    ? { fields: withdrawn(rule, id), outcome: 'withdrawn' }
    : { fields: releaseRefused(rule, id, event.why, isMidway(current)), outcome: 'denied' };
  resume(state);
}

function holdTimeout(state: SessionState): void {
  leaveOpen(state, holdTimedOut);
}

function drainHold(state: SessionState): void {
  leaveOpen(state, draining);
}

/** The hold ends, the request does not: the same statement, sent again, attaches to it. */
function leaveOpen(state: SessionState, wording: (rule: string, requestId: string) => ErrorFields): void {
  const current = waiting(state);
  const id = current.request?.id ?? '';
  state.effects.push({ kind: 'detach', requestId: id });
  const fields = sayingWhen(current, wording(current.decision?.rule ?? '', id));
  refuseHold(state, current, { fields, outcome: 'expired' }, 'detached');
}

function cancelHold(state: SessionState): void {
  const current = waiting(state);
  const id = current.request?.id ?? '';
  state.effects.push({ kind: 'withdraw', requestId: id, why: CANCELLED });
  refuseHold(
    state,
    current,
    { fields: withdrawn(current.decision?.rule ?? '', id), outcome: 'withdrawn' },
    'withdrawn',
  );
}

function leaveLater(how: 'gone' | 'drain'): (state: SessionState) => void {
  return (state) => {
    const current = waiting(state);
    if (current.leave !== 'gone') current.leave = how;
  };
}

function cancelLater(state: SessionState): void {
  waiting(state).cancelled = true;
}

function leaveHold(state: SessionState, current: Current): void {
  state.phase = 'held';
  if (current.leave === 'gone') {
    if (current.cancelled)
      state.effects.push({ kind: 'withdraw', requestId: current.request?.id ?? '', why: CANCELLED });
    leave(state);
  } else if (current.cancelled) cancelHold(state);
  else drainHold(state);
}

function openedTooLate(state: SessionState, { request }: { readonly request: OpenedRequest }): void {
  state.effects.push({ kind: 'detach', requestId: request.id });
}

function releasedTooLate(state: SessionState, { release }: { readonly release: Release }): void {
  endUnused(state, release.requestId);
}

function isMidway({ interrupted }: Current): boolean {
  return interrupted !== null;
}

function waiting(state: SessionState): Current {
  if (state.current === null) throw new Error(`nothing waits in phase ${state.phase}`);
  return state.current;
}
