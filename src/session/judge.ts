/** From a text to a ruling: forward it, refuse it, drop it, or wait for something and judge again. */
import type { BoundParameter } from '../approval/port.ts';
import type { Decision } from '../policy/decision.ts';
import type { ErrorFields } from '../protocol/backend.ts';
import { nameKey } from '../protocol/frontend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import type { Analysis, StatementAnalysis } from '../statement/analysis.ts';
import { parameterValues } from '../statement/context.ts';
import { resolveNames } from '../statement/resolve-names.ts';
import { withoutText } from '../statement/unreadable.ts';
import { decisionOf, observed, openBudget, overBudget, uncapped } from './budget.ts';
import { askable, wantsAnswers, withAnswers } from './clarify.ts';
import { analysisOf } from './forward.ts';
import { endUnused } from './give-up.ts';
import { asksForRequests } from './listing.ts';
import { mayBeMistake } from './mistakes.ts';
import type { Lookup } from './names.ts';
import { ownListing, readOtherwise } from './observe.ts';
import { recordIntents, recordOutcome, releasedRuns } from './record.ts';
import type { Run } from './run.ts';
import { type Current, type Phase, type Prepared, type SessionState, scopeKey, scopeOf } from './state.ts';
import type { NamedText, Subject } from './subject.ts';
import {
  budgetUnknown,
  budgetUsedUp,
  CANCELLED,
  cancelled,
  cancelledAtRelease,
  deniedByPolicy,
  noSuchPortal,
  noSuchStatement,
  releaseRefused,
  tooLong,
  withdrawn,
} from './wording.ts';
import { requestsByName, requestsUnknown } from './wording-requests.ts';

export type Ruling =
  | { readonly kind: 'forward'; readonly runs: readonly Run[] }
  | {
      readonly kind: 'refuse';
      readonly fields: ErrorFields;
      readonly runs: readonly Run[];
      /** The server would say this first, also in a failed transaction. */
      readonly first?: boolean;
      /** SQL EXECUTE or FETCH of a name that is not there: said only when it is executed. */
      readonly absent?: true;
    }
  /** The hold is over without a release: `current.refusal` says how. */
  | { readonly kind: 'refuseHeld' }
  | { readonly kind: 'wait'; readonly phase: Phase }
  | { readonly kind: 'drop' };

/** Any ruling but to forward. */
export type Hindrance = Exclude<Ruling, { kind: 'forward' }>;

export type Judged<T> = { readonly kind: 'is'; readonly value: T } | Hindrance;

const NO_RUNS: readonly Run[] = [];
const WAIT_SETTLE = { kind: 'wait', phase: 'settling' } as const;

/** The analysis of a text as names are now; a wait where a worker or the catalog is needed first. */
export function analyseText(state: SessionState, sql: Buffer, current: Current | null): Judged<Analysis> {
  if (current?.release && current.subject) return { kind: 'is', value: current.subject.analysis };
  const { statementBytes } = state.setup.limits;
  if (sql.length > statementBytes)
    return { kind: 'refuse', fields: tooLong(statementBytes, sql.length), runs: NO_RUNS };
  if (state.refreshing) return { kind: 'wait', phase: 'refreshing' };
  // What was sent before may change how the server reads this.
  if (state.pinnedUncertain && !state.ledger.empty) return WAIT_SETTLE;
  if (readsOtherwise(state))
    return { kind: 'is', value: ownListing(state, sql) ?? readOtherwise(state, sql) };
  if (current?.analysis && current.analysisKey === scopeKey(state))
    return { kind: 'is', value: current.analysis };
  const analysis = state.setup.analyse(sql, scopeOf(state), !state.catalogUncertain, null);
  return analysis === null ? { kind: 'wait', phase: 'analysing' } : { kind: 'is', value: analysis };
}

/** A statement by the name that Bind or SQL EXECUTE uses, also one whose Parse is still kept back. */
export function statementNamed(state: SessionState, name: string): Lookup<Prepared> {
  for (let i = state.withheld.length - 1; i >= 0; i--) {
    const withheld = state.withheld[i];
    if (withheld?.name === name) return { kind: 'found', value: withheld.prepared };
  }
  return state.statements.lookup(name, state.group);
}

/** In mode observe: the server may read texts in another way than we do. */
function readsOtherwise(state: SessionState): boolean {
  return state.setup.mode === 'observe' && (state.unpinned.size > 0 || state.pinnedUncertain);
}

