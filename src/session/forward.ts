/** The only places where something goes upstream: as it was judged, or a substitute that the server will reject. */

import { serialize } from 'pg-protocol';
import type { BoundParameter } from '../approval/port.ts';
import type { ErrorFields } from '../protocol/backend.ts';
import { decodeBind, FRONTEND, nameKey } from '../protocol/frontend.ts';
import type { Analysis, StatementAnalysis, SymbolUse } from '../statement/analysis.ts';
import { startCopy, takesCopyData } from './copy.ts';
import type { EntryKind, LedgerEntry } from './ledger.ts';
import { type Moved, UNMOVED } from './listing.ts';
import type { Names } from './names.ts';
import { mayUnpin } from './pinned.ts';
import { recordOutcome } from './record.ts';
import {
  closeOwn,
  type Refusal,
  substituteBind,
  substituteFunctionCall,
  substituteInGroup,
  substituteMalformedQuery,
  substituteParse,
  substituteQuery,
} from './refusal.ts';
import { type Passed, type Run, type Safety, safetyOf } from './run.ts';
import {
  basisOf,
  type Current,
  looksUpLate,
  namesKey,
  type Portal,
  type Prepared,
  type SessionState,
  type Tag,
} from './state.ts';
import type { Subject } from './subject.ts';

const NO_RUNS: readonly Run[] = [];
const EMPTY = Buffer.alloc(0);

/** Sends a frame and notes in the ledger what must come back. */
export function forward(
  state: SessionState,
  frame: Buffer,
  entry: Partial<LedgerEntry> & { readonly kind: EntryKind },
  safety: Safety = 'written',
): LedgerEntry {
  const full: LedgerEntry = {
    group: state.group,
    refusal: null,
    own: false,
    name: '',
    runs: NO_RUNS,
    completed: 0,
    copyIn: false,
    inCopy: false,
    unparsed: false,
    midGroup: state.groupOpen,
    moved: UNMOVED,
    begun: false,
    ...entry,
  };
  if (full.kind !== 'copyEnd') state.groupOpen = !ENDS_GROUP.has(full.kind);
  state.ledger.push(full);
  state.effects.push({ kind: 'forward', frame, safety });
  return full;
}

const ENDS_GROUP: ReadonlySet<EntryKind> = new Set(['query', 'sync', 'functionCall', 'copyProbe']);

/** Sends a frame that has no reply (Flush, CopyData, Terminate). */
export function forwardSilently(state: SessionState, frame: Buffer): void {
  state.effects.push({ kind: 'forward', frame, safety: 'written' });
}

/** Parse messages were kept back so that a hold at Bind does not let `statement_timeout` run. */
export function forwardWithheld(state: SessionState): void {
  if (state.withheld.length === 0) return;
  const withheld = state.withheld;
  state.withheld = [];
  for (const { name, frame, prepared } of withheld) {
    prepared.sentUnder = namesKey(state);
    const entry = forward(state, frame, { kind: 'parse', name });
    state.statements.propose(name, prepared, entry, state.group);
  }
}

/** Asks the server to answer what it has; no reply, harmless everywhere. */
export function injectFlush(state: SessionState): void {
  forwardSilently(state, serialize.flush());
}

export function forwardQuery(
  state: SessionState,
  frame: Buffer,
  subject: Subject,
  runs: readonly Run[],
  moved: readonly Moved[] = UNMOVED,
): void {
  const { analysis } = subject;
  const entry = forward(
    state,
    frame,
    { kind: 'query', runs, copyIn: takesCopyData(analysis), unparsed: analysis.syntaxError !== null, moved },
    worstSafety(runs),
  );
  const empty = analysis.statements.length === 0 && analysis.syntaxError === null;
  queryDestroysUnnamed(state, entry, empty);
  state.openRuns.add(runs);
  for (const run of runs) proposeSymbols(state, run);
  noteSessionChanges(state, analysis);
  if (entry.copyIn) startCopy(state, entry);
  if (runs.some(({ guard, meter }) => guard !== null || meter !== null))
    // The frame's buffer is used again.
    watch(state, runs, { ...subject, sql: Buffer.from(subject.sql) }, 'query');
  state.group += 1;
}

/** Its rows are counted, and where they are not known to be few nothing is sent behind them. */
function watch(state: SessionState, runs: readonly Run[], subject: Subject, kind: 'query' | 'group'): void {
  for (const run of runs) {
    if (run.guard === null && run.meter === null) continue;
    run.subject = subject;
    // COPY data must follow.
    const uncertain = run.guard?.measured === true || run.meter?.tight === true;
    if (uncertain && state.copy === null) state.stream = { kind, synced: false, flushed: false };
  }
}

export function forwardBind(
  state: SessionState,
  frame: Buffer,
  portal: string,
  subject: Subject,
  prepared: Prepared,
  runs: readonly Run[],
): void {
  const { analysis } = subject;
  const entry = forward(state, frame, { kind: 'bind', runs, name: portal }, worstSafety(runs));
  noteSessionChanges(state, analysis);
  state.openRuns.add(runs);
  const value: Portal = {
    kind: 'protocol',
    run: runs[0] ?? null,
    copyIn: takesCopyData(analysis),
    // The frame's buffer is used again.
    subject: { ...subject, parameters: subject.parameters?.map(copied) ?? null },
    prepared,
    basis: looksUpLate(analysis) ? basisOf(state, analysis) : null,
  };
  state.portals.propose(portal, value, entry, state.group);
}

