/**
 * What a row of the audit log tells of a statement whose facts (`told-facts.ts`) it does not have, and whether a
 * condition held for it. Every row has who and where, when, the class and the relations; not columns, tags, functions,
 * boundaries, commands and estimated sizes. What depends on those is not known (null), unless it cannot have held, or
 * must have.
 */
import type { RelationUse, StatementAnalysis, StatementClass } from '../statement/analysis.ts';
import type { DecisionContext } from './decision.ts';
import { matches } from './match.ts';
import { partsMatch } from './name-globs.ts';
import type { PolicyRule, RuleMatch, SizeCondition } from './rule.ts';

export type Told = {
  readonly class: StatementClass;
  readonly relations: readonly RelationUse[];
  /** False: it may have touched relations that it did not name. */
  readonly relationsWhole: boolean;
  readonly context: DecisionContext;
};

type Side<T> = { readonly wanted: T; readonly decision: PolicyRule['decision'] };

/** Of what the log has whole: as the rule itself would match. */
export function asMatched<K extends keyof RuleMatch>(
  key: K,
): (one: Side<NonNullable<RuleMatch[K]>>, told: Told) => boolean {
  return ({ wanted, decision }, told) =>
    matches({ name: '', decision, match: { [key]: wanted } }, statementOf(told), told.context);
}

/** Enough to hold or deny is one; one that was not named could have been meant too. */
export function toldRelations(one: Side<readonly string[]>, told: Told): boolean | null {
  const named = asMatched('relation')(one, told);
  if (told.relationsWhole) return named;
  return one.decision === 'allow' ? (named ? null : false) : named ? true : null;
}

/** Not known, but where no relation fits, or (to allow) one does not. */
export function toldColumns(one: Side<readonly string[]>, told: Told): boolean | null {
  const fits = ({ schema, name }: RelationUse) =>
    one.wanted.some((glob) => partsMatch(glob, [schema, name, null], 'enough'));
  if (one.decision === 'allow') {
    // What a definition makes is not asked for.
    const certain = NAMING.has(told.class) ? told.relations.every(fits) : true;
    return told.relations.length > 0 && certain ? null : false;
  }
  return told.relationsWhole && !told.relations.some(fits) ? false : null;
}

/** What touches no relation has no tags. */
export function toldTags({ decision }: Side<readonly string[]>, told: Told): boolean | null {
  if (told.relations.length > 0) return null;
  return decision === 'allow' || told.relationsWhole ? false : null;
}

/** What was estimated is not recorded; what nobody could read has no size. */
export function toldSize(_one: Side<SizeCondition>, told: Told): boolean | null {
  return told.class === 'unparsed' ? false : null;
}

/** Classes whose statements touch nothing but what they name. */
const NAMING: ReadonlySet<StatementClass> = new Set(['session', 'read', 'write', 'bulk_write', 'export']);

/**
 * False for what may touch relations without naming them (DROP SCHEMA, REASSIGN OWNED, VACUUM, a publication of a
 * schema). `sql` null: its text was erased.
 */
export function namesAll(name: StatementClass, relations: readonly unknown[], sql: string | null): boolean {
  if (NAMING.has(name)) return true;
  return relations.length > 0 && sql !== null && !/\bpublication\b/i.test(sql);
}

/** `schema.name` as it was recorded, or a name alone where nobody knew the schema. */
export function relationTold(text: string): RelationUse {
  const dot = text.indexOf('.');
  const schema = dot < 0 ? null : text.slice(0, dot);
  return { schema, name: text.slice(dot + 1), oid: null, mode: 'read' };
}

function statementOf(told: Told): StatementAnalysis {
  return { ...NOTHING, class: told.class, relations: told.relations };
}

/** A statement of which nothing else is known: only for conditions that ask for nothing else. */
export const NOTHING: StatementAnalysis = {
  start: 0,
  end: 0,
  command: '',
  class: 'session',
  reasons: ['as recorded'],
  cause: null,
  relations: [],
  tags: [],
  symbols: [],
  changesSearchPath: false,
  makesTemp: false,
  changesCatalog: false,
  rowBound: null,
  rowBoundBy: null,
  secrets: [],
  changesPinned: false,
  dependsOnParameters: [],
  unresolved: null,
  doubt: null,
  measured: null,
  calls: [],
  functions: [],
  operators: [],
  types: [],
  casts: [],
  settings: [],
  roles: [],
  boundary: [],
};
