/**
 * What policy asks about a statement, beside its class and the names of its relations, as one compact text for the
 * audit log, so that other policies can be tried on it later (`told-facts.ts` reads it back). Names only: no values, and
 * nothing of what is secret.
 */
import type { RelationUse, StatementAnalysis, StatementSizes } from '../statement/analysis.ts';
import { MOST_DETAILS } from '../statement/details.ts';
import { calledBy } from './match.ts';

/** The form of the text. A process that records facts says so in its stream: then a statement without is a plain one. */
export const FACTS_FORM = 1;

/** Characters of the text. What would be longer is left out as a whole, so that nothing is half told. */
export const MOST_FACTS = 4_000;

/** In place of facts that would be longer. */
export const CUT = `{"v":${FACTS_FORM},"cut":true}`;

/** Names of a schema and of a function in it, null: could be any; or the name alone of one in pg_catalog. */
export type CalledName = string | readonly [string | null, string | null];

export type SizeFacts = readonly [carried: number | null, expected: number | null, written: number | null];

/** What is left out is as in the plainest use: it reads, no columns, no tags, of a relation that the catalog knows. */
export type RelationFacts = {
  /** Where the recorded `schema.name` does not say by its first dot where the schema ends; null: none was known. */
  readonly schema?: string | null | undefined;
  readonly mode?: 'write' | undefined;
  /** Not in the catalog. */
  readonly unknown?: true | undefined;
  /** Null: any columns, read or written. */
  readonly read?: readonly string[] | null | undefined;
  readonly written?: readonly string[] | undefined;
  readonly tags?: readonly string[] | undefined;
};

/** What is left out is as in the plainest statement. */
export type StatementFacts = {
  readonly v: typeof FACTS_FORM;
  /** Where it is not the first word of the recorded text. */
  readonly command?: string | undefined;
  readonly commands?: readonly string[] | undefined;
  /** In the order of the recorded names. */
  readonly relations?: readonly RelationFacts[] | undefined;
  readonly reaches?: readonly (string | null)[] | undefined;
  /** Those that no relation has. */
  readonly tags?: readonly string[] | undefined;
  readonly functions?: readonly CalledName[] | undefined;
  /** Operators or casts that users made: they call functions without a name. */
  readonly implicit?: true | undefined;
  readonly boundary?: StatementAnalysis['boundary'] | undefined;
  /** Rows that can come back; `nothing`: nothing bounds them; null: not known, or it is no query. Plain: `plainBound`. */
  readonly bound?: number | 'nothing' | null | undefined;
  /** Rows carried, expected and written (`StatementSizes`); null: not known. Plain: `plainSizes`. */
  readonly sizes?: SizeFacts | null | undefined;
};

/** The text to record beside `sql`, the statement's own text as it is recorded; null: a plain statement, nothing to tell. */
export function factsText(statement: StatementAnalysis, sql: string): string | null {
  // A list that is full may not be whole.
  if (statement.functions.length >= MOST_DETAILS) return CUT;
  const facts = factsOf(statement, sql);
  if (facts === null) return null;
  const text = JSON.stringify(facts);
  return text.length > MOST_FACTS || UNSTORABLE.test(text) ? CUT : text;
}

/** `SELECT`, `BEGIN`: the first word of a text, as a command is written; null: it begins otherwise. Attacker-controlled. */
export function firstWord(sql: string): string | null {
  return /^[ \t\r\n\f]*([A-Za-z]+)/.exec(sql)?.[1]?.toUpperCase() ?? null;
}

/** A plain SELECT gives one row. */
export function plainBound(command: string): number | null {
  return command === 'SELECT' ? 1 : null;
}

/** It writes none, and its result carries no more than it has. */
export function plainSizes(command: string, bound: StatementFacts['bound']): SizeFacts | null {
  return command === 'SELECT' && typeof bound === 'number' ? [bound, null, 0] : null;
}

/** NUL and halves of surrogate pairs, which Postgres' jsonb cannot hold. No name of the database has them. */
const UNSTORABLE = /\\u(?:0000|d[89a-f])/;

type Writable = { -readonly [K in keyof StatementFacts]: StatementFacts[K] };

function factsOf(statement: StatementAnalysis, sql: string): StatementFacts | null {
  const { command, commands, relations, reaches, boundary, operators, casts } = statement;
  const facts: Writable = { v: FACTS_FORM };
  let any = false;
  const tell = <K extends keyof StatementFacts>(key: K, value: Writable[K]): void => {
    facts[key] = value;
    any = true;
  };
  if (command !== firstWord(sql)) tell('command', command);
  if (commands !== undefined) tell('commands', commands);
  if (relations.length > 0) {
    const uses = relations.map(relationFacts);
    if (uses.some((use) => use !== PLAIN)) tell('relations', uses);
  }
  if (reaches !== undefined) tell('reaches', reaches);
  if (statement.tags.length > 0) {
    const others = statement.tags.filter((tag) => !relations.some((use) => use.tags?.includes(tag)));
    if (others.length > 0) tell('tags', others);
  }
  const functions = calledNames(statement);
  if (functions.length > 0) tell('functions', functions);
  if (operators.length > 0 || casts.length > 0) tell('implicit', true);
  if (boundary.length > 0) tell('boundary', boundary);
  const bound = boundOf(statement);
  if (bound !== plainBound(command)) tell('bound', bound);
  const sizes = sizesOf(statement);
  if (!isSameSize(sizes, plainSizes(command, bound))) tell('sizes', sizes);
  return any ? facts : null;
}

const PLAIN: RelationFacts = {};

function relationFacts({ schema, name, oid, mode, columns, tags }: RelationUse): RelationFacts {
  const facts: { -readonly [K in keyof RelationFacts]: RelationFacts[K] } = {};
  let any = false;
  const tell = <K extends keyof RelationFacts>(key: K, value: RelationFacts[K]): void => {
    facts[key] = value;
    any = true;
  };
  if ((schema ?? name).includes('.')) tell('schema', schema);
  if (mode === 'write') tell('mode', mode);
  if (oid === null) tell('unknown', true);
  const { read = null, written = null } = columns ?? {};
  if (read === null || written === null) tell('read', null);
  else {
    if (read.length > 0) tell('read', read);
    if (written.length > 0) tell('written', written);
  }
  if (tags !== undefined && tags.length > 0) tell('tags', tags);
  return any ? facts : PLAIN;
}

function calledNames(statement: StatementAnalysis): readonly CalledName[] {
  if (statement.functions.length === 0 && statement.calls.length === 0) return NO_NAMES;
  const named = new Map<string, CalledName>();
  for (const [schema, name] of calledBy(statement))
    named.set(
      JSON.stringify([schema, name]),
      schema === 'pg_catalog' && name !== null ? name : [schema, name],
    );
  return [...named.values()];
}

const NO_NAMES: readonly CalledName[] = [];

function boundOf({ rowBound, rowBoundBy }: StatementAnalysis): number | 'nothing' | null {
  return rowBound ?? (rowBoundBy === null ? null : 'nothing');
}

function sizesOf({ sizes }: { readonly sizes?: StatementSizes }): SizeFacts | null {
  return sizes === undefined ? null : [sizes.carried, sizes.expected, sizes.written];
}

function isSameSize(a: SizeFacts | null, b: SizeFacts | null): boolean {
  if (a === null || b === null) return a === b;
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2];
}
