import { builtinFunction } from './builtins.ts';
import { arrayLength, contains, evaluate } from './constants.ts';
import type { Context } from './context.ts';
import type { Condition, Level, Source } from './level.ts';
import { rememberedRows } from './query-sizes.ts';
import { bodyOf, list, nameParts, type Tree, text } from './tree.ts';

/**
 * A column that can take at most `count` values for each combination of rows of the sources in `from`.
 */
type Equality = {
  readonly source: Source;
  readonly column: string;
  readonly count: number;
  readonly from: readonly Source[];
  readonly restricts: ReadonlySet<Source> | null;
};

const MOST_SOURCES_TRIED = 12;
const INTEGER_TYPES = new Set([20, 21, 23]);

/**
 * The most rows that the FROM list and its conditions can give: the product over the sources, each counted as its
 * key allows once the sources before it are fixed. Tries each source as the first one.
 */
export function rowsOf(context: Context, level: Level): number {
  const { sources } = level;
  if (sources.length === 0) return 1;
  const equalities = equalitiesOf(context, level);
  if (sources.length === 1) return factor(sources[0] as Source, equalities, NOTHING_PLACED);
  let best = Number.POSITIVE_INFINITY;
  for (const first of sources.slice(0, MOST_SOURCES_TRIED)) {
    best = Math.min(best, productFrom(first, sources, equalities));
  }
  return best;
}

/** True where a condition selects by equality with something that is known before the rows are. */
export function isFiltered(context: Context, level: Level): boolean {
  return equalitiesOf(context, level).some((equality) => equality.from.length === 0);
}

function productFrom(first: Source, sources: readonly Source[], equalities: readonly Equality[]): number {
  const placed = new Set<Source>();
  let total = 1;
  let next: Source | undefined = first;
  while (next !== undefined) {
    // At least one: an outer join keeps the other side's rows.
    total *= Math.max(1, factor(next, equalities, placed));
    placed.add(next);
    next = undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const source of sources) {
      if (placed.has(source)) continue;
      const rows = factor(source, equalities, placed);
      if (next === undefined || rows < least) [next, least] = [source, rows];
    }
  }
  return total;
}

