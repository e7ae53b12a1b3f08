import { baseColumn, columnsOf, ownColumn } from './columns.ts';
import type { Level, Source } from './level.ts';
import { bodyOf, constantOf, list, nameParts, type Tree, text, typeOf } from './tree.ts';

/** The most groups that GROUP BY makes of `input` rows: by the server's statistics where it names plain columns. */
export function groupRows(
  level: Level,
  clause: readonly unknown[],
  input: number,
  targets: readonly unknown[],
): number {
  let rows = 1;
  for (const item of clause) {
    const set = bodyOf(item, 'GroupingSet');
    rows *= set === null ? valuesOf(level, item, targets) : setRows(level, set, input, targets);
  }
  return Math.min(
    rows,
    clause.some((item) => typeOf(item) === 'GroupingSet') ? Number.POSITIVE_INFINITY : input,
  );
}

/** The most rows that DISTINCT leaves. The clause is `[{}]` without ON. */
export function distinctRows(
  level: Level,
  clause: readonly unknown[],
  rows: number,
  targets: readonly unknown[],
): number {
  const plain = clause.every((item) => typeOf(item) === '');
  const items = plain ? targets.map((target) => bodyOf(target, 'ResTarget')?.['val']) : clause;
  let different = 1;
  for (const item of items) different *= valuesOf(level, item, targets);
  return Math.min(rows, different);
}

function setRows(level: Level, set: Tree, input: number, targets: readonly unknown[]): number {
  const content = list(set, 'content');
  const each = content.map((item) => {
    const inner = bodyOf(item, 'GroupingSet');
    if (inner !== null) return setRows(level, inner, input, targets);
    return Math.min(input, valuesOf(level, item, targets));
  });
  switch (text(set, 'kind')) {
    case 'GROUPING_SET_EMPTY':
      return 1;
    case 'GROUPING_SET_SIMPLE':
      return Math.min(
        input,
        each.reduce((a, b) => a * b, 1),
      );
    case 'GROUPING_SET_SETS':
      return each.reduce((a, b) => a + b, 0);
    case 'GROUPING_SET_ROLLUP':
      // One set for each prefix; every column also as "all of them".
      return Math.min(
        each.reduce((a, b) => a * (b + 1), 1),
        (each.length + 1) * input,
      );
    default:
      return Math.min(
        each.reduce((a, b) => a * (b + 1), 1),
        2 ** each.length * input,
      );
  }
}

/** How many different values an expression can have: a column's, by statistics; an ordinal or alias is looked up. */
function valuesOf(level: Level, item: unknown, targets: readonly unknown[]): number {
  const constant = constantOf(item);
  if (constant !== null) {
    if (constant.kind !== 'number') return 1;
    const target = bodyOf(targets[constant.value - 1], 'ResTarget')?.['val'];
    return target === undefined || constantOf(target) !== null ? 1 : valuesOf(level, target, []);
  }
  const row = bodyOf(item, 'RowExpr');
  if (row !== null) return list(row, 'args').reduce<number>((n, arg) => n * valuesOf(level, arg, targets), 1);
  const named = valuesOfAlias(level, item, targets);
  const column = ownColumn(level, item);
  if (column !== null) return Math.max(named, valuesOfColumn(column.source, column.column));
  if (named > 0) return named;
  return Math.min(rangeOf(item), valuesOfInputs(level, item));
}

/**
 * A bare name may mean an output column: in GROUP BY where no input column has it, in DISTINCT ON even before one. The
 * larger counts; 0: no output column has that name.
 */
function valuesOfAlias(level: Level, item: unknown, targets: readonly unknown[]): number {
  const parts = nameParts(list(bodyOf(item, 'ColumnRef'), 'fields'));
  const [name, ...more] = parts;
  if (name === undefined || more.length > 0) return 0;
  let most = 0;
  for (const target of targets) {
    const body = bodyOf(target, 'ResTarget');
    if (text(body, 'name') === name) most = Math.max(most, valuesOf(level, body?.['val'], []));
  }
  return most;
}

function valuesOfColumn(source: Source, column: string): number {
  const known = baseColumn(source, column)?.column;
  const different = known?.distinctValues ?? null;
  // One more: the null, also where an outer join finds no row of it.
  if (different !== null) return different + 1;
  // What hangs on its neighbour's rows (LATERAL) has other values for each of them.
  return source.determines ? source.rows + 1 : Number.POSITIVE_INFINITY;
}

const MONTHS = new Set(['month', 'months', 'quarter', 'year', 'years', 'decade', 'century', 'millennium']);
const SMALL_FIELDS = new Set([
  'century',
  'day',
  'decade',
  'dow',
  'doy',
  'hour',
  'isodow',
  'isoyear',
  'minute',
  'month',
  'quarter',
  'week',
  'year',
]);
/** Months of 80 years: what a table of real events spans. */
const MOST_MONTHS = 960;

/** What an expression can give whatever goes in: a truth value, a month, a day of the week. */
function rangeOf(item: unknown): number {
  const type = typeOf(item);
  if (type === 'NullTest' || type === 'BooleanTest' || type === 'BoolExpr') return 3;
  const call = bodyOf(item, 'FuncCall');
  if (call === null) return Number.POSITIVE_INFINITY;
  const parts = nameParts(list(call, 'funcname'));
  const [first] = list(call, 'args');
  const unit = constantOf(first);
  if (unit?.kind !== 'string') return Number.POSITIVE_INFINITY;
  const name = parts.at(-1);
  if (name === 'date_trunc' && MONTHS.has(unit.value.toLowerCase())) return MOST_MONTHS;
  if ((name === 'extract' || name === 'date_part') && SMALL_FIELDS.has(unit.value.toLowerCase())) return 367;
  return Number.POSITIVE_INFINITY;
}

/** A function of some columns has no more values than they have together. */
function valuesOfInputs(level: Level, item: unknown): number {
  const columns = columnsOf(level, item);
  if (columns === null) return Number.POSITIVE_INFINITY;
  return columns.reduce((n, { source, column }) => n * valuesOfColumn(source, column), 1);
}