/** Bind of an EXECUTE or FETCH whose name is not there. */
export function forwardAbsent(state: SessionState, frame: Buffer, portal: string, fields: ErrorFields): void {
  const entry = forward(state, frame, { kind: 'bind', name: portal });
  state.portals.propose(portal, { kind: 'absent', fields, group: state.group }, entry, state.group);
}

/** Of an entry whose failure destroys no name of the client's. */
export const RESERVED = '\u0001';

function copied(parameter: BoundParameter): BoundParameter {
  return { ...parameter, value: parameter.value && Buffer.from(parameter.value) };
}

/** Execute: the portal's own symbols (a SQL PREPARE sent as Parse, say) become names when it completes. */
export function forwardExecute(
  state: SessionState,
  frame: Buffer,
  portal: Extract<Portal, { kind: 'protocol' }>,
): void {
  const { run, copyIn, subject } = portal;
  const unparsed = subject.analysis.syntaxError !== null;
  const runs = run === null ? NO_RUNS : [run];
  const entry = forward(state, frame, { kind: 'execute', runs, copyIn, unparsed });
  if (run !== null) proposeSymbols(state, run);
  // Again: a Sync may lie between Bind, where it was noted first, and now.
  noteSessionChanges(state, subject.analysis);
  if (copyIn) startCopy(state, entry);
  watch(state, runs, subject, 'group');
}

/** Execute of a portal that DECLARE made, or that nobody saw being made. */
export function forwardSqlPortal(
  state: SessionState,
  frame: Buffer,
  subject: Subject,
  runs: readonly Run[],
  passed: Passed | null,
): void {
  const { analysis } = subject;
  for (const run of runs) {
    run.state = 'bound';
    run.cursor = passed;
  }
  state.openRuns.add(runs);
  const copyIn = takesCopyData(analysis);
  const entry = forward(state, frame, { kind: 'execute', runs, copyIn, unparsed: copyIn }, worstSafety(runs));
  noteSessionChanges(state, analysis);
  if (copyIn) startCopy(state, entry);
  watch(state, runs, subject, 'group');
}

export type RefusalPosition =
  | { readonly kind: 'query' | 'malformedQuery' | 'functionCall' }
  | { readonly kind: 'parse'; readonly name: string }
  | { readonly kind: 'bind'; readonly portal: string }
  | { readonly kind: 'inGroup' };

/**
 * Sends, instead of the refused message, one that the server will reject in the same place. `first`: also in a failed
 * transaction, where the server would otherwise speak of that.
 */
export function refuse(
  state: SessionState,
  position: RefusalPosition,
  fields: ErrorFields,
  runs: readonly Run[] = NO_RUNS,
  first = false,
): void {
  state.refusedGroup = state.group;
  // What the server says decides; an outcome that is certain already is in the log.
  state.openRuns.add(runs);
  const refusal: Refusal = {
    marker: `${state.setup.markerPrefix}:${++state.refusalNo}`,
    fields,
    first,
    position: position.kind,
  };
  if (position.kind === 'query') {
    const entry = forward(state, substituteQuery(refusal), { kind: 'query', refusal, runs });
    queryDestroysUnnamed(state, entry);
    state.group += 1;
  } else if (position.kind === 'malformedQuery') {
    forward(state, substituteMalformedQuery(), { kind: 'query', refusal, runs, name: RESERVED });
    state.group += 1;
  } else if (position.kind === 'functionCall') {
    forward(state, substituteFunctionCall(), { kind: 'functionCall', refusal, runs });
    state.group += 1;
  } else if (position.kind === 'parse') {
    const { name } = position;
    const entry = forward(state, substituteParse(name, refusal), { kind: 'parse', refusal, runs, name });
    if (name === '') state.statements.propose('', null, entry, state.group);
  } else if (position.kind === 'bind') {
    const [close, parse, bind] = substituteBind(position.portal, refusal);
    forward(state, close, { kind: 'close', own: true });
    forward(state, parse, { kind: 'parse', own: true, name: RESERVED });
    forward(state, bind, { kind: 'bind', refusal, runs, name: position.portal });
    state.leftover = true;
  } else {
    // Not named "": a failed Parse of the reserved name destroys nothing of the client's.
    forward(state, substituteInGroup(refusal), { kind: 'parse', refusal, runs, name: RESERVED });
  }
}

/** After the Sync of a group in which a Bind was refused. */
export function removeLeftover(state: SessionState): void {
  if (!state.leftover) return;
  state.leftover = false;
  forward(state, closeOwn(), { kind: 'close', own: true });
  state.groupOpen = false;
  injectFlush(state);
}

