/** Frontend messages: what each does to the session. A message that must wait is judged from the start again. */
import type { BoundParameter } from '../approval/port.ts';
import type { Decision } from '../policy/decision.ts';
import {
  type BindMessage,
  decodeBind,
  decodeFlush,
  decodeNamed,
  decodeParse,
  decodeQuery,
  FRONTEND,
  MalformedMessage,
} from '../protocol/frontend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { showParameter } from '../statement/visible.ts';
import { COPY_MESSAGES, placeUnknown, takesCopyData } from './copy.ts';
import { interruptCopy } from './copy-probe.ts';
import { execute } from './execute.ts';
import {
  forward,
  forwardAbsent,
  forwardBind,
  forwardQuery,
  forwardSilently,
  forwardWithheld,
  injectFlush,
  RESERVED,
  refuse,
  removeLeftover,
} from './forward.ts';
import { forwardListingBind, forwardListingQuery } from './forward-listing.ts';
import { giveUp } from './give-up.ts';
import { INPUT_END } from './input-end.ts';
import {
  analyseText,
  type Hindrance,
  type Judged,
  judgedSubject,
  judgePrepared,
  rule,
  statementNamed,
} from './judge.ts';
import { asksForRequests, listingParse } from './listing.ts';
import { mayBeMistake } from './mistakes.ts';
import { close, finish, NOWHERE, obey, SETTLE_FIRST } from './obey.ts';
import { functionCallSubject, unseenPrepared } from './observe.ts';
import { recordIntents, recordViolation } from './record.ts';
import { type CopyIn, type Current, type Prepared, type SessionState, scopeKey } from './state.ts';
import type { Subject } from './subject.ts';
import { functionCallRefused, malformed, noSuchStatement, tooManyPrepared } from './wording.ts';

/** Takes one message; `current` is what was found out about it before a wait. */
export function process(state: SessionState, type: number, frame: Buffer, current: Current | null): void {
  if (state.skipping && !ENDS_SKIPPING.has(type)) {
    giveUp(state);
    finish(state);
    return;
  }
  try {
    dispatch(state, type, frame, current);
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    forwardWithheld(state);
    if (state.setup.mode === 'observe') return relayMalformed(state, type, frame, error.message);
    // A malformed Parse leaves the unnamed statement alone, so it is not refused as a Parse.
    refuse(
      state,
      { kind: type === FRONTEND.query ? 'malformedQuery' : 'inGroup' },
      malformed(error.message, error.context),
      [],
      true,
    );
    finish(state);
  }
}

/** In mode observe the server says itself what is wrong with it. */
function relayMalformed(state: SessionState, type: number, frame: Buffer, what: string): void {
  recordViolation(state, what);
  const isQuery = type === FRONTEND.query;
  // As with what is refused in a group: nothing of the client's hangs on that name.
  forward(state, frame, { kind: isQuery ? 'query' : 'parse', name: RESERVED });
  if (isQuery) state.group += 1;
  finish(state);
}

const ENDS_SKIPPING: ReadonlySet<number> = new Set([FRONTEND.sync, FRONTEND.terminate, INPUT_END]);

function dispatch(state: SessionState, type: number, frame: Buffer, current: Current | null): void {
  if (type === INPUT_END) return inputEnd(state, current);
  if (state.copyProbe !== null) return obey(state, SETTLE_FIRST, type, frame, '', NOWHERE, current);
  if (state.copy !== null) {
    if (placeUnknown(state, state.copy)) return obey(state, SETTLE_FIRST, type, frame, '', NOWHERE, current);
    if (!COPY_MESSAGES.has(type) && !state.copy.closed)
      return copyInterrupted(state, state.copy, type, frame);
  }
  switch (type) {
    case FRONTEND.query:
      return query(state, frame, current);
    case FRONTEND.parse:
      return parse(state, frame, current);
    case FRONTEND.bind:
      return bind(state, frame, current);
    case FRONTEND.execute:
      return execute(state, frame, current);
    case FRONTEND.describe:
    case FRONTEND.close:
      return named(state, type, frame);
    case FRONTEND.sync:
      return sync(state, frame);
    case FRONTEND.flush:
      return flush(state, frame, current);
    case FRONTEND.copyData:
    case FRONTEND.copyDone:
    case FRONTEND.copyFail:
      return copyMessage(state, type, frame);
    case FRONTEND.terminate:
      forwardWithheld(state);
      forwardSilently(state, frame);
      state.clientGone = true;
      state.inbox.clear();
      return finish(state);
    case FRONTEND.functionCall:
      return functionCall(state, frame);
    default:
      recordViolation(state, `invalid frontend message type ${type}`);
      close(state, SQLSTATE.protocolViolation, `invalid frontend message type ${type}`);
  }
}

/**
 * The client sends nothing more: the server is told in the same way, finishes what it has, and ends. Where the client
 * is out of step it hears so, after the answers to what it sent before.
 */
