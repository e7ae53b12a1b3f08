import type { NameScope } from './analysis.ts';

/**
 * What the names in a statement mean: the part of the upstream database's catalog that analysis needs, as plain
 * data. `src/catalog` loads it; analysis only looks things up. A missing answer means unknown, and unknown is held.
 */

import type { Meaning } from './answers.ts';
import type { Volatility } from './details.ts';
import type { Tree } from './tree.ts';

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
  /**
   * Share (0 to 1) of rows that the commonest value has, by the server's statistics: `rows * share` is the most that
   * an equality selects. Null or left out: not known.
   */
  readonly commonestShare?: number | null;
  /** Number of different values, by the server's statistics; null or left out: not known. */
  readonly distinctValues?: number | null;
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
   * Those of a write hold those of a read, too (WHERE, RETURNING); `SET column = DEFAULT` is in `update`. ON CONFLICT DO
   * UPDATE and MERGE set off those of each action that they name.
   */
  readonly effects: {
    readonly read: readonly string[];
    readonly insert: readonly string[];
    readonly update: readonly string[];
    readonly delete: readonly string[];
  };
  /**
   * A read may give values that each hold many rows, as far as the catalog can tell; who looks into the view knows
   * better. Left out: it does not.
   */
  readonly folds?: boolean;
  /** User code that ANALYZE of it calls: also what indexes and statistics are over. Left out: not known. */
  readonly analyzeEffects?: readonly string[];
  /**
   * The access runs functions of users, all of them known, which look names up when they run. Left out: not known that
   * it does.
   */
  readonly runsUserCode?: {
    readonly read: boolean;
    readonly insert: boolean;
    readonly update: boolean;
    readonly delete: boolean;
  };
  /**
   * User code that a cast of one of its columns' values can call, in plain words: implicit casts, those that storing
   * the value elsewhere picks, and casts to json, which `to_json`, `json_agg` and their kin look for. Not part of
   * `effects.read`: reading the columns as they are calls none of it.
   */
  readonly castEffects: readonly string[];
  /** What foreign keys delete or update elsewhere, closed over, when rows of it are deleted or their keys updated. */
  readonly cascades: {
    readonly update: readonly Cascade[];
    readonly delete: readonly Cascade[];
  };
  /** For a plain user view whose definition is itself to be judged: its SELECT text (pg_get_viewdef). */
  readonly viewDefinition: string | null;
  /** The same, parsed: a `SelectStmt` as libpg-query gives it. Null or left out: it cannot be looked into. */
  readonly viewQuery?: Tree | null;
  /** Tags of the relation, by comment or configuration, also of its partitions and of what a view reads. */
  readonly tags?: readonly string[];
  /** Tags of its columns, by name; left out where none has any. */
  readonly columnTags?: ReadonlyMap<string, readonly string[]>;
};

export type Cascade = {
  readonly schema: string;
  readonly name: string;
  readonly action: 'update' | 'delete';
  /** Rows of that relation, as in `Relation.rows`: no cascade touches more. */
  readonly rows: number | null;
  /** Rows of it that one row there can have, at most, by the server's statistics. Null or left out: not known. */
  readonly rowsEach?: number | null;
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
  /** As declared; left out: not known. */
  readonly volatility?: Volatility;
  /** Runs with its owner's rights; left out: not known. */
  readonly securityDefiner?: boolean;
  /** An aggregate; left out: not known, so it may be one. */
  readonly aggregate?: boolean;
  /** Returns any number of rows; left out: not known, so it may. */
  readonly returnsSet?: boolean;
  /** Empty: what a call does is known, and said in `does`. Otherwise why it counts as user code, in plain words. */
  readonly effects: readonly string[];
  /** What a call does where `effects` is empty; left out: it computes and reads. */
  readonly does?: FunctionDeed;
  /** How much of users' tables a call gives back; left out: not known. */
  readonly size?: FunctionSize | undefined;
};

/** `reason`: as in "calls f, which …". */
export type FunctionDeed = { readonly class: 'read' | 'write' | 'export'; readonly reason: string };

/** What one call of a function gives back, at most. */
export type FunctionSize = {
  /** Rows; 1 where it returns no set. `Infinity`: nothing bounds them. */
  readonly rows: number;
  /** Rows of tables that one row can carry, as in `QuerySize`. */
  readonly perRow: number;
  /** It gives back what it read in users' tables. */
  readonly data: boolean;
};

/** What the server took the names of one statement for, as the catalog knows it. */
export type Meant = {
  /** User code that is called, and is not proved harmless, in plain words; also what is not in the catalog. */
  readonly effects: readonly string[];
  /** Names of the built-in functions: bare for pg_catalog, qualified for other schemas. */
  readonly builtins: readonly string[];
  /** Values become JSON somewhere, for which the server looks for casts while it runs. */
  readonly json: boolean;
  /** See `StatementAnalysis.calls`. */
  readonly calls: readonly string[];
};

/** An immutable snapshot. Names are exactly as in pg_catalog (folded). */
export type Catalog = {
  /** Changes whenever the snapshot's content may have changed; part of every cache key. */
  readonly version: string;
  /** Changes whenever what names mean may have changed; sizes and statistics do not matter. Left out: as `version`. */
  readonly objects?: string;
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
  /** Looks up what the server's analyser found. */
  readonly meant: (meaning: Meaning) => Meant;
  /**
   * User code that types alone can set off, with no name of it in the statement: casts between built-in types, default
   * operator classes for them. Only a superuser can make these; where there are any, no statement is free of effects.
   */
  readonly ambientEffects: readonly string[];
  /** User code that ANALYZE of all tables can call. Left out: not known. */
  readonly analyzeEffects?: readonly string[];
  /**
   * The same snapshot as a session with that scope sees it: a function that pins no search_path runs under its
   * caller's, so what it does (and what triggers, defaults and views that call it set off) depends on that. Left out:
   * it makes no difference. Without this, what is not pinned is judged as under a path that nobody knows.
   */
  readonly under?: (scope: NameScope) => Catalog;
};
