import { noteTargets } from './column-uses.ts';
import { baseColumn } from './columns.ts';
import { TAGS } from './commands.ts';
import { restriction } from './conditions.ts';
import { type Context, type QuerySize, unparsed } from './context.ts';
import { visitFrom } from './from.ts';
import { Level, type Source } from './level.ts';
import { analyseSelect, boundOf, visitWith } from './query.ts';
import { product, rememberSize } from './query-sizes.ts';
import { rowsOf } from './sizes.ts';
import { relationSource } from './sources.ts';
import { bodyOf, child, list, type Tree, text } from './tree.ts';
import { checkFields, visit, visitAll, visitAs } from './walk.ts';

/** Starts a query level for a write; the result says how to go back. */
function enter(context: Context, node: Tree, type: string): { level: Level; leave: () => void } {
  const { level: before, ctes } = context;
  checkFields(context, type, node);
  context.facts.raise('write');
  if (!context.definition) context.facts.does(TAGS[type] ?? type);
  const level = new Level(before);
  context.level = level;
  visitWith(context, child(node, 'withClause'), before);
  const leave = () => {
    context.level = before;
    context.ctes = ctes;
  };
  return { level, leave };
}

function plainTarget(context: Context, node: Tree): Tree {
  const relation = child(node, 'relation');
  if (relation === null) unparsed(context, 'a write without a table');
  else checkFields(context, 'RangeVar', relation);
  return relation ?? {};
}

export function analyseInsert(context: Context, node: Tree): void {
  const { level, leave } = enter(context, node, 'InsertStmt');
  const target = plainTarget(context, node);
  const source = relationSource(context, target, 'insert');
  visitAll(context, list(node, 'cols'));
  noteTargets(source.use, list(node, 'cols'), true);
  const select = bodyOf(node['selectStmt'], 'SelectStmt');
  if (node['selectStmt'] !== undefined && select === null) unparsed(context, 'INSERT from something unknown');
  const fed = select === null ? null : analyseSelect(context, select, level.parent);
  const rows = fed === null ? 1 : fed.rows;
  wrote(context, fed?.unfolds === true ? Number.POSITIVE_INFINITY : rows);
  level.sources.push(source);
  const conflict = child(node, 'onConflictClause');
  if (conflict !== null) {
    visitAs(context, 'OnConflictClause', conflict);
    if (text(conflict, 'action') === 'ONCONFLICT_UPDATE') {
      const { use } = relationSource(context, target, 'update');
      noteTargets(use, list(conflict, 'targetList'), false);
      if (fed !== null) limitWrite(context, fed.rows, 'an upsert that is fed by a query');
    }
  }
  returning(context, node, level, rows, fed?.data ?? false, fed?.unfolds);
  leave();
}

export function analyseUpdate(context: Context, node: Tree): void {
  writeRows(context, node, 'UpdateStmt', 'update', 'fromClause');
}

export function analyseDelete(context: Context, node: Tree): void {
  writeRows(context, node, 'DeleteStmt', 'delete', 'usingClause');
}

function writeRows(
  context: Context,
  node: Tree,
  type: string,
  access: 'update' | 'delete',
  from: string,
): void {
  const { level, leave } = enter(context, node, type);
  const target = relationSource(context, plainTarget(context, node), access);
  level.sources.push(target);
  for (const item of list(node, from)) visitFrom(context, level, item, null);
  const where = node['whereClause'];
  if (where !== undefined) level.conditions.push({ expression: where, restricts: null });
  visit(context, where);
  visitAll(context, list(node, 'targetList'));
  if (access === 'delete') target.use?.noteAll('written');
  else noteTargets(target.use, list(node, 'targetList'), false);
  const verb = access === 'update' ? 'UPDATE' : 'DELETE';
  const rows = writtenRows(context, level, target, where, verb);
  wrote(context, rows);
  cascades(context, node, target, access, rows);
  returning(context, node, level, rows, true);
  leave();
}

/** The most rows that an UPDATE or DELETE touches; raises the class where that is too many or cannot be told. */
function writtenRows(context: Context, level: Level, target: Source, where: unknown, verb: string): number {
  const cursor = bodyOf(where, 'CurrentOfExpr');
  if (cursor !== null) return 1;
  const kind = restriction(where);
  if (kind === 'never') return 0;
  if (kind === 'free') {
    const why = where === undefined ? 'has no WHERE' : 'has a WHERE that restricts nothing';
    if (!context.definition) context.facts.raise('bulk_write', `${verb} of ${target.alias} ${why}`);
    return target.rows;
  }
  const rows = Math.min(target.rows, rowsOf(context, level));
  if (context.catalog !== null) limitWrite(context, rows, `${verb} of ${target.alias}`);
  return rows;
}

/** What only a definition would write is not written now. */
function wrote(context: Context, rows: number): void {
  if (!context.definition) context.facts.writtenRows += rows;
}

