import { rowsOfFunction, sizeOfCall } from './calls.ts';
import { noteJoined } from './column-uses.ts';
import { contains } from './constants.ts';
import { type Context, unparsed } from './context.ts';
import { Level, type Source } from './level.ts';
import { checkOperator } from './names.ts';
import { rememberedSize, UNKNOWN_SIZE } from './query-sizes.ts';
import { aliasOf, cteNamed, cteSource, relationSource, sourceOf } from './sources.ts';
import { bodyOf, child, list, nameParts, type Tree, text, typeOf } from './tree.ts';
import { checkFields, visit, visitAll, visitAs, visitChildren } from './walk.ts';

/** Visits a FROM item; adds its sources to the level, and the conditions of joins. */
export function visitFrom(context: Context, level: Level, item: unknown, into: Set<Source> | null): void {
  const type = typeOf(item);
  const node = child(item, type);
  if (node === null) return unparsed(context, 'a FROM item has an unknown form');
  switch (type) {
    case 'RangeVar':
      checkFields(context, type, node);
      return add(level, into, rangeVarSource(context, node));
    case 'RangeSubselect':
      return add(level, into, subselectSource(context, node));
    case 'RangeFunction':
      return add(level, into, functionSource(context, level, node));
    case 'RangeTableFunc':
    case 'JsonTable':
      return add(level, into, tableFunctionSource(context, level, node, type));
    case 'RangeTableSample':
      checkFields(context, type, node);
      visitAll(context, list(node, 'args'));
      visit(context, node['repeatable']);
      checkSampleMethod(context, node);
      return visitFrom(context, level, node['relation'], into);
    case 'JoinExpr':
      return visitJoin(context, level, node, into);
    default:
      return unparsed(context, `a FROM item (${type}) is not known`);
  }
}

function add(level: Level, into: Set<Source> | null, source: Source): void {
  level.sources.push(source);
  into?.add(source);
}

function rangeVarSource(context: Context, node: Tree): Source {
  const cte = cteNamed(context, node);
  return cte === null ? relationSource(context, node, 'read') : cteSource(node, cte);
}

function subselectSource(context: Context, node: Tree): Source {
  checkFields(context, 'RangeSubselect', node);
  const wrapped = node['subquery'];
  if (typeOf(wrapped) !== 'SelectStmt') unparsed(context, 'a sub-query in FROM is not a SELECT');
  visit(context, wrapped);
  const size = rememberedSize(context, wrapped) ?? UNKNOWN_SIZE;
  const { alias, columns } = aliasOf(node, '');
  const source = sourceOf(alias, size, columns);
  // Its rows hang on those of its neighbours: they cannot be counted from it, nor without them.
  return node['lateral'] === true ? { ...source, determines: false, inner: null, keys: [] } : source;
}

const ROWS = new Set(['ColumnRef']);

function functionSource(context: Context, level: Level, node: Tree): Source {
  checkFields(context, 'RangeFunction', node);
  const inner = new Level(level);
  let rows = 1;
  let perRow = 1;
  let unfolds = false;
  let callsUser = false;
  for (const item of list(node, 'functions')) {
    const [call, definitions] = list(bodyOf(item, 'List'), 'items');
    const before = context.level;
    context.level = inner;
    inner.multiplied = 1;
    visit(context, call);
    visit(context, definitions);
    context.level = before;
    const function_ = bodyOf(call, 'FuncCall');
    const name = nameParts(list(function_, 'funcname')).at(-1) ?? '';
    const args = list(function_, 'args');
    if (args.some((arg) => contains(arg, ROWS))) unfolds = true;
    const size = sizeOfCall(context, function_);
    if (size !== null) {
      rows = Math.max(rows, size.rows);
      perRow = Math.max(perRow, inner.carried);
      continue;
    }
    if (mayCallUser(context, function_)) callsUser = true;
    const own = function_ === null ? 1 : knownRows(context, name, args, inner);
    rows = Math.max(rows, own);
  }
  visitAll(context, list(node, 'coldeflist'));
  const { alias, columns } = aliasOf(node, functionAlias(node));
  return {
    alias,
    columns: columns.length > 0 ? new Set(columns) : null,
    relation: null,
    rows,
    perRow,
    data: inner.carriesData || callsUser,
    tables: inner.carriesData,
    filtered: true,
    // What a stored value unfolds to is not bounded by anything.
    determines: !unfolds && Number.isFinite(rows),
    unfolds: unfolds || inner.unfolds,
  };
}

