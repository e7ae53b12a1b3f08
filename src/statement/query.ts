import { restriction } from './conditions.ts';
import { numberOf } from './constants.ts';
import { type Context, type CteScope, type QuerySize, unparsed } from './context.ts';
import type { RowBoundBy } from './details.ts';
import { visitFrom } from './from.ts';
import { distinctRows, groupRows } from './groups.ts';
import { Level } from './level.ts';
import { groupKeys, outputsOf, renamedInner } from './outputs.ts';
import { checkFold, product, rememberedSize, rememberSize, UNKNOWN_SIZE } from './query-sizes.ts';
import { isFiltered, rowsOf } from './sizes.ts';
import { conjunctsFix } from './sources.ts';
import { bodyOf, child, list, nameParts, type Tree, text } from './tree.ts';
import { checkFields, visit, visitAll, visitAs } from './walk.ts';

/**
 * Walks a SELECT (also VALUES, TABLE, and set operations), notes its facts, and says how large its output can be.
 * `parent`: the query around it.
 */
export function analyseSelect(context: Context, node: Tree, parent: Level | null): QuerySize {
  const { level, ctes } = context;
  checkFields(context, 'SelectStmt', node);
  context.facts.raise('read');
  const within = new Level(parent);
  context.level = within;
  visitWith(context, child(node, 'withClause'), parent);
  const size = limited(context, node, bodySize(context, node, within, parent));
  context.level = level;
  context.ctes = ctes;
  rememberSize(context, node, size);
  return size;
}

function bodySize(context: Context, node: Tree, level: Level, parent: Level | null): QuerySize {
  if (text(node, 'op') !== 'SETOP_NONE' && text(node, 'op') !== '')
    return setOperation(context, node, level, parent);
  const into = child(node, 'intoClause');
  if (into !== null) selectInto(context, into);
  const values = list(node, 'valuesLists');
  if (values.length > 0) return valuesSize(context, node, values, level);
  for (const item of list(node, 'fromClause')) visitFrom(context, level, item, null);
  const where = node['whereClause'];
  if (where !== undefined) level.conditions.push({ expression: where, restricts: null });
  conjunctsFix(level);
  visitAll(context, list(node, 'targetList'));
  visitClauses(context, node);
  return plainSize(context, node, level);
}

/** Everything beside the select list: what is in there runs, but puts no rows into the output. */
function visitClauses(context: Context, node: Tree): void {
  const { level } = context;
  const carried = level?.carried ?? 0;
  const multiplied = level?.multiplied ?? 1;
  visit(context, node['whereClause']);
  visitAll(context, list(node, 'distinctClause'));
  visitAll(context, list(node, 'groupClause'));
  visit(context, node['havingClause']);
  visitAll(context, list(node, 'windowClause'));
  visitAll(context, list(node, 'sortClause'));
  for (const clause of list(node, 'lockingClause')) {
    const locking = child(clause, 'LockingClause');
    // lockedRels are aliases of this query, not relations.
    if (locking !== null) checkFields(context, 'LockingClause', locking);
    else unparsed(context, 'a locking clause has an unknown form');
  }
  if (level === null) return;
  level.carried = carried;
  level.multiplied = Math.max(multiplied, level.multiplied);
}

