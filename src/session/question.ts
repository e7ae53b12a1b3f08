/** What a hold puts to people. */
import type { ContextClaim, Question, RequestContext } from '../approval/port.ts';
import type { Decision } from '../policy/decision.ts';
import { type Claim, claimsOf, reasonIn } from '../statement/claims.ts';
import { showSql, showText } from '../statement/visible.ts';
import { askerOfString } from './asker.ts';
import type { Effect } from './effect.ts';
import { holdMsOf } from './hold-time.ts';
import { relationNames } from './record.ts';
import type { Passed } from './run.ts';
import { type SessionState, scopeOf } from './state.ts';
import type { Subject } from './subject.ts';
import { toldStatements } from './told-statements.ts';

/**
 * What bare names mean, for the digest. Where that is not known, or a temporary object could be meant, it is known to
 * this session alone, and no other may attach to what was asked here.
 */
function namesMean(state: SessionState): string {
  const { searchPath, tempPossible } = scopeOf(state);
  const path = searchPath?.join(', ') ?? '(not known)';
  return searchPath === null || tempPossible ? `${path} in session ${state.setup.facts.sessionId}` : path;
}

/** Relations and characters of a column list that people are told of. */
const MOST_RELATIONS = 100;
const MOST_COLUMNS = 50;

/** What is known of the statement itself, for people; the shell adds what it finds out. */
function contextOf(state: SessionState, subject: Subject, sent: Passed | null): RequestContext {
  const { sql, analysis, named } = subject;
  const { statements } = analysis;
  const told = toldStatements(state, subject);
  const columns = (names: readonly string[] | null | undefined) =>
    names == null ? null : names.slice(0, MOST_COLUMNS).map(showText);
  return {
    claims: withReason(
      claimsOf(Buffer.concat([sql, ...named.flatMap((one) => [NEW_LINE, one.sql])])),
      state.facts.applicationName,
    ),
    ...(told === null ? {} : { statements: told }),
    boundary: [...new Set(statements.flatMap(({ boundary }) => boundary))],
    relations: statements
      .flatMap(({ relations }) => relations)
      .slice(0, MOST_RELATIONS)
      .map((use) => ({
        name: showText(relationNames([use])[0] ?? use.name),
        mode: use.mode,
        read: columns(use.columns?.read),
        written: columns(use.columns?.written),
        tags: (use.tags ?? []).map(showText),
      })),
    findings: [],
    sent: sent === null ? null : { rows: String(sent.rows), bytes: String(sent.bytes) },
  };
}

/** Asks people, and the shell to find out what they are to be told. `sent`: of a result that was stopped in its middle. */
export function openEffect(
  state: SessionState,
  subject: Subject,
  question: Question,
  sent: Passed | null = null,
): Effect {
  return {
    kind: 'open',
    question: {
      ...question,
      context: contextOf(state, subject, sent),
      holdMs: holdMsOf(state, question.demand, sent !== null),
    },
    subject,
    scope: scopeOf(state),
    catalogCertain: !state.catalogUncertain,
  };
}

/** An agent that writes no comments can give its reason in application_name. */
function withReason(claims: readonly Claim[], applicationName: string | null): readonly ContextClaim[] {
  const value = claims.some(({ key }) => key === 'reason') ? null : reasonIn(applicationName ?? '');
  return value === null ? claims : [...claims, { key: 'reason', value, from: 'application_name' }];
}

const NEW_LINE = Buffer.from('\n');

/** The question about a held string, for people and for the digest. */
export function questionOf(state: SessionState, subject: Subject, decision: Decision): Question {
  const { analysis, sql } = subject;
  const secrets = analysis.statements.flatMap((statement) => statement.secrets);
  return {
    session: askerOfString(state, sql, analysis),
    sqlBytes: Buffer.from(sql),
    sql: [
      showSql(sql, secrets),
      ...subject.named.map((one) => `\n\n-- ${one.name}:\n${showSql(one.sql, one.secrets)}`),
    ].join(''),
    // Copies: the socket's buffer is used again.
    parameters:
      subject.parameters?.map((one) => ({ ...one, value: one.value && Buffer.from(one.value) })) ?? null,
    resultFormats: subject.resultFormats,
    class: decision.class,
    rule: decision.rule,
    reasons: decision.reasons,
    relations: analysis.statements
      .flatMap((statement) => statement.relations)
      .map((use) => ({ name: relationNames([use])[0] ?? use.name, oid: use.oid, mode: use.mode })),
    calls: analysis.statements.flatMap(({ calls }) => calls),
    searchPath: namesMean(state),
    policyDigest: decision.policy,
    demand: decision.approval ?? { approvers: [], quorum: 1, assurance: 1 },
    ...(decision.limits === undefined ? {} : { limits: decision.limits }),
    inTransaction: state.transaction !== 'I',
    command: analysis.statements.map(({ command }) => command).join('; '),
  };
}