/** The most rows of a source for one combination of rows of the sources that are placed. */
function factor(source: Source, equalities: readonly Equality[], placed: ReadonlySet<Source>): number {
  let least = source.rows;
  const { relation } = source;
  if (relation === null || equalities.length === 0) return least;
  for (const key of relation.uniqueKeys) {
    let product = key.length > 0 ? 1 : Number.POSITIVE_INFINITY;
    for (const column of key) product *= valuesOf(column, source, equalities, placed);
    if (product < least) least = product;
  }
  if (least <= 1 || relation.rows === null) return least;
  for (const equality of equalities) {
    if (!isUsable(equality, source, placed)) continue;
    const share = relation.columns.find(({ name }) => name === equality.column)?.commonestShare ?? null;
    if (share !== null) least = Math.min(least, Math.ceil(relation.rows * share * equality.count));
  }
  return least;
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

function equalitiesOf(context: Context, level: Level): Equality[] {
  const found: Equality[] = [];
  for (const condition of level.conditions) {
    for (const part of conjuncts(condition.expression)) equalitiesIn(context, level, part, condition, found);
  }
  return found;
}

export function conjuncts(expression: unknown): unknown[] {
  const body = bodyOf(expression, 'BoolExpr');
  if (body === null || text(body, 'boolop') !== 'AND_EXPR') return [expression];
  return list(body, 'args').flatMap(conjuncts);
}

function equalitiesIn(
  context: Context,
  level: Level,
  part: unknown,
  condition: Condition,
  found: Equality[],
): void {
  const add = (column: unknown, count: number, value: unknown) => {
    const target = ownColumn(level, column);
    const from = value === null ? [] : sourcesIn(level, value);
    if (target !== null && from !== null && !from.includes(target.source))
      found.push({ ...target, count, from, restricts: condition.restricts });
  };
  const any = bodyOf(part, 'SubLink');
  if (any !== null) {
    const isEqual = list(any, 'operName').length === 0 || nameParts(list(any, 'operName')).at(-1) === '=';
    const rows =
      text(any, 'subLinkType') === 'ANY_SUBLINK' && isEqual
        ? rememberedRows(context, any['subselect'])
        : null;
    if (rows !== null && !isCorrelated(level, any['subselect'])) add(any['testexpr'], rows, null);
    return;
  }
  const either = bodyOf(part, 'BoolExpr');
  if (either !== null && text(either, 'boolop') === 'OR_EXPR')
    return alternatives(context, level, list(either, 'args'), condition, found);
  const expression = bodyOf(part, 'A_Expr');
  if (expression === null) return;
  const op = nameParts(list(expression, 'name')).at(-1);
  const left = expression['lexpr'];
  const right = expression['rexpr'];
  const kind = text(expression, 'kind');
  if (kind === 'AEXPR_BETWEEN') return add(left, integersBetween(level, left, right), null);
  if (op !== '=') return;
  if (kind === 'AEXPR_IN') {
    const items = list(bodyOf(right, 'List'), 'items');
    const rows = items.map((item) => list(bodyOf(item, 'RowExpr'), 'args'));
    const columns = list(bodyOf(left, 'RowExpr'), 'args');
    if (columns.length === 0) add(left, items.length, items);
    columns.forEach((column, i) => {
      add(
        column,
        items.length,
        rows.map((row) => row[i]),
      );
    });
  } else if (kind === 'AEXPR_OP_ANY') {
    const length = arrayLength(context, right);
    if (length !== null) add(left, length, right);
  } else if (kind === 'AEXPR_OP') {
    const [a, b] = [list(bodyOf(left, 'RowExpr'), 'args'), list(bodyOf(right, 'RowExpr'), 'args')];
    const pairs = a.length > 0 && a.length === b.length ? a.map((item, i) => [item, b[i]]) : [[left, right]];
    for (const [x, y] of pairs) {
      add(x, 1, y);
      add(y, 1, x);
    }
  }
}

/** `id = 1 OR id = 2`: every arm fixes the same column; the counts add up. */
function alternatives(
  context: Context,
  level: Level,
  arms: readonly unknown[],
  condition: Condition,
  found: Equality[],
): void {
  const each = arms.map((arm) => {
    const inner: Equality[] = [];
    for (const part of conjuncts(arm)) equalitiesIn(context, level, part, condition, inner);
    return inner.filter((equality) => equality.from.length === 0);
  });
  for (const { source, column } of each[0] ?? []) {
    const counts = each.map(
      (inner) =>
        inner.find((e) => e.source === source && e.column === column)?.count ?? Number.POSITIVE_INFINITY,
    );
    const count = counts.reduce((sum, n) => sum + n, 0);
    if (Number.isFinite(count))
      found.push({ source, column, count, from: [], restricts: condition.restricts });
  }
}

/** How many whole numbers lie between two constants, for a column of an integer type. */
function integersBetween(level: Level, column: unknown, bounds: unknown): number {
  const target = ownColumn(level, column);
  const type = target?.source.relation?.columns.find((c) => c.name === target.column)?.typeOid ?? 0;
  const [low, high] = list(bodyOf(bounds, 'List'), 'items').map(evaluate);
  if (!INTEGER_TYPES.has(type) || low?.kind !== 'number' || high?.kind !== 'number')
    return Number.POSITIVE_INFINITY;
  return Math.max(0, Math.floor(high.value) - Math.ceil(low.value) + 1);
}

/** The source and column that an expression names, if it is a plain column of this level, certainly. */
export function ownColumn(level: Level, expression: unknown): { source: Source; column: string } | null {
  const ref = bodyOf(expression, 'ColumnRef');
  if (ref === null) return null;
  const found = resolve(level, nameParts(list(ref, 'fields')));
  return typeof found === 'string' ? null : found;
}

type Resolved = { source: Source; column: string } | 'outer' | 'unknown';

function resolve(level: Level, parts: readonly string[]): Resolved {
  const column = parts.at(-1) ?? '';
  if (column === '*' || column === '') return 'unknown';
  if (parts.length > 1) {
    const source = level.sources.find(({ alias }) => alias === parts.at(-2));
    if (source !== undefined) return { source, column };
    return isOuterAlias(level.parent, parts.at(-2) ?? '') ? 'outer' : 'unknown';
  }
  const merged = level.merged?.get(column);
  if (merged !== undefined) return { source: merged, column };
  const known = level.sources.filter(({ columns }) => columns?.has(column));
  const [only] = known;
  if (known.length === 1 && only !== undefined) return { source: only, column };
  // Without columns there is one source to which a bare name can belong; with two nobody knows.
  const open = level.sources.filter(({ columns }) => columns === null);
  const [single] = open;
  if (known.length === 0 && open.length === 1 && single !== undefined && level.sources.length === 1)
    return { source: single, column };
  return known.length === 0 &&
    open.length === 0 &&
    level.parent !== null &&
    !level.sources.some((s) => s.alias === column)
    ? 'outer'
    : 'unknown';
}

/** A qualifier that no query around this one knows may be anything (an alias of a join, `excluded`). */
function isOuterAlias(level: Level | null, alias: string): boolean {
  for (let at = level; at !== null; at = at.parent)
    if (at.sources.some((s) => s.alias === alias)) return true;
  return false;
}

const NO_SOURCES: readonly Source[] = [];
const UNCERTAIN = new Set(['SubLink', 'CollateClause', 'A_Star', 'CurrentOfExpr', 'SetToDefault']);

/**
 * The sources of this level that an expression's value depends on; null where that is not certain (it holds a
 * sub-query, a collation, a volatile function, or a name that could be anything).
 */
function sourcesIn(level: Level, expression: unknown): readonly Source[] | null {
  if (bodyOf(expression, 'A_Const') !== null || bodyOf(expression, 'ParamRef') !== null) return NO_SOURCES;
  if (contains(expression, UNCERTAIN) && !isScalarConstant(level, expression)) return null;
  const found: Source[] = [];
  return gather(level, expression, found) ? found : null;
}

/** `(SELECT …)` that returns one value and has nothing to do with this level's rows. */
function isScalarConstant(level: Level, expression: unknown): boolean {
  const link = bodyOf(expression, 'SubLink');
  return (
    link !== null && text(link, 'subLinkType') === 'EXPR_SUBLINK' && !isCorrelated(level, link['subselect'])
  );
}

function gather(level: Level, node: unknown, found: Source[]): boolean {
  if (typeof node !== 'object' || node === null) return true;
  if (Array.isArray(node)) return node.every((item) => gather(level, item, found));
  for (const key in node) {
    const value = (node as Tree)[key];
    if (key === 'SubLink') continue;
    if (key === 'ColumnRef') {
      const where = resolve(level, nameParts(list(value, 'fields')));
      if (where === 'unknown') return false;
      if (where !== 'outer' && !found.includes(where.source)) found.push(where.source);
    } else if (key === 'FuncCall') {
      const builtin = builtinFunction(nameParts(list(value, 'funcname')).at(-1) ?? '');
      if (builtin === undefined || builtin.volatile || builtin.aggregate || builtin.returnsSet) return false;
      if (!gather(level, value, found)) return false;
    } else if (!gather(level, value, found)) return false;
  }
  return true;
}

/** True where a sub-query may refer to rows of this level. */
function isCorrelated(level: Level, subquery: unknown): boolean {
  if (typeof subquery !== 'object' || subquery === null) return false;
  if (Array.isArray(subquery)) return subquery.some((item) => isCorrelated(level, item));
  for (const key in subquery) {
    const value = (subquery as Tree)[key];
    if (key === 'ColumnRef') {
      const parts = nameParts(list(value, 'fields'));
      if (parts.length > 1 && level.sources.some(({ alias }) => alias === parts.at(-2))) return true;
    }
    if (isCorrelated(level, value)) return true;
  }
  return false;
}
