import { ownColumn } from './columns.ts';
import type { Context } from './context.ts';
import { type Equality, equalitiesOf } from './equalities.ts';
import type { Level, Source } from './level.ts';

/** Sources and equalities of a level, with the queries in its FROM list taken apart. */
export type Flat = {
  readonly sources: readonly Source[];
  readonly equalities: readonly Equality[];
  /** As `Level.fullJoined`. */
  readonly fullJoined: ReadonlySet<Source>;
};

const DEEPEST = 16;

/**
 * A query in FROM (or a view) each of whose rows is one of its own FROM list is replaced by that list, so that a
 * condition on its output selects below. Every use of a query gets sources of its own.
 */
export function flatten(context: Context, level: Level): Flat {
  return flattened(context, level, 0);
}

type Parts = {
  readonly sources: readonly Source[];
  /** Where a column of the output comes from; null: it is computed. */
  readonly column: (name: string) => { source: Source; column: string } | null;
};

function flattened(context: Context, level: Level, depth: number): Flattened {
  const sources: Source[] = [];
  const equalities: Equality[] = [];
  const fullJoined = new Set<Source>();
  const parts = new Map<Source, Parts>();
  for (const source of level.sources) {
    const part = partsOf(context, source, depth, equalities, fullJoined);
    sources.push(...part.sources);
    if (level.fullJoined?.has(source) === true) for (const one of part.sources) fullJoined.add(one);
    parts.set(source, part);
  }
  for (const equality of equalitiesOf(context, level)) {
    const target = parts.get(equality.source)?.column(equality.column) ?? null;
    if (target === null) continue;
    const from = equality.from.flatMap((source) => parts.get(source)?.sources ?? [source]);
    const restricts =
      equality.restricts === null
        ? null
        : new Set([...equality.restricts].flatMap((source) => parts.get(source)?.sources ?? [source]));
    equalities.push({ ...target, count: equality.count, from, restricts });
  }
  return { sources, equalities, fullJoined, parts };
}

type Flattened = Flat & { readonly parts: ReadonlyMap<Source, Parts> };

function partsOf(
  context: Context,
  source: Source,
  depth: number,
  equalities: Equality[],
  fullJoined: Set<Source>,
): Parts {
  const { inner } = source;
  if (inner == null || depth >= DEEPEST) {
    const copy = { ...source };
    return { sources: [copy], column: (column) => ({ source: copy, column }) };
  }
  const below = flattened(context, inner.level, depth + 1);
  equalities.push(...below.equalities);
  for (const one of below.fullJoined) fullJoined.add(one);
  return {
    sources: below.sources,
    column: (name) => {
      const own = ownColumn(inner.level, inner.outputs.get(name));
      return own === null ? null : (below.parts.get(own.source)?.column(own.column) ?? null);
    },
  };
}