function plainSize(context: Context, node: Tree, level: Level): QuerySize {
  const { sources } = level;
  const data = level.data;
  const where = node['whereClause'];
  const never = where !== undefined && isNever(where);
  const input = never ? 0 : rowsOf(context, level);
  // Only judged by shape where sizes are unknown.
  const filtered =
    context.catalog === null &&
    (isFiltered(context, level) || (sources.length > 0 && sources.every((s) => s.filtered)));
  const joined = Math.max(
    1,
    sources.reduce((sum, source) => sum + (source.perRow > 1 ? source.perRow : 0), 0),
  );
  const inputTotal = product(input, joined);
  const grouped = list(node, 'groupClause').length > 0;
  const aggregated = grouped || level.aggregates || node['havingClause'] !== undefined;
  if (level.folds && data) checkFold(context, inputTotal, filtered);
  let rows = aggregated
    ? grouped
      ? groupRows(level, list(node, 'groupClause'), input, list(node, 'targetList'))
      : 1
    : Math.max(input, level.mayAggregate ? 1 : 0);
  if (list(node, 'distinctClause').length > 0)
    rows = distinctRows(level, list(node, 'distinctClause'), rows, list(node, 'targetList'));
  rows = product(rows, level.multiplied);
  const perRow = (level.folds ? Math.max(1, inputTotal) : joined) + level.carried;
  const base = level.folds
    ? Math.max(aggregated ? inputTotal : product(rows, perRow), rows)
    : product(rows, joined);
  const size: QuerySize = {
    rows,
    perRow,
    by: never ? 'condition' : aggregated ? (grouped ? 'groups' : 'aggregate') : boundOf(level),
    total: base + product(rows, level.carried),
    data: data || level.carriesData,
    tables: sources.some((source) => source.tables) || level.carriesData,
    unfolds: level.unfoldsValues || (level.unfolds && (!aggregated || grouped)),
    filtered,
    columns: null,
  };
  if (node === context.root) return size;
  const outputs = outputsOf(list(node, 'targetList'), level);
  if (outputs === null) return size;
  const columns = new Set(outputs.expressions.keys());
  if (outputs.twice || level.multiplied !== 1) return { ...size, columns };
  if (grouped) return { ...size, columns, keys: groupKeys(list(node, 'groupClause'), outputs) };
  if (aggregated || level.mayAggregate) return { ...size, columns };
  return { ...size, columns, inner: { level, outputs: outputs.expressions } };
}

/** What bounds the rows that FROM and WHERE give. */
export function boundOf(level: Level): RowBoundBy {
  if (level.byStatistics) return 'statistics';
  if (level.keyed) return 'unique key';
  for (const source of level.sources) if (source.relation !== null) return 'table size';
  return level.sources.find(({ by }) => by !== undefined)?.by ?? 'values';
}

/** Cheap for what nearly every query has: a column compared with something lets rows pass. */
function isNever(where: unknown): boolean {
  const comparison = bodyOf(where, 'A_Expr');
  return bodyOf(comparison?.['lexpr'], 'ColumnRef') === null && restriction(where) === 'never';
}

function setOperation(context: Context, node: Tree, level: Level, parent: Level | null): QuerySize {
  const left = analyseSelect(context, child(node, 'larg') ?? {}, parent);
  const right = analyseSelect(context, child(node, 'rarg') ?? {}, parent);
  context.level = level;
  visitAll(context, list(node, 'sortClause'));
  const op = text(node, 'op');
  const both = {
    perRow: Math.max(left.perRow, right.perRow),
    data: left.data || right.data,
    tables: left.tables || right.tables,
    unfolds: left.unfolds === true || right.unfolds === true,
    filtered: left.filtered && right.filtered,
    columns: left.columns,
    ...(left.by === undefined ? {} : { by: left.by }),
  };
  if (op === 'SETOP_UNION') return { ...both, rows: left.rows + right.rows, total: left.total + right.total };
  if (op === 'SETOP_INTERSECT')
    return { ...both, rows: Math.min(left.rows, right.rows), total: Math.min(left.total, right.total) };
  return { ...both, rows: left.rows, total: left.total };
}

function valuesSize(context: Context, node: Tree, values: readonly unknown[], level: Level): QuerySize {
  let before: unknown = null;
  for (const row of values) {
    // A parser on another thread sends equal rows of constants as one object.
    if (row !== before) visit(context, row);
    before = row;
  }
  visitAll(context, list(node, 'sortClause'));
  const width = list(bodyOf(values[0], 'List'), 'items').length;
  const rows = values.length;
  return {
    rows,
    perRow: 1 + level.carried,
    by: 'values',
    total: rows + level.carried,
    data: level.carriesData,
    tables: level.carriesData,
    filtered: true,
    columns: new Set(Array.from({ length: width }, (_, i) => `column${i + 1}`)),
  };
}