/** The server took its text under other settings: it is never known. */
function unreadOnce({ analysis }: Prepared): boolean {
  return analysis.syntaxError?.cause === 'settings';
}

/** What Bind, or Execute of what was bound, would run. Released: what was judged, shown and verified is what runs. */
export function judgePrepared(
  state: SessionState,
  prepared: Prepared,
  parameters: readonly BoundParameter[],
  resultFormats: readonly number[],
  current: Current | null,
): Judged<Subject> {
  if (current?.release && current.subject) return { kind: 'is', value: current.subject };
  const plain = analysePrepared(state, prepared, current);
  const analysis: Judged<Analysis> =
    plain.kind === 'is'
      ? {
          kind: 'is',
          value: askable(state, prepared, withParameters(state, prepared, plain.value, parameters)),
        }
      : plain;
  return judgedSubject(state, analysis, prepared.sql, parameters, resultFormats, current);
}

/** The analysis of a prepared statement; made again when names may mean something else by now. */
function analysePrepared(state: SessionState, prepared: Prepared, current: Current | null): Judged<Analysis> {
  if (state.refreshing) return { kind: 'wait', phase: 'refreshing' };
  if (unreadOnce(prepared)) return { kind: 'is', value: prepared.analysis };
  if (state.pinnedUncertain && !state.ledger.empty) return WAIT_SETTLE;
  if (readsOtherwise(state))
    return { kind: 'is', value: ownListing(state, prepared.sql) ?? readOtherwise(state, prepared.sql) };
  if (prepared.scopeKey === scopeKey(state)) return { kind: 'is', value: prepared.analysis };
  const fresh = analyseText(state, prepared.sql, current);
  if (fresh.kind !== 'is') return fresh;
  if (!prepared.bySql) return { kind: 'is', value: remember(state, prepared, fresh.value) };
  const body = preparedBody(fresh.value);
  // The text was a PREPARE when the server took it, so this cannot be missing; if it is, nothing is known.
  return body === null
    ? { kind: 'refuse', fields: noSuchStatement(''), runs: NO_RUNS }
    : { kind: 'is', value: remember(state, prepared, analysisOf(body)) };
}

/** For the next Bind, as long as names mean what they mean now. */
function remember(state: SessionState, prepared: Prepared, analysis: Analysis): Analysis {
  prepared.analysis = analysis;
  prepared.scopeKey = scopeKey(state);
  return analysis;
}

/**
 * The same, where values of parameters decide (LIMIT $1): with these values. What a worker had to read stays as it is,
 * the worst being assumed of its parameters.
 */
function withParameters(
  state: SessionState,
  prepared: Prepared,
  analysis: Analysis,
  parameters: readonly BoundParameter[],
): Analysis {
  if (prepared.bySql || parameters.length === 0) return analysis;
  if (analysis.statements.every(({ dependsOnParameters }) => dependsOnParameters.length === 0))
    return analysis;
  const values = parameterValues(parameters);
  return state.setup.analyse(prepared.sql, scopeOf(state), !state.catalogUncertain, values) ?? analysis;
}

function preparedBody(analysis: Analysis): StatementAnalysis | null {
  for (const { symbols } of analysis.statements)
    for (const symbol of symbols) if (symbol.kind === 'prepare') return symbol.body;
  return null;
}

export function judgedSubject(
  state: SessionState,
  analysis: Judged<Analysis>,
  sql: Buffer,
  parameters: readonly BoundParameter[] | null,
  resultFormats: readonly number[],
  current: Current | null,
): Judged<Subject> {
  if (analysis.kind !== 'is') return analysis;
  const named: NamedText[] = [];
  const resolved = withNames(state, withAnswers(state, analysis.value, current), named);
  if (resolved.kind !== 'is') return resolved;
  const value = {
    sql,
    analysis: resolved.value,
    parameters,
    resultFormats,
    scopeKey: scopeKey(state),
    named,
  };
  return { kind: 'is', value };
}

/** What an approval was given for is still what would run. */
export function sameMeaning(a: Subject, b: Subject): boolean {
  return meaning(a) === meaning(b);
}

function meaning({ analysis, named }: Subject): string {
  const { class: rank, statements } = analysis;
  const texts = named.map(({ name, sql }) => [name, sql.toString('base64')]);
  return JSON.stringify([
    rank,
    statements.map(({ command, relations, calls }) => [command, relations, calls]),
    texts,
  ]);
}