function knownRows(context: Context, name: string, args: readonly unknown[], inner: Level): number {
  const rows = rowsOfFunction(context, name, args) ?? Number.POSITIVE_INFINITY;
  return Math.max(rows, inner.carried, inner.multiplied);
}

/** A user's function in FROM may return tables. */
function mayCallUser({ catalog }: Context, call: Tree | null): boolean {
  const parts = nameParts(list(call, 'funcname'));
  return parts[0] !== 'pg_catalog' && (catalog?.functionsNamed(parts.at(-1) ?? '').length ?? 0) > 0;
}

function functionAlias(node: Tree): string {
  const call = bodyOf(list(bodyOf(list(node, 'functions')[0], 'List'), 'items')[0], 'FuncCall');
  return nameParts(list(call, 'funcname')).at(-1) ?? '';
}

/** XMLTABLE and JSON_TABLE unfold a document: a constant one by its length, one from a row counts with the row. */
function tableFunctionSource(context: Context, level: Level, node: Tree, type: string): Source {
  const inner = new Level(level);
  const before = context.level;
  context.level = inner;
  visitChildren(context, type, node);
  context.level = before;
  const { alias } = aliasOf(node, type === 'JsonTable' ? 'json_table' : 'xmltable');
  return {
    alias,
    columns: null,
    relation: null,
    rows: Math.max(1, inner.carried),
    perRow: 1,
    data: inner.carriesData,
    tables: inner.carriesData,
    filtered: true,
    determines: false,
    unfolds: true,
  };
}

function checkSampleMethod(context: Context, node: Tree): void {
  const method = nameParts(list(node, 'method')).at(-1) ?? '';
  if (method !== 'system' && method !== 'bernoulli')
    context.facts.raise('opaque', `the sampling method ${method} is not built in`);
}

function visitJoin(context: Context, level: Level, node: Tree, into: Set<Source> | null): void {
  checkFields(context, 'JoinExpr', node);
  const left = new Set<Source>();
  const right = new Set<Source>();
  visitFrom(context, level, node['larg'], left);
  visitFrom(context, level, node['rarg'], right);
  for (const source of [...left, ...right]) into?.add(source);
  if (text(node, 'jointype') === 'JOIN_FULL')
    level.fullJoined = new Set([...(level.fullJoined ?? []), ...left, ...right]);
  visitAs(context, 'Alias', child(node, 'alias'));
  const natural = node['isNatural'] === true;
  const restricts = restrictedBy(text(node, 'jointype'), left, right);
  const quals = node['quals'];
  if (quals !== undefined) {
    const carried = level.carried;
    visit(context, quals);
    level.carried = carried;
    level.conditions.push({ expression: quals, restricts });
  }
  const using = nameParts(list(node, 'usingClause'));
  if (using.length > 0 || natural) {
    checkOperator(context, ['=']);
    noteJoined(left, right, using, natural);
  }
  for (const column of using) addUsing(level, column, left, right, restricts, text(node, 'jointype'));
}

/** Which side the join's own condition restricts: an outer side keeps its rows whatever it says. */
function restrictedBy(
  kind: string,
  left: ReadonlySet<Source>,
  right: ReadonlySet<Source>,
): ReadonlySet<Source> | null {
  if (kind === 'JOIN_INNER') return null;
  if (kind === 'JOIN_LEFT') return right;
  if (kind === 'JOIN_RIGHT') return left;
  return new Set();
}

/** USING (x): l.x = r.x, where each side has one source that can have the column. */
function addUsing(
  level: Level,
  column: string,
  left: ReadonlySet<Source>,
  right: ReadonlySet<Source>,
  restricts: ReadonlySet<Source> | null,
  kind: string,
): void {
  const sides = [left, right].map((side) => {
    const having = [...side].filter(({ columns }) => columns?.has(column));
    return having.length === 1 ? having[0] : side.size === 1 ? [...side][0] : undefined;
  });
  const [a, b] = sides;
  if (a === undefined || b === undefined) return;
  if (kind !== 'JOIN_FULL') level.merge(column, kind === 'JOIN_RIGHT' ? b : a);
  const ref = (source: Source) => ({
    ColumnRef: { fields: [{ String: { sval: source.alias } }, { String: { sval: column } }] },
  });
  level.conditions.push({
    expression: {
      A_Expr: { kind: 'AEXPR_OP', name: [{ String: { sval: '=' } }], lexpr: ref(a), rexpr: ref(b) },
    },
    restricts,
  });
}
