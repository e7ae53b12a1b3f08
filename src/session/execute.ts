/**
 * Execute. A plain query was judged and planned at Bind. A command (EXECUTE, COPY, DROP …) looks its names up only when
 * it is executed, so it must still mean what was judged; a portal that SQL made (DECLARE) is judged here.
 */
import type { ErrorFields } from '../protocol/backend.ts';
import { decodeExecute, FRONTEND } from '../protocol/frontend.ts';
import { analysisOf, forward, forwardExecute, forwardSqlPortal, forwardWithheld } from './forward.ts';
import { type Hindrance, judgePrepared, rule, sameMeaning } from './judge.ts';
import { finish, NOWHERE, obey, SETTLE_FIRST } from './obey.ts';
import { unseenPortal } from './observe.ts';
import { basisOf, type Current, type Portal, type SessionState, scopeKey } from './state.ts';
import type { Subject } from './subject.ts';
import { changedSinceBind, noSuchPortal, portalInUse } from './wording.ts';

export function execute(state: SessionState, frame: Buffer, current: Current | null): void {
  const message = decodeExecute(frame);
  const found = state.portals.lookup(message.portal, state.group);
  if (found.kind === 'settle' && !state.ledger.empty)
    return obey(state, SETTLE_FIRST, FRONTEND.execute, frame, '', NOWHERE, current);
  if (found.kind !== 'found') {
    if (state.setup.mode === 'observe') return executeUnseen(state, frame, current);
    return executeAbsent(state, frame, message.portal, current);
  }
  const { value } = found;
  if (value.kind === 'absent') {
    // A Sync on its way may delete the portal: then the server says that, and nothing of what it would have run.
    if (value.group !== state.group && !state.ledger.empty)
      return obey(state, SETTLE_FIRST, FRONTEND.execute, frame, '', NOWHERE, current);
    const refused: Hindrance = { kind: 'refuse', fields: absentNow(value.fields, message.portal), runs: [] };
    return obey(state, refused, FRONTEND.execute, frame, '', NOWHERE, current);
  }
  if (value.kind === 'protocol') executeBound(state, frame, value, current);
  else executeSqlPortal(state, frame, value, current);
}

/** In mode observe: the server knows whether it is there. */
function executeUnseen(state: SessionState, frame: Buffer, current: Current | null): void {
  if (state.copy !== null) return obey(state, SETTLE_FIRST, FRONTEND.execute, frame, '', NOWHERE, current);
  const subject = unseenPortal();
  const ruling = rule(state, subject, current);
  if (ruling.kind !== 'forward') throw new Error('a statement is hindered in mode observe');
  forwardWithheld(state);
  forwardSqlPortal(state, frame, subject, ruling.runs, null);
  finish(state);
}

/** A portal that is not there, unless in a failed transaction: then it may be one of which only the name is left. */
function executeAbsent(state: SessionState, frame: Buffer, portal: string, current: Current | null): void {
  // Where its group is certain to fail before, it does not matter.
  const doomed = !state.ledger.empty && state.refusedGroup === state.group;
  if (!state.ledger.empty && !doomed)
    return obey(state, SETTLE_FIRST, FRONTEND.execute, frame, '', NOWHERE, current);
  // Postgres (18) reads freed memory where the unnamed portal of a failed Query is executed: it is spared that.
  const spared = portal === '' && state.queryFailed;
  if (state.transaction === 'E' && !doomed && !spared && state.failedBinds.has(portal)) {
    forwardWithheld(state);
    forward(state, frame, { kind: 'execute' });
    return finish(state);
  }
  const fields = noSuchPortal(portal, 'portal');
  const absent: Hindrance = { kind: 'refuse', fields, runs: [], first: !spared };
  obey(state, absent, FRONTEND.execute, frame, '', NOWHERE, current);
}

/** FETCH from a cursor that, by the time it runs, is the portal it runs in. */
function absentNow(fields: ErrorFields, portal: string): ErrorFields {
  return fields['M'] === noSuchPortal(portal, 'cursor')['M'] ? portalInUse(portal) : fields;
}

type BoundPortal = Extract<Portal, { kind: 'protocol' }>;

function executeBound(
  state: SessionState,
  frame: Buffer,
  portal: BoundPortal,
  current: Current | null,
): void {
  if (portal.copyIn && state.copy !== null)
    return obey(state, SETTLE_FIRST, FRONTEND.execute, frame, '', NOWHERE, current);
  const hindrance = changed(state, portal, current);
  if (hindrance !== null) {
    const where = { sql: portal.prepared.sql, judged: null };
    return obey(state, hindrance, FRONTEND.execute, frame, '', where, current);
  }
  forwardWithheld(state);
  forwardExecute(state, frame, portal);
  finish(state);
}

/** Null where the portal still means what was judged, and may still run. */
function changed(state: SessionState, portal: BoundPortal, current: Current | null): Hindrance | null {
  const { basis, subject, prepared, run } = portal;
  if (basis === null || run === null || state.setup.mode === 'observe') return null;
  if (basis === basisOf(state, subject.analysis)) return null;
  const parameters = subject.parameters ?? [];
  const again = judgePrepared(state, prepared, parameters, subject.resultFormats, current);
  if (again.kind !== 'is') return again;
  const released = run.approvers.length > 0;
  const same = sameMeaning(subject, again.value);
  if (released ? same : state.setup.decide(again.value.analysis, state.now).decision === 'allow') return null;
  return { kind: 'refuse', fields: changedSinceBind(), runs: [run] };
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
    scopeKey: scopeKey(state),
    named: [],
  };
  const ruling = rule(state, subject, current);
  if (ruling.kind !== 'forward')
    return obey(state, ruling, FRONTEND.execute, frame, '', { sql: portal.sql, judged: subject }, current);
  forwardWithheld(state);
  forwardSqlPortal(state, frame, subject, ruling.runs, portal.passed);
  finish(state);
}
