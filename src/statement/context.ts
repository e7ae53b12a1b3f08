import type { StatementAnalysis } from './analysis.ts';
import type { Answer } from './answers.ts';
import type { Catalog, Relation } from './catalog.ts';
import type { RowBoundBy } from './details.ts';
import type { Facts } from './facts.ts';
import type { Inner, Level } from './level.ts';
import type { Tree } from './tree.ts';

/** The limits that analysis needs, all in rows. */
export type AnalysisLimits = {
  readonly exportRows: number;
  readonly bulkWriteRows: number;
  readonly catalogRows: number;
};

/** Values of bind parameters, where they are known: text, raw bytes of the binary format, or null. */
export type ParameterValues = readonly (string | Buffer | null)[];

/** Values of a Bind as analysis takes them. */
export function parameterValues(
  parameters: readonly { readonly format: 0 | 1; readonly value: Buffer | null }[],
): ParameterValues {
  return parameters.map(({ format, value }) =>
    format === 0 && value !== null ? value.toString('utf8') : value,
  );
}

/**
 * What the analysis of one string carries along. One for the whole string (names that earlier statements prepared, the
 * search_path that they set), with `facts` and `level` exchanged as the walk goes down.
 */
export type Context = {
  /** As the statement at hand sees it; `base` is the one that was given. */
  catalog: Catalog | null;
  readonly base: Catalog | null;
  readonly limits: AnalysisLimits;
  readonly sql: Buffer;
  readonly parameters: ParameterValues | null;
  /** What the server said about the statement at hand; null: it was not asked. */
  answer: Answer | null;
  /** Schemas for bare names, without the implicit ones; null: unknown. */
  path: readonly string[] | null;
  /** This string has set search_path. */
  pathChanged: boolean;
  /** The statement at hand has set `path` to what it will be. */
  pathIsFresh: boolean;
  tempPossible: boolean;
  facts: Facts;
  /** The query whose expressions are being walked; null outside of any. */
  level: Level | null;
  /** Common table expressions in scope, innermost first. */
  ctes: CteScope | null;
  /** Inside a definition (a view, a default, a function's body): names are only written down, nothing runs. */
  definition: boolean;
  /** The body of the statement itself: nobody asks for the columns of its output. */
  root: Tree | null;
  rootSize: QuerySize | null;
  /** Sizes of the queries within, by their bodies. */
  sizes: Map<object, QuerySize> | null;
  depth: number;
  /** Views that may still be looked into; names of views within views can grow without end. */
  viewsLeft: number;
  /** Rows of all users' tables that were named so far (for what recursion can reach). */
  tableRows: number;
  /** The largest of them, and the byte where it stands. */
  largestRows: number;
  largestAt: number;
  /** Relations whose values can set off user-defined casts; looked at when the statement has been walked. */
  readonly casts: Relation[];
  /** System relations with a secret column that were read; likewise. */
  readonly secretColumns: { readonly schema: string; readonly name: string; readonly reason: string }[];
  /** Null: the text knows the name, but not any more what it is. */
  readonly prepared: Map<string, StatementAnalysis | null>;
  readonly portals: Map<string, StatementAnalysis>;
  /** Plain tables that this string has made; see made.ts. */
  readonly made: Set<string>;
  /** Rows that earlier statements of this string may have added, to any table. */
  grown: number;
  /** The statement at hand is executed later, when search_path may be another: that of function bodies is unknown. */
  later: boolean;
  /** The statements are a function's body: their sizes are collected instead of judged, and variables are known. */
  readonly body: { readonly level: Level; readonly sizes: QuerySize[] } | null;
};

/** How large the output of a query can be. `Infinity`: nothing bounds it. */
export type QuerySize = {
  readonly rows: number;
  /** A stored value or a document is unfolded into rows, which `rows` does not count: nothing bounds them. */
  readonly unfolds?: boolean;
  /** A LIMIT of its own; what unfolds is bounded by that alone. */
  readonly limit?: number;
  /** Rows of tables that one row of the output can carry (more than one: folded into it). */
  readonly perRow: number;
  /** Rows of tables that the whole output can carry. */
  readonly total: number;
  /** It reads users' tables, not only constants and system catalogs. */
  readonly data: boolean;
  /** It reads from at least one relation, system ones included. */
  readonly tables: boolean;
  /** A condition selects by equality (judged by shape, where sizes are unknown). */
  readonly filtered: boolean;
  /** Names of the output columns; null: unknown. */
  readonly columns: ReadonlySet<string> | null;
  /** Set where each row is one of the query's FROM list: conditions on it reach through. */
  readonly inner?: Inner | null;
  /** Column sets of which it has each combination of values once. */
  readonly keys?: readonly (readonly string[])[];
  /** What bounds `rows`, where they are bounded. */
  readonly by?: RowBoundBy;
};

export type CteScope = {
  readonly name: string;
  /** Null while the expression itself is being analysed (recursion). */
  size: QuerySize | null;
  usedByItself: boolean;
  readonly outer: CteScope | null;
};

/** Nesting deeper than this is not followed: the statement is `unparsed`. Keeps the walk well within the stack. */
export const DEEPEST_WALK = 700;

/** Views that are looked into for one string, those within views included; others are of any size. */
export const MOST_VIEWS = 100;

export function unparsed(context: Context, what: string): void {
  context.facts.raise('unparsed', what);
}

/** Raises the class for something that runs; inside a definition nothing does. */
export function raiseIfRun(context: Context, to: Parameters<Facts['raise']>[0], reason: string): void {
  if (!context.definition) context.facts.raise(to, reason);
}