/** EXECUTE, FETCH and MOVE take the class of what they name; a name that was never seen is refused. */
function withNames(state: SessionState, analysis: Analysis, named: NamedText[]): Judged<Analysis> {
  if (!usesNames(analysis)) return { kind: 'is', value: analysis };
  let unsettled = false;
  let absent: ErrorFields | null = null;
  let lists = false;
  const resolved = resolveNames(analysis, {
    statement: (name) => {
      const found = statementNamed(state, nameKey(name));
      if (found.kind === 'settle') unsettled = true;
      if (found.kind === 'absent') absent ??= noSuchStatement(nameKey(name));
      if (found.kind !== 'found') return undefined;
      if (found.value.lists) lists = true;
      const body = bodyNow(state, found.value);
      named.push({ name, sql: found.value.sql, secrets: body?.secrets ?? [] });
      return body;
    },
    portal: (name) => {
      const found = state.portals.lookup(nameKey(name), state.group);
      if (found.kind === 'settle') unsettled = true;
      if (found.kind === 'absent') absent ??= noSuchPortal(nameKey(name), 'cursor');
      if (found.kind !== 'found' || found.value.kind !== 'sql') return undefined;
      named.push({ name, sql: found.value.sql, secrets: found.value.body.secrets });
      return found.value.body;
    },
  });
  if (unsettled && !state.ledger.empty) return WAIT_SETTLE;
  if (lists) return { kind: 'refuse', fields: requestsByName(), runs: NO_RUNS };
  if (absent !== null && state.setup.mode === 'enforce')
    return { kind: 'refuse', fields: absent, runs: NO_RUNS, absent: true };
  return { kind: 'is', value: resolved };
}

/** What SQL EXECUTE would run: the server analyses a prepared statement anew when search_path or objects changed. */
function bodyNow(state: SessionState, prepared: Prepared): StatementAnalysis | undefined {
  if (unreadOnce(prepared) || prepared.scopeKey === scopeKey(state)) return prepared.analysis.statements[0];
  // What only a worker could read stays unknown, so a person is asked.
  const fresh = state.setup.analyse(prepared.sql, scopeOf(state), !state.catalogUncertain, null);
  if (fresh === null) return undefined;
  return prepared.bySql ? (preparedBody(fresh) ?? undefined) : fresh.statements[0];
}

function usesNames(analysis: Analysis): boolean {
  for (const { unresolved } of analysis.statements) if (unresolved !== null) return true;
  return false;
}

/** What is done with a judged string, as policy and, where it says so, people decide. */
export function rule(state: SessionState, subject: Subject, current: Current | null): Ruling {
  if (current?.refusal) return { kind: 'refuseHeld' };
  if (current?.cancelled) return ruleCancelled(state, subject, current);
  if (asksForRequests(subject.analysis) && !current?.listed) return lookUp(state, subject, current);
  if (current?.release)
    return { kind: 'forward', runs: releasedRuns(state, subject, current.runs, current.release) };
  const decision = decisionOf(state, subject.analysis, current, state.now);
  if (wantsAnswers(state, decision, subject.analysis, current)) return { kind: 'wait', phase: 'clarifying' };
  if (current?.approved) return releaseIfSame(state, subject, decision, current);
  if (state.setup.mode === 'observe') {
    const { analysis } = subject;
    const runs = recordIntents(
      state,
      subject,
      observed(state, analysis, decision),
      null,
      uncapped(state, analysis),
    );
    return { kind: 'forward', runs };
  }
  if (decision.decision === 'allow') return ruleAllowed(state, subject, decision, current);
  if (decision.decision === 'deny') return refusedAtOnce(state, subject, decision, deniedByPolicy(decision));
  return hold(state, subject, decision, current);
}

/** What the agent is to be shown is looked up when everything before is answered. */
function lookUp(state: SessionState, subject: Subject, current: Current | null): Ruling {
  if (!state.ledger.empty) return WAIT_SETTLE;
  if (current?.listed === undefined) return { kind: 'wait', phase: 'listing' };
  const failed: Decision = {
    ...state.setup.decide(subject.analysis, state.now),
    decision: 'deny',
    rule: 'floor:requests',
    reasons: ['the open requests of the agent could not be looked up'],
  };
  return refusedAtOnce(state, subject, failed, requestsUnknown(), 'failed');
}

