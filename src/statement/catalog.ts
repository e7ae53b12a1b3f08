/**
 * What the names in a statement mean: the part of the upstream database's catalog that analysis needs, as plain
 * data. `src/catalog` loads it; analysis only looks things up. A missing answer means unknown, and unknown is held.
 */

export type RelationKind =
  | 'table'
  | 'partitioned'
  | 'view'
  | 'matview'
  | 'foreign'
  | 'sequence'
  | 'index'
  | 'toast'
  | 'composite';

export type Column = {
  readonly name: string;
  readonly typeOid: number;
  /** Type as `format_type` prints it, for people. */
  readonly type: string;
  /** The type is built in (not user-defined, nor an array or domain over a user-defined one). */
  readonly builtinType: boolean;
};

export type Relation = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  /** Estimated rows, with partitions and children; null: unknown (never analysed and not empty). */
  readonly rows: number | null;
  readonly columns: readonly Column[];
  /** Column sets of valid, immediate, whole (not partial), plain-column unique indexes. */
  readonly uniqueKeys: readonly (readonly string[])[];
  /**
   * User code or other hidden effects that an access sets off, in plain words; empty: none. Reads: view bodies,
   * row-security policies, operator classes. Writes: triggers (also of partitions, children, cascades), rules,
   * CHECK and domain constraints, defaults, generated columns, index expressions and predicates, assignment casts.
   */
  readonly effects: {
    readonly read: readonly string[];
    readonly insert: readonly string[];
    readonly update: readonly string[];
    readonly delete: readonly string[];
  };
  /** For a plain user view whose definition is itself to be judged: its SELECT text (pg_get_viewdef). */
  readonly viewDefinition: string | null;
};

export type CatalogFunction = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** The number of arguments it can take: from, to (`Infinity` for VARIADIC). */
  readonly minArgs: number;
  readonly maxArgs: number;
  /** The first argument is a composite type: it can be called as `row.name`. */
  readonly takesRow: boolean;
};

/** An immutable snapshot. Names are exactly as in pg_catalog (folded). */
export type Catalog = {
  /** Changes whenever the snapshot's content may have changed; part of every cache key. */
  readonly version: string;
  /** Server version number, e.g. 180004. */
  readonly serverVersion: number;
  /** The relation of that schema, or undefined. Covers pg_catalog and information_schema too. */
  readonly relation: (schema: string, name: string) => Relation | undefined;
  /** Every relation with that name, in any schema. */
  readonly relationsNamed: (name: string) => readonly Relation[];
  /** User-defined (OID >= 16384) functions, procedures and aggregates with that name, in any schema. */
  readonly functionsNamed: (name: string) => readonly CatalogFunction[];
  /** Schemas that hold a user-defined operator with that name. */
  readonly operatorSchemas: (name: string) => readonly string[];
  /** Schemas that hold a user-defined type with that name (also enums, domains, composites, row types). */
  readonly typesNamed: (
    name: string,
  ) => readonly { readonly schema: string; readonly effects: readonly string[] }[];
};
