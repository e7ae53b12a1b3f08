import { sameExpression } from './constants.ts';
import type { Inner, Level } from './level.ts';
import { bodyOf, constantOf, list, nameParts, type Tree, text } from './tree.ts';

/** The columns of a query's output: names in order, with the expressions behind them. */
export type Outputs = {
  readonly expressions: ReadonlyMap<string, unknown>;
  /** Two of them have one name, so that a place in the list says nothing. */
  readonly twice: boolean;
};

/** Null where a star over something unknown hides them. */
export function outputsOf(targets: readonly unknown[], level: Level): Outputs | null {
  const expressions = new Map<string, unknown>();
  let count = 0;
  const add = (name: string, expression: unknown) => {
    count += 1;
    // Whoever asks for a name that is there twice is refused by the server.
    expressions.set(name, expressions.has(name) ? null : expression);
  };
  for (const target of targets) {
    const body = bodyOf(target, 'ResTarget');
    const value = body?.['val'];
    const parts = nameParts(list(bodyOf(value, 'ColumnRef'), 'fields'));
    const alias = text(body, 'name');
    if (alias !== '') add(alias, value);
    else if (parts.at(-1) === '*') {
      const stars =
        parts.length === 1 ? level.sources : level.sources.filter((s) => s.alias === parts.at(-2));
      if (stars.length === 0) return null;
      for (const star of stars) {
        if (star.columns === null) return null;
        for (const column of star.columns) add(column, referenceTo(star.alias, column));
      }
    } else {
      const called = nameParts(list(bodyOf(value, 'FuncCall'), 'funcname')).at(-1);
      add(parts.at(-1) ?? called ?? '?column?', value);
    }
  }
  return { expressions, twice: expressions.size !== count };
}

function referenceTo(alias: string, column: string): Tree {
  return { ColumnRef: { fields: [{ String: { sval: alias } }, { String: { sval: column } }] } };
}

/** The same query under other names for its columns; null where they cannot be told apart. */
export function renamedInner(inner: Inner | null, names: readonly string[]): Inner | null {
  if (inner === null || names.length === 0) return inner;
  const outputs = new Map(
    [...inner.outputs].map(([name, expression], place) => [names[place] ?? name, expression]),
  );
  return outputs.size === inner.outputs.size && names.length <= outputs.size
    ? { level: inner.level, outputs }
    : null;
}

/**
 * GROUP BY gives each combination of its values once: the output columns that hold them, where all of them are there.
 * Only by place in the list, or by the same expression: a bare name may mean an input column that is hidden by an alias.
 */
export function groupKeys(clause: readonly unknown[], { expressions }: Outputs): string[][] {
  const names = [...expressions.keys()];
  const key: string[] = [];
  for (const item of clause) {
    const place = constantOf(item);
    const name =
      place?.kind === 'number'
        ? names[place.value - 1]
        : names.find((candidate) => sameExpression(expressions.get(candidate), item));
    if (name === undefined) return [];
    key.push(name);
  }
  return [key];
}