/** Policy allows it; whether the agent's budgets do is known here, or the database is asked. */
function ruleAllowed(
  state: SessionState,
  subject: Subject,
  decision: Decision,
  current: Current | null,
): Ruling {
  const opening = openBudget(state, subject.analysis, current);
  if (opening.kind === 'open')
    return { kind: 'forward', runs: recordIntents(state, subject, decision, null, opening.meters) };
  if (current?.budgetFailed != null) {
    const why = current.budgetFailed;
    const unknown: Decision = {
      ...decision,
      decision: 'deny',
      rule: 'floor:budget',
      reasons: [`its budget could not be asked: ${why}`],
    };
    return refusedAtOnce(state, subject, unknown, budgetUnknown(why));
  }
  if (opening.kind === 'ask' || current === null) return { kind: 'wait', phase: 'budgeting' };
  current.overBudget = overBudget(state, subject.analysis, opening.spent);
  const over = current.overBudget.decision;
  if (over.decision === 'hold') return hold(state, subject, over, current);
  return refusedAtOnce(state, subject, over, budgetUsedUp(over.rule, null, 'policy', opening.spent));
}

/** Cancelled before it was sent, so nobody is asked about it; an approval is taken back, or used up for nothing. */
function ruleCancelled(state: SessionState, subject: Subject, current: Current): Ruling {
  const decision = state.setup.decide(subject.analysis, state.now);
  if (current.request === null) return refusedAtOnce(state, subject, decision, cancelled(), 'withdrawn');
  const { id } = current.request;
  if (current.release !== null) {
    endUnused(state, id, SQLSTATE.queryCanceled);
    current.refusal = { fields: cancelledAtRelease(decision.rule, id), outcome: 'withdrawn' };
    return { kind: 'refuseHeld' };
  }
  state.effects.push({ kind: 'withdraw', requestId: id, why: CANCELLED });
  current.refusal = { fields: withdrawn(decision.rule, id), outcome: 'withdrawn' };
  return { kind: 'refuseHeld' };
}

/** Names, objects or policy may have changed while people thought: then their approval was for something else. */
function releaseIfSame(state: SessionState, subject: Subject, decision: Decision, current: Current): Ruling {
  const same = current.subject !== null && sameMeaning(subject, current.subject);
  if (same && decision.decision !== 'deny') return { kind: 'wait', phase: 'releasing' };
  const why = same ? 'policy denies it now' : 'it means something else than when it was asked about';
  const id = current.request?.id ?? '';
  state.effects.push({ kind: 'withdraw', requestId: id, why });
  current.refusal = { fields: releaseRefused(decision.rule, id, why), outcome: 'denied' };
  return { kind: 'refuseHeld' };
}

function hold(state: SessionState, subject: Subject, decision: Decision, current: Current | null): Ruling {
  // Everything before must be answered: an error there means that this message is skipped, and nobody is asked.
  if (!state.ledger.empty) return WAIT_SETTLE;
  // A syntax error is one in a failed transaction too; all else the server refuses there by itself (25P02).
  const unread = subject.analysis.syntaxError !== null;
  const ask = mayBeMistake(subject.analysis) && current?.rejection === undefined;
  if (state.transaction === 'E' && !(unread && (ask || current?.rejection)))
    return {
      kind: 'refuse',
      fields: deniedByPolicy(decision),
      runs: recordIntents(state, subject, decision, null),
    };
  if (ask) return { kind: 'wait', phase: 'probing' };
  if (current?.rejection) {
    const said = current.rejection['M'] ?? '';
    const secret = subject.analysis.statements.some(({ secrets }) => secrets.length > 0);
    const mistake: Decision = {
      ...decision,
      decision: 'deny',
      rule: 'mistake',
      // The client knows its own text; the log need not.
      reasons: [`the server rejects it: ${secret ? withoutText(said) : said}`],
    };
    return { ...refusedAtOnce(state, subject, mistake, current.rejection, 'failed'), first: unread };
  }
  return { kind: 'wait', phase: 'opening' };
}

function refusedAtOnce(
  state: SessionState,
  subject: Subject,
  decision: Decision,
  fields: ErrorFields,
  outcome: 'denied' | 'failed' | 'withdrawn' = 'denied',
): Extract<Ruling, { kind: 'refuse' }> {
  const runs = recordIntents(state, subject, decision, null);
  for (const run of runs) {
    run.sqlstate = fields['C'] ?? null;
    recordOutcome(state, run, outcome);
  }
  return { kind: 'refuse', fields, runs };
}