function limitWrite(context: Context, rows: number, what: string): void {
  const { bulkWriteRows } = context.limits;
  if (context.definition || context.catalog === null || rows <= bulkWriteRows) return;
  const most = Number.isFinite(rows) ? `may touch ${Math.ceil(rows)} rows` : 'may touch any number of rows';
  context.facts.raise('bulk_write', `${what} ${most}, more than ${bulkWriteRows}`);
}

/** What foreign keys do elsewhere counts, too. An update cascades only from columns that are keys. */
function cascades(
  context: Context,
  node: Tree,
  target: Source,
  access: 'update' | 'delete',
  rows: number,
): void {
  const { relation } = target;
  if (relation === null || context.definition || rows === 0) return;
  if (access === 'update') {
    const set = list(node, 'targetList').map((item) => text(bodyOf(item, 'ResTarget'), 'name'));
    if (!set.some((name) => mayBeKey(target, name))) return;
  }
  for (const cascade of relation.cascades[access]) {
    const full = `${cascade.schema}.${cascade.name}`;
    const there = context.catalog?.relation(cascade.schema, cascade.name) ?? null;
    const { schema, name } = cascade;
    context.facts.use({ schema, name, oid: there?.oid ?? null, mode: 'write' }, there);
    const each = product(rows, cascade.rowsEach ?? Number.POSITIVE_INFINITY);
    const touched = Math.min(cascade.rows ?? Number.POSITIVE_INFINITY, each);
    wrote(context, touched);
    limitWrite(context, touched, `a foreign key's ${cascade.action} of ${full}`);
  }
}

/** Where no key is known, others may refer to any column. */
function mayBeKey(target: Source, name: string): boolean {
  const base = baseColumn(target, name);
  if (base === null || base.relation.uniqueKeys.length === 0) return true;
  return base.relation.uniqueKeys.some((key) => key.includes(base.column.name));
}

/** RETURNING: the rows come back as those of a query do. */
function returning(
  context: Context,
  node: Tree,
  level: Level,
  rows: number,
  data: boolean,
  unfolds = false,
): void {
  const clause = child(node, 'returningClause');
  if (clause !== null) visitAs(context, 'ReturningClause', clause);
  const back = clause === null ? 0 : rows;
  rememberSize(context, node, {
    rows: back,
    by: clause === null ? 'values' : boundOf(level),
    perRow: 1 + level.carried,
    total: back + product(back, level.carried),
    unfolds: unfolds || level.unfolds,
    data: data || level.carriesData,
    tables: true,
    filtered: true,
    columns: null,
  });
}

/** MERGE: on a key a write; one that matches everything, or writes what the source lacks, is a bulk write. */
export function analyseMerge(context: Context, node: Tree): void {
  const { level, leave } = enter(context, node, 'MergeStmt');
  const targetName = plainTarget(context, node);
  const clauses = list(node, 'mergeWhenClauses').map((clause) => bodyOf(clause, 'MergeWhenClause') ?? {});
  const target = relationSource(context, targetName, 'read');
  visitFrom(context, level, node['sourceRelation'], null);
  const source: QuerySize['rows'] = rowsOf(context, level);
  level.sources.push(target);
  const condition = node['joinCondition'];
  level.conditions.push({ expression: condition, restricts: null });
  visit(context, condition);
  const matched = Math.min(target.rows, rowsOf(context, level));
  let written = 0;
  for (const clause of clauses) {
    visitAs(context, 'MergeWhenClause', clause);
    written += mergeAction(context, clause, targetName, target, { source, matched }, restriction(condition));
  }
  wrote(context, written);
  returning(context, node, level, written, true);
  leave();
}

function mergeAction(
  context: Context,
  clause: Tree,
  targetName: Tree,
  target: Source,
  rows: { source: number; matched: number },
  on: 'never' | 'free' | 'real',
): number {
  const command = text(clause, 'commandType');
  if (command === 'CMD_NOTHING') return 0;
  if (command === 'CMD_INSERT') {
    noteTargets(relationSource(context, targetName, 'insert').use, list(clause, 'targetList'), true);
    return rows.source;
  }
  if (command !== 'CMD_UPDATE' && command !== 'CMD_DELETE') {
    unparsed(context, `MERGE with ${command} is not known`);
    return 0;
  }
  const access = command === 'CMD_UPDATE' ? 'update' : 'delete';
  const { use } = relationSource(context, targetName, access);
  if (access === 'delete') use?.noteAll('written');
  else noteTargets(use, list(clause, 'targetList'), false);
  if (context.definition) return rows.matched;
  const bySource = text(clause, 'matchKind') === 'MERGE_WHEN_NOT_MATCHED_BY_SOURCE';
  if (bySource || on === 'free') {
    const what = bySource ? 'MERGE writes every row that its source lacks' : 'MERGE matches every row';
    context.facts.raise('bulk_write', what);
    return target.rows;
  }
  limitWrite(context, rows.matched, `MERGE into ${target.alias}`);
  cascades(context, clause, target, access, rows.matched);
  return rows.matched;
}
