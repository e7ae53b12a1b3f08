/** What is known about a statement. Facts and the class that follows from them; no opinion about what to do. */

import type { Doubt } from './answers.ts';
import type { Cause, RowBoundBy, StatementDetails } from './details.ts';
import type { ParseFailure } from './parse-result.ts';

/** The classes in rising order (DESIGN.md, section 7): a statement has the highest that any part of it has. */
export const STATEMENT_CLASSES = [
  'session',
  'read',
  'write',
  'bulk_write',
  'export',
  'ddl',
  'privilege',
  'opaque',
  'admin',
  'unparsed',
] as const;
export type StatementClass = (typeof STATEMENT_CLASSES)[number];

/** The higher of two classes. */
export function higherClass(a: StatementClass, b: StatementClass): StatementClass {
  return STATEMENT_CLASSES.indexOf(a) >= STATEMENT_CLASSES.indexOf(b) ? a : b;
}

/** A relation that a statement names, as it was resolved. `schema` is null where it could not be resolved. */
export type RelationUse = {
  readonly schema: string | null;
  readonly name: string;
  readonly oid: number | null;
  readonly mode: 'read' | 'write';
  /** Left out: nobody can tell which. */
  readonly columns?: ColumnUse;
  /** Tags of the relation, and of the columns that are read or written. */
  readonly tags?: readonly string[];
};

/**
 * Columns of a relation that a use reads, and those that it stores. Null: nobody can tell, so it may be any. Where a
 * name could belong to several relations it stands at each of them.
 */
export type ColumnUse = {
  readonly read: readonly string[] | null;
  readonly written: readonly string[] | null;
};

/** A name that SQL shares with the protocol's own prepared statements and portals, or the transaction state. */
export type SymbolUse =
  | { readonly kind: 'prepare'; readonly name: string; readonly body: StatementAnalysis }
  | { readonly kind: 'execute'; readonly name: string }
  /** `name` null: DEALLOCATE ALL. */
  | { readonly kind: 'deallocate'; readonly name: string | null }
  | {
      readonly kind: 'declare';
      readonly name: string;
      readonly hold: boolean;
      readonly body: StatementAnalysis;
    }
  | { readonly kind: 'fetch'; readonly name: string; readonly count: number | 'all'; readonly move: boolean }
  /** `name` null: CLOSE ALL. */
  | { readonly kind: 'close'; readonly name: string | null }
  | { readonly kind: 'transaction'; readonly op: TransactionOp }
  | { readonly kind: 'discard'; readonly what: 'all' | 'plans' | 'sequences' | 'temp' };

export type TransactionOp =
  | 'begin'
  | 'commit'
  | 'rollback'
  | 'commit_and_chain'
  | 'rollback_and_chain'
  | 'savepoint'
  | 'release'
  | 'rollback_to'
  | 'two_phase';

/** Numbers of rows; null: nothing bounds them. */
export type StatementSizes = {
  /** Of tables, at most, that its result can carry: each row for itself, or folded into few values. */
  readonly carried: number | null;
  /** The same as the planner expects it; null: it was not asked, or many rows are folded. */
  readonly expected: number | null;
  /** Those that are folded into its values, where `carried` is about more than one FETCH gives. */
  readonly folded?: number;
  /** That it may store, change or delete at most, foreign keys' cascades included. */
  readonly written: number | null;
};

