import type { StatementAnalysis } from '../statement/analysis.ts';
import { MOST_DETAILS } from '../statement/details.ts';
import { globMatches } from '../statement/glob.ts';
import type { DecisionContext } from './decision.ts';
import { partsMatch, type Reading } from './name-globs.ts';
import { columnsMatch, isMeant, relationsMatch, tagsMatch } from './relation-conditions.ts';
import type { PolicyRule, RuleMatch } from './rule.ts';
import { bytesMatch, rowsMatch } from './size-conditions.ts';
import { isWithin } from './time-window.ts';

/**
 * True where every condition of the rule holds for the statement. A rule that holds or denies errs towards matching:
 * one relation, column, function or tag is enough, and one that nobody can tell could be any. A rule that allows errs
 * towards not matching: all must be meant, or a join would carry other tables through.
 */
export function matches(rule: PolicyRule, statement: StatementAnalysis, context: DecisionContext): boolean {
  const { match } = rule;
  const reading = rule.decision === 'allow' ? 'certain' : 'enough';
  if (!isAsker(match, context)) return false;
  if (match.class !== undefined && !match.class.includes(statement.class)) return false;
  if (!isNow(match, context, reading)) return false;
  return CONDITIONS.every((condition) => condition(match, statement, reading));
}

function isAsker(match: RuleMatch, { agent, owner, database, role }: DecisionContext): boolean {
  if (match.agent !== undefined && !anyMatches(match.agent, agent)) return false;
  if (match.owner !== undefined && (owner === null || !anyMatches(match.owner, owner))) return false;
  if (match.database !== undefined && !anyMatches(match.database, database)) return false;
  return match.role === undefined || anyMatches(match.role, role);
}

function isNow({ time }: RuleMatch, { at }: DecisionContext, reading: Reading): boolean {
  if (time === undefined) return true;
  if (at === undefined) return reading === 'enough';
  return time.some((window) => isWithin(window, at));
}

/** True also where the rule says nothing about it. */
type Condition = (match: RuleMatch, statement: StatementAnalysis, reading: Reading) => boolean;

const CONDITIONS: readonly Condition[] = [
  ({ command }, statement, reading) => command === undefined || commandsMatch(command, statement, reading),
  ({ relation }, statement, reading) =>
    relation === undefined || relationsMatch(relation, statement, reading),
  ({ column }, statement, reading) => column === undefined || columnsMatch(column, statement, reading),
  (match, statement, reading) =>
    match.function === undefined || functionsMatch(match.function, statement, reading),
  ({ tag }, statement, reading) => tag === undefined || tagsMatch(tag, statement, reading),
  ({ boundary }, statement, reading) =>
    boundary === undefined || isMeant(statement.boundary, reading, (crossed) => boundary.includes(crossed)),
  ({ rows }, statement, reading) => rows === undefined || rowsMatch(rows, statement, reading),
  ({ bytes }, statement, reading) => bytes === undefined || bytesMatch(bytes, statement, reading),
];

/** Enough: the tag, or anything that it does. Certain: all that it does. */
function commandsMatch(
  globs: readonly string[],
  { command, commands }: StatementAnalysis,
  reading: Reading,
): boolean {
  const all = commands ?? [command];
  return isMeant(reading === 'enough' ? [command, ...all] : all, reading, (one) =>
    globs.some((glob) => globMatches(glob.toUpperCase(), one.toUpperCase())),
  );
}

/** A list that is full may have lost the one that matters; operators and casts call functions without a name. */
function functionsMatch(globs: readonly string[], statement: StatementAnalysis, reading: Reading): boolean {
  const { functions, operators, casts } = statement;
  const incomplete = functions.length >= MOST_DETAILS;
  if (reading === 'certain' && (incomplete || operators.length > 0 || casts.length > 0)) return false;
  if (reading === 'enough' && incomplete) return true;
  return isMeant(calledBy(statement), reading, (name) =>
    globs.some((glob) => partsMatch(glob, name, reading)),
  );
}

/** Schema and name; null: not known. */
export type Called = readonly [string | null, string | null];

/** The functions that a statement calls by name, and those that the server says are behind operators and casts. */
export function calledBy({ functions, calls }: StatementAnalysis): readonly Called[] {
  return [...functions.map(({ schema, name }): Called => [schema, name]), ...calls.map(calledName)];
}

/** `schema.name(types) OID …`, as the catalog writes it; anything else is any function. */
function calledName(call: string): Called {
  const [, schema, name] = /^("(?:[^"]|"")*"|[^".(]+)\.("(?:[^"]|"")*"|[^".(]+)\(/.exec(call) ?? [];
  return schema === undefined || name === undefined ? [null, null] : [unquoted(schema), unquoted(name)];
}

function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;
}

function anyMatches(globs: readonly string[], value: string): boolean {
  return globs.some((glob) => globMatches(glob, value));
}
