import type { Relation } from './catalog.ts';
import type { RowBoundBy } from './details.ts';
import type { NotedUse } from './relation-use.ts';

/** One item of a FROM list (or the target of a write), as far as sizes need it. */
export type Source = {
  readonly alias: string;
  /** Null: unknown, so any bare column could be one of it. */
  readonly columns: ReadonlySet<string> | null;
  readonly relation: Relation | null;
  /** The use of the relation, for the columns that are read. */
  readonly use?: NotedUse;
  /** The most rows it can have. */
  readonly rows: number;
  readonly perRow: number;
  readonly data: boolean;
  readonly tables: boolean;
  readonly filtered: boolean;
  /** Its values are few and known (constants, a bounded query), so that a key can be looked up by them. */
  readonly determines: boolean;
  /** A query whose rows are those of its own FROM list: conditions and keys reach through it. */
  readonly inner?: Inner | null;
  /** Column sets of which it has each combination of values once, beside those of `relation`. */
  readonly keys?: readonly (readonly string[])[];
  /** As `QuerySize.unfolds`. */
  readonly unfolds?: boolean;
  /** What bounds a sub-query. */
  readonly by?: RowBoundBy;
};

/** What a query is made of, for those who select from it. */
export type Inner = {
  readonly level: Level;
  /** The expression behind each column of its output. */
  readonly outputs: ReadonlyMap<string, unknown>;
};

/** A condition, and which sources it restricts (null: all; outer joins restrict only one side). */
export type Condition = { readonly expression: unknown; readonly restricts: ReadonlySet<Source> | null };

/** One query level: what its expressions were seen to do, for the size of its output. */
export class Level {
  readonly parent: Level | null;
  readonly sources: Source[] = [];
  readonly conditions: Condition[] = [];
  aggregates = false;
  /** A user's function in it is, or may be, an aggregate: then it gives one row, also of none. */
  mayAggregate = false;
  /** A folding aggregate, or a window function that folds. */
  folds = false;
  /** Rows that sub-queries in the select list put into each row. */
  carried = 0;
  /** Sub-queries in the select list read users' tables. */
  carriesData = false;
  /** What set-returning functions in the select list multiply by. */
  multiplied = 1;
  /** The select list unfolds a value of a row into rows. */
  unfoldsValues = false;
  /** Columns that USING merged, with the source whose value they have. */
  merged: Map<string, Source> | null = null;
  /** Both sides of FULL JOINs: one row and one that does not match it are two. */
  fullJoined: Set<Source> | null = null;
  /** `WHERE name = '…'` over pg_settings: the setting that `set_config(name, …)` is about. */
  fixedSetting: string | null = null;

  /** A unique key, or a statistic of the server, made the number of rows less than its sources have. */
  keyed = false;
  byStatistics = false;

  /** Names of a function's variables that may be meant although a column has the same name. */
  readonly variables: ReadonlySet<string> | null;

  constructor(parent: Level | null, variables: ReadonlySet<string> | null = parent?.variables ?? null) {
    this.parent = parent;
    this.variables = variables;
  }

  merge(column: string, source: Source): void {
    this.merged ??= new Map();
    this.merged.set(column, source);
  }

  get unfolds(): boolean {
    return this.unfoldsValues || this.sources.some((source) => source.unfolds === true);
  }

  get data(): boolean {
    return this.sources.some((source) => source.data);
  }
}