function inputEnd(state: SessionState, current: Current | null): void {
  if (state.inputEnd?.kind === 'broken') {
    const { code, message } = state.inputEnd;
    if (!state.ledger.empty && !state.copy?.open)
      return obey(state, SETTLE_FIRST, INPUT_END, NOTHING, '', NOWHERE, current);
    recordViolation(state, message);
    return close(state, code, message);
  }
  forwardWithheld(state);
  state.effects.push({ kind: 'endUpstream' });
  finish(state);
  if (!state.ledger.empty || state.groupOpen) return;
  state.phase = 'ended';
  state.effects.push({ kind: 'close', error: null, why: 'the client closed the connection' });
}

const NOTHING = Buffer.alloc(0);

function query(state: SessionState, frame: Buffer, current: Current | null): void {
  const sql = decodeQuery(frame);
  forwardWithheld(state);
  const subject = judgedSubject(state, analyseText(state, sql, current), sql, null, [], current);
  if (subject.kind !== 'is')
    return obey(state, subject, FRONTEND.query, frame, '', { sql, judged: null }, current);
  if (state.copy !== null && takesCopyData(subject.value.analysis))
    return obey(state, SETTLE_FIRST, FRONTEND.query, frame, '', NOWHERE, current);
  const ruling = rule(state, subject.value, current);
  if (ruling.kind === 'forward') {
    const { analysis } = subject.value;
    if (asksForRequests(analysis))
      forwardListingQuery(state, subject.value, ruling.runs, current?.listed ?? []);
    else forwardQuery(state, frame, subject.value, ruling.runs);
    return finish(state);
  }
  obey(state, ruling, FRONTEND.query, frame, '', { sql, judged: subject.value }, current);
}

/** Parse runs nothing: it is analysed here, refused here only where policy denies it, and held at Bind. */
function parse(state: SessionState, frame: Buffer, current: Current | null): void {
  const message = decodeParse(frame);
  const analysis = analyseText(state, message.sql, current);
  const where = { sql: message.sql, judged: null };
  if (analysis.kind !== 'is')
    return obey(state, analysis, FRONTEND.parse, frame, message.name, where, current);
  const limit = state.setup.limits.preparedStatements;
  if (state.statements.size >= limit) {
    const full: Hindrance = { kind: 'refuse', fields: tooManyPrepared(limit), runs: [] };
    return obey(state, full, FRONTEND.parse, frame, message.name, where, current);
  }
  const enforced = state.setup.mode === 'enforce';
  if (
    current?.cancelled ||
    (enforced && (analysis.value.syntaxError !== null || analysis.value.changesPinned))
  ) {
    const ruling: Hindrance | null = ruleAtParse(
      state,
      {
        sql: message.sql,
        analysis: analysis.value,
        parameters: null,
        resultFormats: [],
        scopeKey: scopeKey(state),
        named: [],
      },
      current,
    );
    if (ruling !== null) return obey(state, ruling, FRONTEND.parse, frame, message.name, where, current);
  }
  const { statements } = analysis.value;
  // Several are the server's to reject.
  const lists = statements.length === 1 && asksForRequests(analysis.value);
  const prepared: Prepared = {
    sql: Buffer.from(message.sql),
    parameterTypes: message.parameterTypes,
    analysis: analysis.value,
    scopeKey: scopeKey(state),
    sentUnder: null,
    lists,
    bySql: false,
  };
  const sent = lists ? listingParse(frame) : Buffer.from(frame);
  state.withheld.push({ name: message.name, frame: sent, prepared });
  // Several statements in one Parse are the server's to reject, before anybody is asked about them at Bind.
  if (state.withheld.length > MAX_WITHHELD || statements.length > 1) forwardWithheld(state);
  finish(state);
}

/** Parse messages kept back at most; more are sent, which costs only that `statement_timeout` starts early. */
const MAX_WITHHELD = 64;

/** What must be said at Parse: a denied setting, the server's own syntax error, a cancel. Null: leave it to Bind. */
function ruleAtParse(state: SessionState, subject: Subject, current: Current | null): Hindrance | null {
  if (!subject.analysis.changesPinned && !current?.cancelled) {
    if (!mayBeMistake(subject.analysis)) return null;
    if (current?.rejection === undefined) return { kind: 'wait', phase: 'probing' };
    if (current.rejection === null) return null;
  }
  // All end in a refusal: a pinned setting by its floor, a mistake by the server's own error.
  const ruling = rule(state, subject, current);
  return ruling.kind === 'forward' ? null : ruling;
}

function bind(state: SessionState, frame: Buffer, current: Current | null): void {
  const message = decodeBind(frame);
  const found = preparedNamed(state, message.statement);
  if (found.kind !== 'is') return obey(state, found, FRONTEND.bind, frame, '', NOWHERE, current);
  const prepared = found.value;
  const parameters = boundParameters(message, prepared);
  const subject = judgePrepared(state, prepared, parameters, message.resultFormats, current);
  if (subject.kind === 'refuse' && subject.absent) {
    // Binding it does nothing: it is refused where the server would.
    forwardWithheld(state);
    forwardAbsent(state, frame, message.portal, subject.fields);
    return finish(state);
  }
  const where = { sql: prepared.sql, judged: subject.kind === 'is' ? subject.value : null };
  if (subject.kind !== 'is') return obey(state, subject, FRONTEND.bind, frame, '', where, current);
  const ruling = rule(state, subject.value, current);
  if (ruling.kind !== 'forward') return obey(state, ruling, FRONTEND.bind, frame, '', where, current);
  forwardWithheld(state);
  // With another number of parameters it fails, as it is.
  const lists = prepared.lists && parameters.length === prepared.parameterTypes.length;
  const sent = lists ? forwardListingBind(state, frame, prepared, current?.listed ?? []) : frame;
  forwardBind(state, sent, message.portal, subject.value, prepared, ruling.runs);
  finish(state);
}

