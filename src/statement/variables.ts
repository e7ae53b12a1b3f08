import { Level } from './level.ts';

/** The variables and parameters that a function's body can name. */
export type BodyVariables = {
  readonly names: ReadonlySet<string>;
  /** What can stand before a dot: records, the function's own name, labels. */
  readonly qualifiers: ReadonlySet<string>;
  /**
   * A variable may be meant where a column has the same name (PL/pgSQL, by a setting): then such a name says nothing
   * about how many rows there are. In SQL functions the column is meant.
   */
  readonly mayHideColumns: boolean;
};

/** The level around a body's statements: names that are no columns there are variables, one value each. */
export function variableLevel({ names, qualifiers, mayHideColumns }: BodyVariables): Level {
  const level = new Level(null, mayHideColumns ? new Set([...names, ...qualifiers]) : null);
  for (const alias of ['', ...qualifiers])
    level.sources.push({
      alias,
      columns: names,
      relation: null,
      rows: 1,
      perRow: 1,
      data: false,
      tables: false,
      filtered: true,
      determines: true,
    });
  return level;
}
