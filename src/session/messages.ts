/** Frontend messages: what each does to the session. A message that must wait is judged from the start again. */
import type { BoundParameter } from '../approval/port.ts';
import { fatalError } from '../protocol/backend.ts';
import {
  type BindMessage,
  decodeBind,
  decodeExecute,
  decodeNamed,
  decodeParse,
  decodeQuery,
  FRONTEND,
  MalformedMessage,
} from '../protocol/frontend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import type { Analysis } from '../statement/analysis.ts';
import { showParameter } from '../statement/visible.ts';
import {
  analysisOf,
  forward,
  forwardBind,
  forwardExecute,
  forwardQuery,
  forwardSilently,
  forwardWithheld,
  injectFlush,
  positionOf,
  refuse,
  refuseCurrent,
} from './forward.ts';
import {
  analysePrepared,
  analyseText,
  type Hindrance,
  type Judged,
  mayBeMistake,
  rule,
  wait,
  withNames,
  withParameters,
} from './judge.ts';

import { type Current, type Portal, type Prepared, type SessionState, scopeKey } from './state.ts';
import type { Subject } from './subject.ts';
import { functionCallRefused, malformed, noSuchPortal, noSuchStatement, tooManyPrepared } from './wording.ts';

/** Takes one message; `current` is what was found out about it before a wait. */
export function process(state: SessionState, type: number, frame: Buffer, current: Current | null): void {
  if (state.skipping && type !== FRONTEND.sync && type !== FRONTEND.terminate) {
    finish(state);
    return;
  }
  try {
    dispatch(state, type, frame, current);
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error;
    forwardWithheld(state);
    refuse(state, positionOf(type, ''), malformed(error.message));
    finish(state);
  }
}

function dispatch(state: SessionState, type: number, frame: Buffer, current: Current | null): void {
  if (state.copy !== null && !COPY_MESSAGES.has(type) && !state.copy.closed) {
    copyInterrupted(state, type, frame);
    return;
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
      forwardWithheld(state);
      forwardSilently(state, frame);
      return finish(state);
    case FRONTEND.copyData:
    case FRONTEND.copyDone:
    case FRONTEND.copyFail:
      return copyMessage(state, type, frame);
    case FRONTEND.terminate:
      forwardSilently(state, frame);
      state.clientGone = true;
      return finish(state);
    case FRONTEND.functionCall:
      return functionCall(state, frame);
    default:
      close(state, SQLSTATE.protocolViolation, `invalid frontend message type ${type}`);
  }
}

const COPY_MESSAGES: ReadonlySet<number> = new Set([
  FRONTEND.copyData,
  FRONTEND.copyDone,
  FRONTEND.copyFail,
  FRONTEND.flush,
  FRONTEND.sync,
  FRONTEND.terminate,
]);

