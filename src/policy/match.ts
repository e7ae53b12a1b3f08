import type { RelationUse, StatementAnalysis, StatementClass } from '../statement/analysis.ts';
import { MOST_DETAILS } from '../statement/details.ts';
import { globMatches } from '../statement/glob.ts';
import type { DecisionContext } from './decision.ts';
import { partsMatch, type Reading, relationMatches } from './name-globs.ts';
import type { PolicyRule, RuleMatch } from './rule.ts';
import { bytesMatch, rowsMatch } from './size-conditions.ts';
import { isWithin } from './time-window.ts';

/** A condition of the rule that is given, about the statement. */
type Condition<K extends keyof RuleMatch> = (
  wanted: NonNullable<RuleMatch[K]>,
  statement: StatementAnalysis,
  reading: Reading,
) => boolean;

/**
 * True where every condition of the rule holds for the statement. A rule that holds or denies errs towards matching:
 * one relation, column, function or tag is enough, and one that nobody can tell could be any. A rule that allows errs
 * towards not matching: all must be meant, or a join would carry other tables through.
 */
export function matches(rule: PolicyRule, statement: StatementAnalysis, context: DecisionContext): boolean {
  const { match } = rule;
  const reading = rule.decision === 'allow' ? 'certain' : 'enough';
  return (
    isAsker(match, context) &&
    isNow(match, context, reading) &&
    (match.class === undefined || match.class.includes(statement.class)) &&
    holds('command', match, statement, reading) &&
    holds('relation', match, statement, reading) &&
    holds('column', match, statement, reading) &&
    holds('function', match, statement, reading) &&
    holds('tag', match, statement, reading) &&
    holds('boundary', match, statement, reading) &&
    holds('rows', match, statement, reading) &&
    holds('bytes', match, statement, reading)
  );
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

function holds<K extends keyof typeof CONDITIONS>(
  key: K,
  match: RuleMatch,
  statement: StatementAnalysis,
  reading: Reading,
): boolean {
  const wanted = match[key];
  const condition: Condition<K> = CONDITIONS[key];
  return wanted === undefined || condition(wanted, statement, reading);
}

const CONDITIONS: { readonly [K in Exclude<keyof RuleMatch, Asked>]: Condition<K> } = {
  command: (globs, { command }) =>
    globs.some((glob) => globMatches(glob.toUpperCase(), command.toUpperCase())),
  relation: (globs, { relations }, reading) =>
    parts(relations, reading, ({ schema, name }) =>
      globs.some((glob) => relationMatches(glob, schema, name, reading)),
    ),
  column: (globs, statement, reading) =>
    parts(statement.relations, reading, (use) => columnsMatch(globs, statement, use, reading)),
  function: functionsMatch,
  tag: (globs, statement, reading) =>
    parts(statement.relations, reading, (use) => tagsMatch(globs, statement, use, reading)) ||
    // What a relation's use does not say, its statement may.
    (reading === 'enough' && statement.tags.some((tag) => anyMatches(globs, tag))),
  boundary: (wanted, { boundary }, reading) =>
    parts(boundary, reading, (crossed) => wanted.includes(crossed)),
  rows: rowsMatch,
  bytes: bytesMatch,
};
type Asked = 'agent' | 'owner' | 'database' | 'role' | 'class' | 'time';

/** Enough: one of them. Certain: all of them, and at least one. */
function parts<T>(all: readonly T[], reading: Reading, isMeant: (part: T) => boolean): boolean {
  return reading === 'enough' ? all.some(isMeant) : all.length > 0 && all.every(isMeant);
}

function columnsMatch(
  globs: readonly string[],
  statement: StatementAnalysis,
  use: RelationUse,
  reading: Reading,
): boolean {
  const columns: readonly (string | null)[] = columnsOf(statement, use) ?? ANY;
  return parts(columns, reading, (column) =>
    globs.some((glob) => partsMatch(glob, [use.schema, use.name, column], reading)),
  );
}

const ANY: readonly null[] = [null];

/** Classes of which the analysis says which columns are read and stored. */
const BY_COLUMN: ReadonlySet<StatementClass> = new Set(['session', 'read', 'write', 'bulk_write', 'export']);

/** Null: any of them. What writes and stores in no column (TRUNCATE, LOCK, a cascade), or defines, touches all. */
function columnsOf(statement: StatementAnalysis, { columns, mode }: RelationUse): readonly string[] | null {
  if (columns === undefined || columns.read === null || columns.written === null) return null;
  if (mode === 'write' && columns.written.length === 0) return null;
  const all = [...columns.read, ...columns.written];
  return all.length === 0 && !BY_COLUMN.has(statement.class) ? null : all;
}

/** What runs its own definition may call anything; a list that is full may have lost the one that matters. */
function functionsMatch(globs: readonly string[], statement: StatementAnalysis, reading: Reading): boolean {
  const { functions, operators, casts, calls } = statement;
  const incomplete = functions.length >= MOST_DETAILS;
  const named = functions.map(({ schema, name }): readonly [string | null, string] => [schema, name]);
  if (reading === 'certain' && (incomplete || operators.length > 0 || casts.length > 0)) return false;
  // As the server resolved them: behind operators and casts, too.
  const resolved = calls.map((call): readonly [string | null, string | null] => calledName(call));
  const all: readonly (readonly [string | null, string | null])[] = [...named, ...resolved];
  if (reading === 'enough' && incomplete) return true;
  return parts(all, reading, (name) => globs.some((glob) => partsMatch(glob, name, reading)));
}

/** `schema.name(types) OID …`, as the catalog writes it; anything else is any function. */
function calledName(call: string): readonly [string | null, string | null] {
  const [, schema, name] = /^("(?:[^"]|"")*"|[^".(]+)\.("(?:[^"]|"")*"|[^".(]+)\(/.exec(call) ?? [];
  if (schema === undefined || name === undefined) return [null, null];
  return [unquoted(schema), unquoted(name)];
}

function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;
}

function tagsMatch(
  globs: readonly string[],
  statement: StatementAnalysis,
  use: RelationUse,
  reading: Reading,
): boolean {
  if (tagsUnknown(statement, use)) return reading === 'enough';
  return parts(use.tags ?? [], reading, (tag) => anyMatches(globs, tag));
}

const SYSTEM: ReadonlySet<string | null> = new Set(['pg_catalog', 'information_schema']);

/** A relation that no catalog knows; what a definition makes is new, and has none. */
function tagsUnknown(statement: StatementAnalysis, { schema, oid, mode }: RelationUse): boolean {
  if (schema === null) return true;
  if (oid !== null || SYSTEM.has(schema)) return false;
  return mode === 'read' || BY_COLUMN.has(statement.class);
}

function anyMatches(globs: readonly string[], value: string): boolean {
  return globs.some((glob) => globMatches(glob, value));
}
