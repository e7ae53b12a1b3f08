/**
 * What the server itself can say about a statement, asked on a side connection where nothing of the statement runs. Only
 * asked where an answer can lower the class: names that might mean a user's objects, or a size that nothing bounds.
 */

/** Why a statement might be judged more kindly if the server were asked about it. */
export type Doubt = {
  /** A name could mean a user's function, operator, cast or type: the server's own analyser knows which it means. */
  readonly names: boolean;
  /** It is an export (or a bulk write) only because nothing in text and catalog bounds it: the planner has an estimate. */
  readonly size: boolean;
  /** What bare names mean where this statement stands in its string. */
  readonly searchPath: readonly string[];
  /** Bytes of the string that the questions are about, where that is a query within; left out: the statement. */
  readonly part?: readonly [number, number];
  /** OIDs of its parameters' types, where it has parameters of its own (PREPARE); left out: those of the message. */
  readonly types?: readonly number[];
};

/**
 * What the server's analyser took the names for, after rewriting: views, rules, defaults and row security are in it. OIDs,
 * built-in ones (below 16384) included. What happens later is not in it: triggers, constraints, index expressions, the
 * bodies of functions, the casts to json that to_json looks for.
 */
export type Meaning = {
  /** Functions that are called, also behind operators, casts, aggregates and window functions. */
  readonly functions: ReadonlySet<number>;
  /** Operators: also those that ORDER BY, DISTINCT, GROUP BY, USING and IN imply. */
  readonly operators: ReadonlySet<number>;
  /** Relations in its range tables. */
  readonly relations: ReadonlySet<number>;
  /** Types of values that are passed on, compared or printed. */
  readonly flowing: ReadonlySet<number>;
  /** Types of values that are made: read from text, cast, checked, bound, returned by functions. */
  readonly made: ReadonlySet<number>;
  /** JSON constructors and queries stand in it, which turn values of any type into JSON. */
  readonly json: boolean;
};

/** What the planner expects. Numbers of rows; the planner may be wrong, so what it lets pass is measured. */
export type Estimate = {
  /** Rows that come back. */
  readonly rows: number;
  /** The most rows that go into any node that folds many rows into few; 0 where none does. */
  readonly foldedRows: number;
};

/** Null: was not asked, or could not say. */
export type Answer = {
  readonly meaning: Meaning | null;
  readonly estimate: Estimate | null;
  /** An estimate was asked for, and did not come in time. */
  readonly late?: boolean;
};

/** By the place of the statement in its string. */
export type Answers = readonly (Answer | null)[];