function preparedNamed(state: SessionState, name: string): Judged<Prepared> {
  const found = statementNamed(state, name);
  if (found.kind === 'found') return { kind: 'is', value: found.value };
  if (found.kind === 'settle' && !state.ledger.empty) return { kind: 'wait', phase: 'settling' };
  if (state.setup.mode === 'observe') return { kind: 'is', value: unseenPrepared() };
  return { kind: 'refuse', fields: noSuchStatement(name), runs: [], first: true };
}

function boundParameters(message: BindMessage, prepared: Prepared): readonly BoundParameter[] {
  return message.parameters.map((value, i) => {
    const format =
      (message.parameterFormats.length === 1 ? message.parameterFormats[0] : message.parameterFormats[i]) ===
      1
        ? 1
        : 0;
    const typeOid = prepared.parameterTypes[i] ?? 0;
    return { typeOid, format, value, shown: showParameter(value, format, typeOid) };
  });
}

function named(state: SessionState, type: number, frame: Buffer): void {
  const message = decodeNamed(frame);
  forwardWithheld(state);
  if (type === FRONTEND.describe) forward(state, frame, { kind: 'describe' });
  else {
    const entry = forward(state, frame, { kind: 'close' });
    if (message.kind === 'statement') state.statements.propose(message.name, null, entry, state.group);
    else state.portals.propose(message.name, null, entry, state.group);
  }
  finish(state);
}

function sync(state: SessionState, frame: Buffer): void {
  forwardWithheld(state);
  const inCopy = state.copy !== null && !state.copy.closed;
  forward(state, frame, { kind: 'sync', inCopy });
  if (!inCopy) removeLeftover(state);
  state.skipping = false;
  // Also where COPY may eat it: whether it does is not known, and names are not carried over what may be a Sync.
  state.group += 1;
  finish(state);
}

/**
 * Among COPY data the server does not look into a Flush; elsewhere one with a body is an error. So where it comes among
 * them must be known, and then a plain one does: the COPY may have failed by the time it is read.
 */
function flush(state: SessionState, frame: Buffer, current: Current | null): void {
  const { copy } = state;
  if (frame.length > PLAIN_FLUSH && copy !== null && !copy.closed) {
    if (!copy.open) return obey(state, SETTLE_FIRST, FRONTEND.flush, frame, '', NOWHERE, current);
    injectFlush(state);
    return finish(state);
  }
  decodeFlush(frame);
  forwardWithheld(state);
  forwardSilently(state, frame);
  finish(state);
}

/** Bytes of a Flush: it has no body. */
const PLAIN_FLUSH = 5;

function copyMessage(state: SessionState, type: number, frame: Buffer): void {
  const { copy } = state;
  if (copy === null || copy.closed) {
    // Stray COPY messages: the server reads and ignores them (it may just have failed the COPY).
    forwardSilently(state, frame);
    return finish(state);
  }
  if (type === FRONTEND.copyData) {
    copy.bytes += frame.length - 5;
    forwardSilently(state, frame);
  } else {
    copy.closed = true;
    if (copy.open) forwardSilently(state, frame);
    else forward(state, frame, { kind: 'copyEnd' });
  }
  finish(state);
}

/**
 * Anything but COPY messages while COPY data are expected. Until the server has said that it takes data it may as
 * well have failed, so the message waits; once it takes data, Postgres ends the session, if the COPY still goes on.
 */
function copyInterrupted(state: SessionState, copy: CopyIn, type: number, frame: Buffer): void {
  if (copy.open) {
    recordViolation(state, `message type ${type} during COPY from stdin`);
    interruptCopy(state, type);
  }
  obey(state, SETTLE_FIRST, type, frame, '', NOWHERE, state.current);
}

/** What would have become of it. */
const FUNCTION_CALL: Decision = {
  decision: 'deny',
  rule: 'floor:function_call',
  policy: '',
  class: 'unparsed',
  reasons: ['calls a function without any SQL text that could be judged'],
  approval: null,
};

function functionCall(state: SessionState, frame: Buffer): void {
  forwardWithheld(state);
  recordViolation(state, 'function call protocol');
  if (state.setup.mode === 'observe') {
    const runs = recordIntents(state, functionCallSubject(frame), FUNCTION_CALL, null);
    state.openRuns.add(runs);
    forward(state, frame, { kind: 'functionCall', runs }, 'synced');
    state.group += 1;
  } else refuse(state, { kind: 'functionCall' }, functionCallRefused());
  finish(state);
}
