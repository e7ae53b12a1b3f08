import { baseColumn, isCorrelated, ownColumn, sourcesIn } from './columns.ts';
import { arrayLength, evaluate } from './constants.ts';
import type { Context } from './context.ts';
import type { Condition, Level, Source } from './level.ts';
import { rememberedRows } from './query-sizes.ts';
import { bodyOf, list, nameParts, text } from './tree.ts';

/**
 * A column that can take at most `count` values for each combination of rows of the sources in `from`.
 */
export type Equality = {
  readonly source: Source;
  readonly column: string;
  readonly count: number;
  readonly from: readonly Source[];
  readonly restricts: ReadonlySet<Source> | null;
};

const INTEGER_TYPES = new Set([20, 21, 23]);

/** What the conditions of a level say about single columns. */
export function equalitiesOf(context: Context, level: Level): Equality[] {
  const found: Equality[] = [];
  for (const condition of level.conditions) {
    for (const part of conjuncts(condition.expression)) {
      equalitiesIn(context, level, part, condition, found);
    }
  }
  if (level.conditions.length > 0) rangesIn(level, found);
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
    const columns = list(bodyOf(left, 'RowExpr'), 'args');
    // A long list of constants has the same ones over and over.
    const different = items.length > 100 ? [...new Set(items)] : items;
    if (columns.length === 0) return add(left, items.length, different);
    const rows = different.map((item) => list(bodyOf(item, 'RowExpr'), 'args'));
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

type Bounds = { low: number; high: number; readonly target: { source: Source; column: string } };

/** `id >= 5 AND id < 50`, on a column of an integer type. Only conditions that restrict all sources count. */
function rangesIn(level: Level, found: Equality[]): void {
  const ranges: Bounds[] = [];
  for (const { expression, restricts } of level.conditions) {
    if (restricts !== null) continue;
    for (const part of conjuncts(expression)) boundsIn(level, part, ranges);
  }
  for (const { low, high, target } of ranges) {
    const count = Math.max(0, high - low + 1);
    if (Number.isFinite(count)) found.push({ ...target, count, from: [], restricts: null });
  }
}

function boundsIn(level: Level, part: unknown, ranges: Bounds[]): void {
  const body = bodyOf(part, 'A_Expr');
  const op = body === null ? '' : (nameParts(list(body, 'name')).at(-1) ?? '');
  if (body === null || text(body, 'kind') !== 'AEXPR_OP' || !['<', '<=', '>', '>='].includes(op)) return;
  const target = ownColumn(level, body['lexpr']);
  const value = evaluate(body['rexpr']);
  const type = target === null ? 0 : (baseColumn(target.source, target.column)?.column.typeOid ?? 0);
  if (target === null || value?.kind !== 'number' || !INTEGER_TYPES.has(type)) return;
  let range = ranges.find((r) => r.target.source === target.source && r.target.column === target.column);
  if (range === undefined) {
    range = { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY, target };
    ranges.push(range);
  }
  if (op === '>' || op === '>=')
    range.low = Math.max(range.low, op === '>' ? Math.floor(value.value) + 1 : Math.ceil(value.value));
  else range.high = Math.min(range.high, op === '<' ? Math.ceil(value.value) - 1 : Math.floor(value.value));
}

/** How many whole numbers lie between two constants, for a column of an integer type. */
function integersBetween(level: Level, column: unknown, bounds: unknown): number {
  const target = ownColumn(level, column);
  const type = target === null ? 0 : (baseColumn(target.source, target.column)?.column.typeOid ?? 0);
  const [low, high] = list(bodyOf(bounds, 'List'), 'items').map(evaluate);
  if (!INTEGER_TYPES.has(type) || low?.kind !== 'number' || high?.kind !== 'number')
    return Number.POSITIVE_INFINITY;
  return Math.max(0, Math.floor(high.value) - Math.ceil(low.value) + 1);
}
