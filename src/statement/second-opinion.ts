/**
 * What another grammar says of a text, held against our analysis. It can only make a class higher: that it agrees, or
 * cannot read a text, means nothing.
 */
import type { Analysis } from './analysis.ts';
import { isMisread } from './misreadings.ts';

/** A table as the other grammar names it; its spelling, not folded. */
export type SecondTable = {
  readonly operation: string;
  readonly schema: string | null;
  readonly name: string;
};

export type SecondReading =
  | { readonly kind: 'unread' }
  | {
      readonly kind: 'read';
      /** The kind of each statement, in its own words: `select`, `drop` … */
      readonly statements: readonly string[];
      readonly tables: readonly SecondTable[];
      readonly commonTableExpressions: readonly string[];
    };

export const UNREAD: SecondReading = { kind: 'unread' };

/** In plain words; null: they agree, or the other one's reading says nothing. */
export function disagreement(analysis: Analysis, reading: SecondReading, sql: Buffer): string | null {
  if (reading.kind === 'unread' || analysis.syntaxError !== null) return null;
  if (isMisread(sql)) return null;
  const ours = analysis.statements.map(({ command }) => ourOperation(command));
  const theirs = reading.statements.map(theirOperation);
  if (ours.join() !== theirs.join())
    return `the second parser reads ${words(theirs)} where this is ${words(ours)}`;
  return tableDisagreement(analysis, reading, ours);
}

/** `unparsed` where the two disagree, else the analysis as it is. */
export function withSecondOpinion(analysis: Analysis, reading: SecondReading, sql: Buffer): Analysis {
  const reason = disagreement(analysis, reading, sql);
  if (reason === null) return analysis;
  return {
    ...analysis,
    statements: analysis.statements.map((statement) => ({
      ...statement,
      class: 'unparsed',
      reasons: statement.class === 'unparsed' ? [...statement.reasons, reason] : [reason],
    })),
    class: 'unparsed',
    reasons: analysis.class === 'unparsed' ? [...analysis.reasons, reason] : [reason],
  };
}

type Operation = 'select' | 'insert' | 'update' | 'delete' | 'ddl' | 'other';

function ourOperation(command: string): Operation {
  const [first = ''] = command.toLowerCase().split(' ');
  if (first === 'select' || first === 'values' || first === 'table') return 'select';
  if (first === 'insert' || first === 'update' || first === 'delete') return first;
  return DDL.has(first) ? 'ddl' : 'other';
}

function theirOperation(type: string): Operation {
  const first = type.toLowerCase();
  if (first === 'select' || first === 'insert' || first === 'update' || first === 'delete') return first;
  if (first === 'replace') return 'insert';
  return DDL.has(first) ? 'ddl' : 'other';
}

/** Of other commands the tables are not compared: it lists the targets of some, and names them in ways of its own. */
const COMPARED: ReadonlySet<string> = new Set(['select', 'insert', 'update', 'delete']);
const DDL = new Set(['create', 'drop', 'alter', 'truncate', 'comment', 'rename']);

function tableDisagreement(
  analysis: Analysis,
  reading: Extract<SecondReading, { kind: 'read' }>,
  operations: readonly Operation[],
): string | null {
  const ours = ourTables(analysis);
  const expressions = new Set(reading.commonTableExpressions.map(folded));
  const more = reading.tables.filter(({ operation, schema, name }) => {
    if (!COMPARED.has(operation.toLowerCase())) return false;
    if (schema === null && expressions.has(folded(name))) return false;
    const schemas = ours.get(folded(name));
    if (schemas === undefined) return true;
    return schema !== null && !schemas.has(folded(schema)) && !schemas.has('');
  });
  const theirs = new Set(reading.tables.map(({ name }) => folded(name)));
  const fewer = operations.every((operation) => COMPARED.has(operation))
    ? [...ours.keys()].filter((name) => !theirs.has(name) && !isTargetOfSelect(analysis, name))
    : [];
  if (more.length + fewer.length === 0) return null;
  const parts = [];
  if (more.length > 0) parts.push(`also ${more.map(nameOf).join(', ')}`);
  if (fewer.length > 0) parts.push(`not ${fewer.join(', ')}`);
  return `the second parser reads other tables: ${parts.join('; ')}`;
}

/** Names, with the schemas that they were found in; an empty one where that is not known. */
function ourTables(analysis: Analysis): Map<string, Set<string>> {
  const ours = new Map<string, Set<string>>();
  for (const { relations } of analysis.statements)
    for (const { schema, name } of relations) {
      const schemas = ours.get(folded(name)) ?? new Set();
      ours.set(folded(name), schemas.add(schema === null ? '' : folded(schema)));
    }
  return ours;
}

/** SELECT … INTO: see `selectInto` of the misreadings. */
function isTargetOfSelect(analysis: Analysis, name: string): boolean {
  return analysis.statements.some(
    ({ command, relations }) =>
      ourOperation(command) === 'select' &&
      relations.some((relation) => folded(relation.name) === name && relation.mode === 'write'),
  );
}

function nameOf({ schema, name }: SecondTable): string {
  return schema === null ? name : `${schema}.${name}`;
}

/** It tells quoted names from others in no way, so case cannot count. Postgres cuts names at 63 bytes. */
function folded(name: string): string {
  return Buffer.from(name.toLowerCase()).subarray(0, 63).toString('utf8');
}

function words(operations: readonly Operation[]): string {
  return operations.length === 0 ? 'nothing' : operations.slice(0, 5).join(', ');
}
