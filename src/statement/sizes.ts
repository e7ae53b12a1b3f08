import type { Context } from './context.ts';
import { type Equality, equalitiesOf } from './equalities.ts';
import { flatten } from './flatten.ts';
import type { Level, Source } from './level.ts';

const MOST_SOURCES_TRIED = 12;
const MOST_SOURCES_FLATTENED = 40;

/**
 * The most rows that the FROM list and its conditions can give: the product over the sources, each counted as its
 * key allows once the sources before it are fixed. Tries each source as the first one.
 */
export function rowsOf(context: Context, level: Level): number {
  const { sources } = level;
  if (sources.length === 0) return 1;
  const direct = productOf(level, sources, equalitiesOf(context, level), level.fullJoined ?? NO_SOURCES);
  if (!sources.some(({ inner }) => inner != null) || direct <= 1) return direct;
  const flat = flatten(context, level);
  if (flat.sources.length > MOST_SOURCES_FLATTENED) return direct;
  return Math.min(direct, productOf(level, flat.sources, flat.equalities, flat.fullJoined));
}

/** Beyond these no order of the sources is looked for: each is taken by itself, which is never less. */
const MOST_SOURCES = 40;
const MOST_COMPARED = 30_000;

const NO_SOURCES: ReadonlySet<Source> = new Set();

/**
 * At least one row of each source: an outer join keeps the other side's rows. Of a FULL JOIN's at least two: without a match
 * l and r rows give l + r, which is never more than l times r where both are at least two.
 */
function productOf(
  level: Level,
  sources: readonly Source[],
  equalities: readonly Equality[],
  fullJoined: ReadonlySet<Source>,
): number {
  if (sources.length === 1) return factor(level, sources[0] as Source, equalities, NOTHING_PLACED);
  if (sources.length ** 2 * equalities.length > MOST_COMPARED || sources.length > MOST_SOURCES)
    return sources.reduce(
      (total, source) =>
        total * Math.max(fullJoined.has(source) ? 2 : 1, factor(level, source, equalities, NOTHING_PLACED)),
      1,
    );
  let best = Number.POSITIVE_INFINITY;
  for (const first of sources.slice(0, MOST_SOURCES_TRIED)) {
    best = Math.min(best, productFrom(level, first, sources, equalities, fullJoined));
  }
  return best;
}

/** True where a condition selects by equality with something that is known before the rows are. */
export function isFiltered(context: Context, level: Level): boolean {
  return equalitiesOf(context, level).some((equality) => equality.from.length === 0);
}

function productFrom(
  level: Level,
  first: Source,
  sources: readonly Source[],
  equalities: readonly Equality[],
  fullJoined: ReadonlySet<Source>,
): number {
  const placed = new Set<Source>();
  let total = 1;
  let next: Source | undefined = first;
  while (next !== undefined) {
    total *= Math.max(fullJoined.has(next) ? 2 : 1, factor(level, next, equalities, placed));
    placed.add(next);
    next = undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const source of sources) {
      if (placed.has(source)) continue;
      const rows = factor(level, source, equalities, placed);
      if (next === undefined || rows < least) [next, least] = [source, rows];
    }
  }
  return total;
}

/** The most rows of a source for one combination of rows of the sources that are placed. */
function factor(
  level: Level,
  source: Source,
  equalities: readonly Equality[],
  placed: ReadonlySet<Source>,
): number {
  let least = source.rows;
  if (equalities.length === 0) return least;
  const { relation, keys } = source;
  for (const key of keys ?? NO_KEYS) least = Math.min(least, byKey(key, source, equalities, placed));
  for (const key of relation?.uniqueKeys ?? NO_KEYS)
    least = Math.min(least, byKey(key, source, equalities, placed));
  if (least < source.rows) level.keyed = true;
  if (least <= 1 || relation === null || relation.rows === null) return least;
  for (const equality of equalities) {
    if (!isUsable(equality, source, placed)) continue;
    const share = relation.columns.find(({ name }) => name === equality.column)?.commonestShare ?? null;
    if (share === null) continue;
    // What the statistics do not know of may all have the value.
    const grown = Math.max(0, source.rows - relation.rows);
    const most = Math.ceil(relation.rows * share * equality.count) + grown;
    if (most >= least) continue;
    least = most;
    level.byStatistics = true;
  }
  return least;
}

const NO_KEYS: readonly (readonly string[])[] = [];

function byKey(
  key: readonly string[],
  source: Source,
  equalities: readonly Equality[],
  placed: ReadonlySet<Source>,
): number {
  let product = key.length > 0 ? 1 : Number.POSITIVE_INFINITY;
  for (const column of key) product *= valuesOf(column, source, equalities, placed);
  return product;
}

/** How many values a column can take, given what is placed. */
function valuesOf(
  column: string,
  source: Source,
  equalities: readonly Equality[],
  placed: ReadonlySet<Source>,
): number {
  let count = Number.POSITIVE_INFINITY;
  for (const equality of equalities) {
    if (equality.column === column && equality.count < count && isUsable(equality, source, placed))
      count = equality.count;
  }
  return count;
}

function isUsable(equality: Equality, source: Source, placed: ReadonlySet<Source>): boolean {
  if (equality.source !== source) return false;
  if (equality.restricts !== null && !equality.restricts.has(source)) return false;
  for (const other of equality.from) if (!placed.has(other) || !other.determines) return false;
  return true;
}

const NOTHING_PLACED: ReadonlySet<Source> = new Set();
