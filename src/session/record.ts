/** Intents and outcomes: what the audit log gets of each statement. */
import { createHash } from 'node:crypto';
import type { Release } from '../approval/port.ts';
import type { IntentEntry, Outcome } from '../audit/entry.ts';
import type { Meter } from '../budget/meter.ts';
import type { Decision } from '../policy/decision.ts';
import { factsText } from '../policy/statement-facts.ts';
import type { TransactionStatus } from '../protocol/backend.ts';
import { nameKey } from '../protocol/frontend.ts';
import type { RelationUse, StatementAnalysis } from '../statement/analysis.ts';
import { redactSql } from '../statement/visible.ts';
import { askerOf, endOfStatement } from './asker.ts';
import { NO_METERS, uncapped } from './budget.ts';
import { isCopyFrom } from './copy.ts';
import { recordedParameters } from './recorded-parameters.ts';
import { guardOf } from './row-guard.ts';
import type { Passed, Run } from './run.ts';
import type { SessionState } from './state.ts';
import type { Subject } from './subject.ts';

/** Records the intent of each statement of the string; an empty string has none. `meters`: of what is to run now. */
export function recordIntents(
  state: SessionState,
  subject: Subject,
  decision: Decision,
  requestId: string | null,
  meters: readonly (Meter | null)[] = NO_METERS,
): readonly Run[] {
  const { analysis, sql } = subject;
  const sqlSha256 = createHash('sha256').update(sql).digest();
  const parameters = recordedParameters(state, subject, decision);
  const alone = analysis.statements.length === 1;
  const controlsTransaction = analysis.statements.some(({ symbols }) =>
    symbols.some(({ kind }) => kind === 'transaction'),
  );
  return analysis.statements.map((statement, place) => {
    const no = ++state.statementNo;
    const [start, end] = alone ? [0, sql.length] : [statement.start, statement.end];
    const text = redactSql(sql, start, end, statement.secrets);
    state.effects.push({
      kind: 'record',
      entry: {
        kind: 'intent',
        at: BigInt(state.now),
        session: askerOf(state, sql, start, alone ? end : endOfStatement(sql, analysis, place)),
        statementNo: no,
        sql: text,
        sqlSha256,
        parameters: statement.secrets.length > 0 ? null : parameters,
        class: decision.raised ? decision.class : statement.class,
        decision: decision.decision,
        rule: decision.rule,
        reasons: alone || decision.raised ? decision.reasons : statement.reasons,
        relations: relationNames(statement.relations),
        requestId,
        policyDigest: decision.policy,
        ...observedOf(decision, place),
        ...factsOf(statement, text),
        ...(statement.fingerprint === undefined ? {} : { fingerprint: statement.fingerprint }),
      },
    });
    const run = newRun(state, subject, statement, place, no, requestId, !controlsTransaction);
    run.guard = guardOf(state, statement, decision);
    run.meter = meters[place] ?? null;
    return run;
  });
}

/** What a rule in mode observe would have decided of it. */
function observedOf({ observed }: Decision, place: number): Pick<IntentEntry, 'observed'> {
  const found = observed?.find(({ statement }) => statement === place);
  return found === undefined ? {} : { observed: { rule: found.rule, decision: found.decision } };
}

function factsOf(statement: StatementAnalysis, text: string): Pick<IntentEntry, 'facts'> {
  const facts = factsText(statement, text);
  return facts === null ? NO_FACTS : { facts };
}

const NO_FACTS = {};

function newRun(
  state: SessionState,
  subject: Subject,
  statement: StatementAnalysis,
  place: number,
  no: number,
  requestId: string | null,
  implicit: boolean,
): Run {
  return {
    no,
    class: statement.class,
    requestId,
    approvers: [],
    startedAt: state.now,
    symbols: statement.symbols,
    text: statement.symbols.some(({ kind }) => kind === 'prepare' || kind === 'declare')
      ? Buffer.from(subject.sql.subarray(statement.start, statement.end))
      : null,
    scopeKey: subject.analysis.statements.length === 1 ? subject.scopeKey : null,
    copyIn: isCopyFrom(statement.command),
    maySelfCommit: SELF_COMMITTING.test(statement.command) || CODE.has(statement.class),
    changesCatalog: statement.changesCatalog,
    implicitTransaction: implicit && state.transaction === 'I',
    begun: false,
    rows: 0,
    bytes: 0,
    guard: null,
    meter: null,
    subject: null,
    place,
    cursor: cursorOf(state, statement),
    rest: null,
    tag: null,
    state: 'sent',
    sqlstate: null,
  };
}

