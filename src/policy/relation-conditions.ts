/** Conditions over the relations of a statement: their names, columns and tags. */
import type { RelationUse, StatementAnalysis, StatementClass } from '../statement/analysis.ts';
import { globMatches } from '../statement/glob.ts';
import { isSystemSchema } from '../statement/system-relations.ts';
import { partsMatch, type Reading, relationMatches } from './name-globs.ts';

/** Enough: one of them. Certain: all of them, and at least one. */
export function isMeant<T>(parts: readonly T[], reading: Reading, matches: (part: T) => boolean): boolean {
  return reading === 'enough' ? parts.some(matches) : parts.length > 0 && parts.every(matches);
}

export function relationsMatch(
  globs: readonly string[],
  statement: StatementAnalysis,
  reading: Reading,
): boolean {
  return (
    reaches(statement, reading, (schema) =>
      globs.some((glob) => relationMatches(glob, schema, null, reading)),
    ) ??
    isMeant(statement.relations, reading, ({ schema, name }) =>
      globs.some((glob) => relationMatches(glob, schema, name, reading)),
    )
  );
}

export function columnsMatch(
  globs: readonly string[],
  statement: StatementAnalysis,
  reading: Reading,
): boolean {
  const column = (name: readonly (string | null)[]) => globs.some((glob) => partsMatch(glob, name, reading));
  return (
    reaches(statement, reading, (schema) => column([schema, null, null])) ??
    isMeant(known(statement), reading, (use) =>
      isMeant(columnsOf(statement, use), reading, (name) => column([use.schema, use.name, name])),
    )
  );
}

export function tagsMatch(globs: readonly string[], statement: StatementAnalysis, reading: Reading): boolean {
  const tag = (name: string) => globs.some((glob) => globMatches(glob, name));
  // What a relation's use does not say, its statement may.
  if (reading === 'enough' && statement.tags.some(tag)) return true;
  return (
    reaches(statement, reading, () => true) ??
    isMeant(known(statement), reading, (use) =>
      tagsUnknown(use) ? reading === 'enough' : isMeant(use.tags ?? [], reading, tag),
    )
  );
}

/**
 * Of schemas that are touched without a word about their relations: true where one is meant, which is enough, false
 * where nothing can be certain; null: the relations that are named decide.
 */
function reaches(
  { reaches: schemas }: StatementAnalysis,
  reading: Reading,
  matches: (schema: string | null) => boolean,
): boolean | null {
  if (schemas === undefined) return null;
  if (reading === 'certain') return false;
  return schemas.some(matches) ? true : null;
}

/** Classes of which the analysis says which columns are read and stored. */
const BY_COLUMN: ReadonlySet<StatementClass> = new Set(['session', 'read', 'write', 'bulk_write', 'export']);
const ANY: readonly null[] = [null];

/** What writes and stores in no column (LOCK, a cascade), or is a definition, touches all of them: null is any. */
function columnsOf(statement: StatementAnalysis, { columns, mode }: RelationUse): readonly (string | null)[] {
  if (columns === undefined || columns.read === null || columns.written === null) return ANY;
  if (mode === 'write' && columns.written.length === 0) return ANY;
  const all = [...columns.read, ...columns.written];
  return all.length === 0 && !BY_COLUMN.has(statement.class) ? ANY : all;
}

/** No catalog knows it, so nobody knows what its data are. */
function tagsUnknown({ schema, oid }: RelationUse): boolean {
  return schema === null || (oid === null && !isSystemSchema(schema));
}

const MAKES = /^CREATE (?:TABLE|FOREIGN TABLE|VIEW|MATERIALIZED VIEW|SEQUENCE)\b/;

/** Without the relation that the statement makes, which has no data yet: it is named first. */
function known({ command, relations }: StatementAnalysis): readonly RelationUse[] {
  const [first, ...others] = relations;
  if (first === undefined || first.oid !== null || first.mode !== 'write') return relations;
  return MAKES.test(command) ? others : relations;
}
