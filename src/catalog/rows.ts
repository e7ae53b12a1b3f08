import type { UserFunction, Volatility } from './judgement.ts';

/** Rows of pg_catalog, with their fields named. */

/** FirstNormalObjectId: what users make has this OID or a higher one. */
export const FIRST_USER_OID = 16_384;

/** A relation's name for people; both parts are written by users. */
export function label(relation: { readonly schema: string; readonly name: string }): string {
  return `${relation.schema}.${relation.name}`;
}

/** [name, type, typmod, not null, length, collation, generated, number] */
export type ColumnRow = readonly [string, number, number, boolean, number, number, string, number];

export type RelationRow = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: string;
  readonly reltuples: number;
  readonly relpages: number;
  /** Pages of the file now; null where it was not asked. */
  readonly pages: number | null;
  readonly rowSecurity: boolean;
  readonly accessMethod: string;
  /** JSON of `ColumnRow[]`, decoded when the relation is looked up. */
  readonly columns: string | null;
};
export type IndexRow = {
  readonly oid: number;
  readonly relation: number;
  readonly name: string;
  readonly unique: boolean;
  readonly keyColumns: number;
  readonly columns: readonly number[];
  readonly classes: readonly number[];
  readonly collations: readonly number[];
  readonly tree: string;
};
export type TypeRow = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `b`ase, `c`omposite, `d`omain, `e`num, `r`ange, `m`ultirange, `p`seudo. */
  readonly kind: string;
  readonly element: number;
  readonly base: number;
  readonly relation: number;
  /** Input, output, receive, send, typmod in and out; 0: none. */
  readonly functions: readonly number[];
  readonly rangeOf: number;
  readonly rangeClass: number;
  readonly rangeFunctions: readonly number[];
  readonly multirangeOf: number;
  readonly defaultTree: string;
};
export type FunctionRow = UserFunction & {
  readonly args: number;
  readonly defaults: number;
  readonly variadic: boolean;
  readonly allArgs: number;
  readonly argTypes: readonly number[];
  readonly returnType: number;
  readonly defaultsTree: string;
  /** The stored tree of BEGIN ATOMIC or RETURN; empty: none. */
  readonly sqlTree: string;
};
export type BuiltinRow = { readonly name: string; readonly volatility: Volatility; readonly symbol: string };
export type OperatorRow = {
  readonly schema: string;
  readonly name: string;
  readonly functions: readonly number[];
  readonly related: readonly number[];
};
export type ClassRow = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly family: number;
  readonly type: number;
  readonly isDefault: boolean;
};
export type FamilyMember = {
  readonly types: readonly number[];
  readonly kind: 'p' | 'o';
  readonly object: number;
};
export type CastRow = {
  readonly source: number;
  readonly target: number;
  readonly function: number;
  /** `e`xplicit, `a`ssignment, `i`mplicit. */
  readonly context: string;
  readonly label: string;
};
export type TriggerRow = {
  readonly oid: number;
  readonly name: string;
  readonly function: number;
  readonly type: number;
  readonly whenTree: string;
  /** It may run at the end of the transaction, under the search_path of then. */
  readonly deferrable: boolean;
};
export type RuleRow = {
  readonly oid: number;
  readonly name: string;
  /** `1` SELECT, `2` UPDATE, `3` INSERT, `4` DELETE. */
  readonly event: string;
  readonly nothing: boolean;
  readonly enabled: string;
  /** Built-in functions called and relations read. */
  readonly builtins: readonly number[];
  readonly systemRelations: readonly number[];
  /** ARRAY(SELECT …) stands in it. */
  readonly arraySubquery: boolean;
};
export type PolicyRow = { readonly oid: number; readonly name: string; readonly tree: string };
export type ConstraintRow = {
  readonly oid: number;
  readonly name: string;
  readonly kind: string;
  readonly relation: number;
  readonly type: number;
  readonly referenced: number;
  readonly onDelete: string;
  readonly onUpdate: string;
  readonly tree: string;
  /** Numbers of a foreign key's own columns. */
  readonly columns: readonly number[];
};
export type DefaultRow = { readonly oid: number; readonly column: number; readonly tree: string };
export type PartitionKeyRow = { readonly classes: readonly number[]; readonly tree: string };
export type StatisticsRow = { readonly oid: number; readonly name: string; readonly tree: string };
export type DependencyTarget = { readonly catalog: string; readonly oid: number };

/** A comment's tags; `column` null: of the relation itself. */
export type TagRow = { readonly column: string | null; readonly tags: readonly string[] };
/** What a view reads of a relation; `columns` null: whole rows. */
export type ViewColumnsRow = { readonly relation: number; readonly columns: readonly string[] | null };

export type ColumnStatisticsRow = {
  /** As in pg_stats: a number of values, or (negative) their share of the rows. */
  readonly distinct: number;
  readonly nulls: number;
  readonly commonest: number | null;
};