/** A hold that ended without a release: the outcome is recorded, and the server refuses in our place. */
export function refuseCurrent(state: SessionState, current: Current, position: RefusalPosition): void {
  const refusal = current.refusal;
  if (refusal === null) throw new Error('refuseCurrent without a refusal');
  refuse(state, position, refusal.fields, current.runs);
  for (const run of current.runs) {
    run.sqlstate = refusal.fields['C'] ?? null;
    recordOutcome(state, run, refusal.outcome);
  }
}

/** A simple Query destroys the unnamed statement and portal, even when it is empty or fails. */
function queryDestroysUnnamed(state: SessionState, entry: LedgerEntry, empty = false): void {
  state.statements.propose('', null, entry, entry.group);
  // One without any statement does not come as far as to a portal.
  if (empty) return;
  state.portals.propose('', null, entry, entry.group);
}

function proposeSymbols(state: SessionState, run: Run): void {
  for (const symbol of run.symbols) {
    const all = symbol.kind === 'discard' && symbol.what === 'all';
    if (symbol.kind === 'prepare')
      state.statements.propose(nameKey(symbol.name), preparedBySql(symbol, run), run, state.group);
    else if (symbol.kind === 'declare')
      state.portals.propose(nameKey(symbol.name), declaredBySql(symbol, run), run, state.group);
    else if (symbol.kind === 'deallocate') proposeGone(state, state.statements, symbol.name, run);
    else if (symbol.kind === 'close') proposeGone(state, state.portals, symbol.name, run);
    if (all) for (const names of [state.statements, state.portals]) names.proposeClear(run);
  }
}

/** `name`: null for all of them. */
function proposeGone<V>(state: SessionState, names: Names<V, Tag>, name: string | null, run: Run): void {
  if (name === null) names.proposeClear(run);
  else names.propose(nameKey(name), null, run, state.group);
}

function preparedBySql({ body }: Extract<SymbolUse, { kind: 'prepare' }>, run: Run): Prepared {
  const sql = run.text ?? EMPTY;
  return {
    sql,
    parameterTypes: [],
    analysis: analysisOf(inOwnText(body, sql)),
    scopeKey: run.scopeKey,
    sentUnder: '',
    lists: false,
    bySql: true,
  };
}

function declaredBySql({ body, hold }: Extract<SymbolUse, { kind: 'declare' }>, run: Run): Portal {
  const sql = run.text ?? EMPTY;
  const passed = { rows: 0, bytes: 0 };
  return { kind: 'sql', body: inOwnText(body, sql), withHold: hold, sql, passed };
}

/** The same analysis, with places in the statement's own text instead of the string that it was cut out of. */
function inOwnText(body: StatementAnalysis, sql: Buffer): StatementAnalysis {
  const secrets = body.secrets.map(([from, to]) => [from - body.start, to - body.start] as const);
  return { ...body, start: 0, end: sql.length, secrets };
}

/** The analysis of a string that holds just this statement. */
export function analysisOf(statement: Analysis['statements'][number]): Analysis {
  return {
    statements: [statement],
    class: statement.class,
    reasons: statement.reasons,
    changesPinned: statement.changesPinned,
    syntaxError: null,
  };
}

function noteSessionChanges(state: SessionState, analysis: Analysis): void {
  for (const statement of analysis.statements) {
    if (statement.changesSearchPath || statement.class === 'opaque' || statement.class === 'privilege')
      state.searchPathUncertain = true;
    if (statement.makesTemp || statement.class === 'opaque') state.tempPossible = true;
    if (statement.changesCatalog) state.catalogUncertain = true;
    if (mayUnpin(state, statement, analysis.syntaxError !== null)) {
      state.pinnedUncertain = true;
      state.pinnedGroup = state.group;
      state.unpinnedOnce = true;
    }
    for (const symbol of statement.symbols)
      if (
        symbol.kind === 'transaction' &&
        symbol.op !== 'begin' &&
        symbol.op !== 'savepoint' &&
        symbol.op !== 'release'
      )
        if (state.pathSetInTransaction)
          // What SET did in the transaction may come undone.
          state.searchPathUncertain = true;
    if (statement.changesSearchPath) state.pathSetInTransaction = true;
  }
  if (analysis.syntaxError !== null) {
    state.searchPathUncertain = true;
    state.tempPossible = true;
    state.catalogUncertain = true;
  }
}

function worstSafety(runs: readonly Run[]): Safety {
  let worst: Safety = 'written';
  for (const run of runs) {
    if (run.approvers.length > 0) return 'committed';
    if (safetyOf(run.class) === 'synced') worst = 'synced';
  }
  return worst;
}

/** Where a message is refused; `first`: for a reason that the server would look at before all others. */
export function positionOf(type: number, name: string, frame: Buffer, first: boolean): RefusalPosition {
  if (type === FRONTEND.query) return { kind: 'query' };
  if (type === FRONTEND.functionCall) return { kind: 'functionCall' };
  if (type === FRONTEND.parse) return { kind: 'parse', name };
  return type === FRONTEND.bind && !first
    ? { kind: 'bind', portal: decodeBind(frame).portal }
    : { kind: 'inGroup' };
}