/** One statement of a string. */
export type StatementAnalysis = StatementDetails & {
  /** Byte offsets into the UTF-8 text, `[start, end)`, without the semicolon. */
  readonly start: number;
  readonly end: number;
  /** What is asked, as Postgres would tag it (`SELECT`, `DROP TABLE`, `COPY`); best effort, for people. */
  readonly command: string;
  /**
   * All that it does, where that is more than its tag says: what it explains by running it, prepares or has in a WITH
   * (`SELECT`, `DELETE`), the parts of an ALTER TABLE (`ALTER TABLE DROP COLUMN`).
   */
  readonly commands?: readonly string[];
  readonly class: StatementClass;
  /** Non-empty; each names the part of the statement that caused the class, in plain words. */
  readonly reasons: readonly string[];
  /** The part of the statement that gave it its class; null for what only reads, and where it is in another text. */
  readonly cause: Cause | null;
  readonly relations: readonly RelationUse[];
  /** Schemas of which it touches relations that it does not name (DROP SCHEMA); null: of any. Left out: of none. */
  readonly reaches?: readonly (string | null)[];
  /** Of everything that it reads or writes, in order of name. */
  readonly tags: readonly string[];
  readonly symbols: readonly SymbolUse[];
  /** May change the search_path of the session (SET, RESET, set_config, DISCARD ALL). */
  readonly changesSearchPath: boolean;
  /** May make temporary objects, which can then be meant by a bare name. */
  readonly makesTemp: boolean;
  /** Changes what names mean (DDL): the catalog must be read again once it has run. */
  readonly changesCatalog: boolean;
  /**
   * Functions of users run in it, directly or through triggers and views, which look names up when they run: what was
   * known of them is only true while search_path is the same.
   */
  readonly runsUserCode?: boolean;
  /** Rows that can come back: a constant, or null where nothing bounds them. */
  readonly rowBound: number | null;
  /** What bounds them; null where no rows come back. */
  readonly rowBoundBy: RowBoundBy | null;
  /** How many rows it is about, for policy; left out where it is not a query, nor runs one. */
  readonly sizes?: StatementSizes;
  /**
   * Byte ranges `[start, end)` of literals that the grammar marks as secrets (role passwords, user-mapping and
   * server options, connection strings): never shown and never stored.
   */
  readonly secrets: readonly (readonly [number, number])[];
  /** Changes a pinned setting (of itself, or when it is executed). */
  readonly changesPinned: boolean;
  /**
   * Numbers of the parameters (`$n`) whose values decide the class or the row bound (LIMIT $1, = ANY($2),
   * set_config($1, …)); where they are not known the worst was assumed. Empty for nearly every statement.
   */
  readonly dependsOnParameters: readonly number[];
  /** A prepared statement or portal that another message made; `resolveNames` fills in what it is. */
  readonly unresolved: UnresolvedName | null;
  /** Set where the server could still say something that lowers the class; null where its answers count already. */
  readonly doubt: Doubt | null;
  /** What its rows and bytes are to be measured against while it flows; null: what bounds them is known beforehand. */
  readonly measured: Measure | null;
  /**
   * Users' functions that the server says are called, each as signature, OID and digest of its body; empty where it was
   * not asked. An approval is bound to them: an overload that fits better, or another body, is another call.
   */
  readonly calls: readonly string[];
  /** Equal for statements that differ in constants alone, for the audit log; left out where nobody made it. */
  readonly fingerprint?: string;
};

/**
 * `export`: it flows by an estimate of the planner alone, so the limits of an export. `catalog`: it reads system catalogs
 * alone, which nothing bounds in them but `catalogRows`; not a reason to hold anything.
 */
export type Measure = 'export' | 'catalog';

/** A name that the text alone does not explain, and what the rest of the statement is without it. */
export type UnresolvedName = {
  readonly kind: 'statement' | 'portal';
  readonly name: string;
  readonly class: StatementClass;
  readonly reasons: readonly string[];
  /** `run`: it is executed. `explain`: it is only planned. `fetch`: FETCH or MOVE, of `count` rows. */
  readonly use: 'run' | 'explain' | 'fetch';
  readonly count: number | 'all';
};

/** A whole string, as sent in one Query or Parse. */
export type Analysis = {
  readonly statements: readonly StatementAnalysis[];
  /** The highest class of all statements; `session` for an empty string. */
  readonly class: StatementClass;
  /** The reasons of the statements that have that class. */
  readonly reasons: readonly string[];
  /** A pinned setting (client_encoding, standard_conforming_strings) is changed: denied, not held. */
  readonly changesPinned: boolean;
  /** Our grammar does not read it; `position` is a 1-based character position, null where unknown. */
  readonly syntaxError: {
    readonly message: string;
    readonly position: number | null;
    /** Anything but `syntax`: nobody could look at it, so it is not a mistake to be left to the server. */
    readonly cause: ParseFailure;
  } | null;
};

/** How bare names are resolved where this statement runs. */
export type NameScope = {
  /** Null: unknown, so every schema could be meant. Without pg_catalog and pg_temp, which are implicit. */
  readonly searchPath: readonly string[] | null;
  /** A temporary object may exist in the session. */
  readonly tempPossible: boolean;
};