function limited(context: Context, node: Tree, size: QuerySize): QuerySize {
  visit(context, node['limitOffset']);
  const count = node['limitCount'];
  if (count === undefined) return size;
  visit(context, count);
  const most = numberOf(context, count);
  // WITH TIES returns as many rows as have the last one's value.
  if (typeof most !== 'number' || text(node, 'limitOption') === 'LIMIT_OPTION_WITH_TIES') return size;
  const rows = Math.min(size.rows, Math.max(0, Math.ceil(most)));
  const by = rows < size.rows ? 'limit' : size.by;
  return {
    ...size,
    ...(by === undefined ? {} : { by }),
    rows,
    total: Math.min(size.total, product(rows, size.perRow)),
    limit: Math.max(0, Math.ceil(most)),
  };
}

function selectInto(context: Context, into: Tree): void {
  visitAs(context, 'IntoClause', into);
  context.facts.raise('ddl', 'SELECT INTO creates a table');
}

/** WITH: each expression is walked once, in order; with RECURSIVE each is seen by all. */
export function visitWith(context: Context, clause: Tree | null, parent: Level | null): void {
  if (clause === null) return;
  checkFields(context, 'WithClause', clause);
  const recursive = clause['recursive'] === true;
  for (const item of list(clause, 'ctes')) {
    const cte = bodyOf(item, 'CommonTableExpr');
    if (cte === null) {
      unparsed(context, 'a WITH clause has an unknown form');
      continue;
    }
    const scope: CteScope = {
      name: text(cte, 'ctename'),
      size: null,
      usedByItself: false,
      outer: context.ctes,
    };
    if (recursive) context.ctes = scope;
    scope.size = cteSize(context, cte, scope, parent);
    context.ctes = scope;
  }
}

function cteSize(context: Context, cte: Tree, scope: CteScope, parent: Level | null): QuerySize {
  checkFields(context, 'CommonTableExpr', cte);
  visitAs(context, 'CTESearchClause', child(cte, 'search_clause'));
  visitAs(context, 'CTECycleClause', child(cte, 'cycle_clause'));
  const { level, tableRows } = context;
  context.tableRows = 0;
  context.level = parent;
  visit(context, cte['ctequery']);
  context.level = level;
  const read = context.tableRows;
  context.tableRows = tableRows + read;
  const found = rememberedSize(context, cte['ctequery']) ?? UNKNOWN_SIZE;
  const aliases = nameParts(list(cte, 'aliascolnames'));
  const extra = child(cte, 'search_clause') !== null || child(cte, 'cycle_clause') !== null;
  const columns = extra ? null : aliases.length > 0 ? new Set(aliases) : found.columns;
  if (!scope.usedByItself) {
    const inner = extra ? null : renamedInner(found.inner ?? null, aliases);
    return { ...found, columns, inner, keys: extra || aliases.length > 0 ? [] : (found.keys ?? []) };
  }
  // Each round adds what it likes to what the rounds before had: bounded by nothing but what there is to read.
  const { exportRows } = context.limits;
  if (!found.data) return { ...found, columns, rows: Number.POSITIVE_INFINITY };
  // Of so little there may come copies without end, but nothing more.
  if (read <= exportRows) return { ...found, columns, rows: read, total: read, perRow: 1, unfolds: true };
  context.facts.beyondPlanner = true;
  return {
    ...found,
    columns,
    rows: Number.POSITIVE_INFINITY,
    total: Number.POSITIVE_INFINITY,
    perRow: context.catalog === null ? 1 : Number.POSITIVE_INFINITY,
  };
}