/** Counts across all fetches from one cursor. */
function cursorOf(state: SessionState, { symbols }: StatementAnalysis): Passed | null {
  for (const symbol of symbols) {
    if (symbol.kind !== 'fetch') continue;
    const found = state.portals.lookup(nameKey(symbol.name), state.group);
    if (found.kind === 'found' && found.value.kind === 'sql') return found.value.passed;
  }
  return null;
}

/** Commands that begin and end transactions of their own (manual, "cannot be executed inside a transaction block"). */
const SELF_COMMITTING =
  /^(?:CALL|DO|VACUUM|CLUSTER|REINDEX|CREATE INDEX|DROP INDEX|(?:CREATE|DROP|ALTER) (?:DATABASE|TABLESPACE|SUBSCRIPTION|SYSTEM)|ALTER (?:TYPE|TABLE)|DISCARD)/;
const CODE: ReadonlySet<string> = new Set(['opaque', 'admin', 'unparsed']);

/** What has no SQL text has no intent; the log says that it was tried. */
export function recordViolation(state: SessionState, what: string): void {
  state.effects.push({
    kind: 'record',
    entry: {
      kind: 'protocol_violation',
      at: BigInt(state.now),
      session: state.setup.facts,
      requestId: null,
      people: [],
      receipt: null,
      detail: { what },
    },
  });
}

/** The same runs, started now, by the people of the release: what they take is counted, and not stopped. */
export function releasedRuns(
  state: SessionState,
  subject: Subject,
  runs: readonly Run[],
  release: Release,
): readonly Run[] {
  const meters = uncapped(state, subject.analysis);
  return runs.map((run, at) => ({
    ...run,
    startedAt: state.now,
    approvers: release.approvers,
    meter: meters[at] ?? null,
  }));
}

/** Records one outcome, once; with what ReadyForQuery said, where it is known by that. */
export function recordOutcome(
  state: SessionState,
  run: Run,
  outcome: Outcome,
  transactionStatus?: TransactionStatus,
): void {
  if (run.state === 'recorded') return;
  state.openRuns.recorded(run);
  run.meter?.end();
  state.effects.push({
    kind: 'record',
    entry: {
      kind: 'outcome',
      at: BigInt(state.now),
      session: state.setup.facts,
      statementNo: run.no,
      requestId: run.requestId,
      outcome,
      tag: run.tag,
      rows: BigInt(run.rows),
      bytes: BigInt(run.bytes),
      durationUs: BigInt(Math.max(0, state.now - run.startedAt)),
      sqlstate: run.sqlstate,
      approvers: run.approvers,
      ...(run.rest === null ? {} : { rest: { ...run.rest } }),
      ...(transactionStatus === undefined ? {} : { transactionStatus }),
    },
  });
}

/** A released request ends with its last statement; any failure is the failure of all. */
export function endRequests(
  state: SessionState,
  runs: readonly Run[],
  outcomeOf: (run: Run) => Outcome,
): void {
  const byRequest = new Map<string, Run[]>();
  for (const run of runs)
    if (run.requestId !== null && run.approvers.length > 0)
      byRequest.set(run.requestId, [...(byRequest.get(run.requestId) ?? []), run]);
  for (const [requestId, ofRequest] of byRequest) {
    const outcomes = ofRequest.map(outcomeOf);
    const outcome = outcomes.includes('unknown')
      ? 'unknown'
      : outcomes.includes('failed')
        ? 'failed'
        : 'executed';
    const last = ofRequest.at(-1);
    state.effects.push({
      kind: 'end',
      requestId,
      outcome,
      tag: last?.tag ?? null,
      rows: ofRequest.reduce((sum, run) => sum + run.rows, 0),
      bytes: ofRequest.reduce((sum, run) => sum + run.bytes, 0),
      sqlstate: ofRequest.find((run) => run.sqlstate !== null)?.sqlstate ?? null,
    });
  }
}

export function relationNames(relations: readonly RelationUse[]): readonly string[] {
  if (relations.length === 0) return NONE;
  return relations.map(({ schema, name }) => (schema === null ? name : `${schema}.${name}`));
}

const NONE: readonly string[] = [];