function query(state: SessionState, frame: Buffer, current: Current | null): void {
  const sql = decodeQuery(frame);
  forwardWithheld(state);
  const subject = judgedSubject(state, analyseText(state, sql, current), sql, null, []);
  if (subject.kind !== 'is')
    return obey(state, subject, FRONTEND.query, frame, '', { sql, judged: null }, current);
  const ruling = rule(state, subject.value, current);
  if (ruling.kind === 'forward') {
    forwardQuery(state, frame, subject.value.analysis, ruling.runs, sql);
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
  if (enforced && (analysis.value.syntaxError !== null || analysis.value.changesPinned)) {
    const ruling: Hindrance | null = ruleAtParse(
      state,
      { sql: message.sql, analysis: analysis.value, parameters: null, resultFormats: [] },
      current,
    );
    if (ruling !== null) return obey(state, ruling, FRONTEND.parse, frame, message.name, where, current);
  }
  const prepared: Prepared = {
    sql: Buffer.from(message.sql),
    parameterTypes: message.parameterTypes,
    analysis: analysis.value,
    scopeKey: scopeKey(state),
    bySql: false,
  };
  state.withheld.push({ name: message.name, frame: Buffer.from(frame), prepared });
  if (state.withheld.length > MAX_WITHHELD) forwardWithheld(state);
  finish(state);
}

/** Parse messages kept back at most; more are sent, which costs only that `statement_timeout` starts early. */
const MAX_WITHHELD = 64;

/** What must be said at Parse: a denied setting, or the server's own syntax error. Null: leave it to Bind. */
function ruleAtParse(state: SessionState, subject: Subject, current: Current | null): Hindrance | null {
  if (!subject.analysis.changesPinned) {
    if (!mayBeMistake(subject.analysis)) return null;
    if (current?.rejection === undefined) return { kind: 'wait', phase: 'probing' };
    if (current.rejection === null) return null;
  }
  // Both end in a refusal: a pinned setting by its floor, a mistake by the server's own error.
  const ruling = rule(state, subject, current);
  return ruling.kind === 'forward' ? null : ruling;
}

function bind(state: SessionState, frame: Buffer, current: Current | null): void {
  const message = decodeBind(frame);
  const nowhere = { sql: EMPTY, judged: null };
  const found = preparedNamed(state, message.statement);
  if (found.kind !== 'is') return obey(state, found, FRONTEND.bind, frame, '', nowhere, current);
  const prepared = found.value;
  const parameters = boundParameters(message, prepared);
  const plain = analysePrepared(state, prepared, current);
  const analysis: Judged<Analysis> =
    plain.kind === 'is'
      ? { kind: 'is', value: withParameters(state, prepared, plain.value, parameters) }
      : plain;
  const subject = judgedSubject(state, analysis, prepared.sql, parameters, message.resultFormats);
  const where = { sql: prepared.sql, judged: subject.kind === 'is' ? subject.value : null };
  if (subject.kind !== 'is') return obey(state, subject, FRONTEND.bind, frame, '', where, current);
  const ruling = rule(state, subject.value, current);
  if (ruling.kind !== 'forward') return obey(state, ruling, FRONTEND.bind, frame, '', where, current);
  forwardWithheld(state);
  forwardBind(state, frame, message.portal, subject.value.analysis, ruling.runs, prepared.sql);
  finish(state);
}

function preparedNamed(state: SessionState, name: string): Judged<Prepared> {
  for (let i = state.withheld.length - 1; i >= 0; i--) {
    const withheld = state.withheld[i];
    if (withheld?.name === name) return { kind: 'is', value: withheld.prepared };
  }
  const found = state.statements.lookup(name, state.group);
  if (found.kind === 'found') return { kind: 'is', value: found.value };
  if (found.kind === 'settle' && !state.ledger.empty) return { kind: 'wait', phase: 'settling' };
  return { kind: 'refuse', fields: noSuchStatement(name), runs: [] };
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

/** A portal that the protocol made was judged at Bind; one that SQL made (DECLARE) is judged here. */
function execute(state: SessionState, frame: Buffer, current: Current | null): void {
  const message = decodeExecute(frame);
  const found = state.portals.lookup(message.portal, state.group);
  const nowhere = { sql: EMPTY, judged: null };
  if (found.kind === 'settle' && !state.ledger.empty)
    return obey(state, { kind: 'wait', phase: 'settling' }, FRONTEND.execute, frame, '', nowhere, current);
  if (found.kind !== 'found') {
    const absent: Hindrance = { kind: 'refuse', fields: noSuchPortal(message.portal, 'portal'), runs: [] };
    return obey(state, absent, FRONTEND.execute, frame, '', nowhere, current);
  }
  const portal = found.value;
  if (portal.kind === 'protocol') {
    forwardWithheld(state);
    forwardExecute(state, frame, portal);
    return finish(state);
  }
  executeSqlPortal(state, frame, portal, current);
}

function executeSqlPortal(
  state: SessionState,
  frame: Buffer,
  portal: Extract<Portal, { kind: 'sql' }>,
  current: Current | null,
): void {
  const subject: Subject = {
    sql: portal.sql,
    analysis: analysisOf(portal.body),
    parameters: null,
    resultFormats: [],
  };
  const ruling = rule(state, subject, current);
  if (ruling.kind !== 'forward')
    return obey(state, ruling, FRONTEND.execute, frame, '', { sql: portal.sql, judged: subject }, current);
  forwardWithheld(state);
  state.openRuns.push(...ruling.runs);
  for (const run of ruling.runs) run.state = 'bound';
  forward(state, frame, { kind: 'execute', runs: ruling.runs });
  finish(state);
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
  if (inCopy && state.copy !== null && (state.copy.open || state.copy.dataSent)) state.copy.ambiguous = true;
  state.skipping = false;
  if (!inCopy) state.group += 1;
  finish(state);
}

function copyMessage(state: SessionState, type: number, frame: Buffer): void {
  const { copy } = state;
  if (copy === null || copy.closed) {
    // Stray COPY messages: the server reads and ignores them (it may just have failed the COPY).
    forwardSilently(state, frame);
    return finish(state);
  }
  if (type === FRONTEND.copyData) {
    copy.dataSent = true;
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
 * well have failed, so the message waits; once it takes data, Postgres ends the session, and so do we.
 */
function copyInterrupted(state: SessionState, type: number, frame: Buffer): void {
  if (state.copy?.open) {
    close(
      state,
      SQLSTATE.protocolViolation,
      `unexpected message type 0x${type.toString(16).toUpperCase()} during COPY from stdin`,
    );
    return;
  }
  obey(
    state,
    { kind: 'wait', phase: 'settling' },
    type,
    frame,
    '',
    { sql: EMPTY, judged: null },
    state.current,
  );
}

function functionCall(state: SessionState, frame: Buffer): void {
  forwardWithheld(state);
  if (state.setup.mode === 'observe') {
    forward(state, frame, { kind: 'functionCall' });
    state.group += 1;
  } else refuse(state, { kind: 'query' }, functionCallRefused());
  finish(state);
}

function judgedSubject(
  state: SessionState,
  analysis: Judged<Analysis>,
  sql: Buffer,
  parameters: readonly BoundParameter[] | null,
  resultFormats: readonly number[],
): Judged<Subject> {
  if (analysis.kind !== 'is') return analysis;
  const resolved = withNames(state, analysis.value);
  if (resolved.kind !== 'is') return resolved;
  return { kind: 'is', value: { sql, analysis: resolved.value, parameters, resultFormats } };
}

/** Carries out a ruling that is not to forward. */
function obey(
  state: SessionState,
  ruling: Hindrance,
  type: number,
  frame: Buffer,
  name: string,
  subject: { readonly sql: Buffer; readonly judged: Subject | null },
  current: Current | null,
): void {
  switch (ruling.kind) {
    case 'wait':
      if (ruling.phase === 'settling') injectFlush(state);
      return wait(state, ruling.phase, type, frame, subject);
    case 'drop':
      return finish(state);
    case 'refuse':
      forwardWithheld(state);
      refuse(state, positionOf(type, name), ruling.fields, ruling.runs);
      return finish(state);
    case 'refuseHeld':
      if (current === null) throw new Error('a hold ended that never began');
      forwardWithheld(state);
      refuseCurrent(state, current, positionOf(type, name));
      return finish(state);
  }
}

/** The message is dealt with. */
function finish(state: SessionState): void {
  state.current = null;
  state.phase = 'ready';
}

/** Ends the session for the client's fault. */
export function close(state: SessionState, code: string, message: string): void {
  state.current = null;
  state.phase = 'ended';
  state.effects.push(
    { kind: 'stopTimers', end: 'failed' },
    { kind: 'close', error: fatalError(code, message), why: message },
  );
}

const EMPTY = Buffer.alloc(0);
