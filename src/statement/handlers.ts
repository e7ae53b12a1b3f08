import { noteAggregate, visitCall } from './calls.ts';
import { noteColumns } from './column-uses.ts';
import { type Context, unparsed } from './context.ts';
import { checkField, checkOperator, checkType } from './names.ts';
import { analyseSelect } from './query.ts';
import { checkFold } from './query-sizes.ts';
import { noteSetting } from './setting-uses.ts';
import { cteNamed, relationSource } from './sources.ts';
import { bodyOf, child, list, nameParts, type Tree, text } from './tree.ts';
import { checkFields, HANDLERS, visit, visitAll, visitChildren } from './walk.ts';
import { analyseDelete, analyseInsert, analyseMerge, analyseUpdate } from './write.ts';

/** Called once, before the first statement: says what is done at each node that means more than its children. */
export function installHandlers(): void {
  HANDLERS.set('FuncCall', visitCall);
  HANDLERS.set('SelectStmt', (context, node) => void analyseSelect(context, node, context.level));
  HANDLERS.set('InsertStmt', analyseInsert);
  HANDLERS.set('UpdateStmt', analyseUpdate);
  HANDLERS.set('DeleteStmt', analyseDelete);
  HANDLERS.set('MergeStmt', analyseMerge);
  HANDLERS.set('RangeVar', rangeVar);
  HANDLERS.set('A_Expr', operator);
  HANDLERS.set('TypeName', typeName);
  HANDLERS.set('ColumnRef', columnRef);
  HANDLERS.set('A_Indirection', indirection);
  HANDLERS.set('SubLink', subLink);
  HANDLERS.set('SortBy', sortBy);
  HANDLERS.set('CaseExpr', caseExpr);
  HANDLERS.set('JsonObjectAgg', jsonAggregate);
  HANDLERS.set('JsonArrayAgg', jsonAggregate);
  HANDLERS.set('JsonArrayQueryConstructor', jsonQuery);
  HANDLERS.set('String', string);
  HANDLERS.set('RoleSpec', roleSpec);
  HANDLERS.set('TypeCast', typeCast);
  HANDLERS.set('VariableSetStmt', (context, node) => {
    visitChildren(context, 'VariableSetStmt', node);
    noteSetting(context, node);
  });
  HANDLERS.set('IntoClause', intoClause);
}

/** A relation that stands neither in FROM nor as a target: in a definition, or as what a command is about. */
function rangeVar(context: Context, node: Tree): void {
  visitChildren(context, 'RangeVar', node);
  if (text(node, 'relpersistence') === 't' || text(node, 'schemaname').startsWith('pg_temp'))
    context.facts.makesTemp = true;
  if (cteNamed(context, node) !== null) return;
  // Which columns a command is about is not looked at.
  const { use } = relationSource(context, node, context.definition ? 'update' : 'read');
  use?.noteUnknown('read');
  if (context.definition) use?.noteUnknown('written');
}

const ROLE_WORDS: Readonly<Record<string, string>> = {
  ROLESPEC_CURRENT_ROLE: 'current_role',
  ROLESPEC_CURRENT_USER: 'current_user',
  ROLESPEC_SESSION_USER: 'session_user',
  ROLESPEC_PUBLIC: 'public',
};

function roleSpec(context: Context, node: Tree): void {
  visitChildren(context, 'RoleSpec', node);
  context.facts.details.add('roles', ROLE_WORDS[text(node, 'roletype')] ?? text(node, 'rolename'));
}

function typeCast(context: Context, node: Tree): void {
  const names = context.facts.details.types.length;
  visit(context, node['arg']);
  visitChildren(context, 'TypeCast', { ...node, arg: undefined });
  const parts = nameParts(list(child(node, 'typeName'), 'names'));
  // The type's own name was looked at just now.
  const { types } = context.facts.details;
  if (types.length > names && types.includes(parts.join('.')))
    context.facts.details.add('casts', `to ${parts.join('.')}`);
}

function operator(context: Context, node: Tree): void {
  visitChildren(context, 'A_Expr', node);
  const parts = nameParts(list(node, 'name'));
  switch (text(node, 'kind')) {
    case 'AEXPR_BETWEEN':
    case 'AEXPR_NOT_BETWEEN':
    case 'AEXPR_BETWEEN_SYM':
    case 'AEXPR_NOT_BETWEEN_SYM':
      for (const name of ['>=', '<=', '<', '>']) checkOperator(context, [name]);
      return;
    default:
      checkOperator(context, parts);
  }
}

function typeName(context: Context, node: Tree): void {
  checkType(context, node);
  // The names are the type's own; modifiers and bounds may hold expressions.
  visitAll(context, list(node, 'typmods'));
  visitChildren(context, 'TypeName', { ...node, names: [] });
}

function columnRef(context: Context, node: Tree): void {
  checkFields(context, 'ColumnRef', node);
  const parts = nameParts(list(node, 'fields'));
  noteColumns(context.level, parts);
  if (parts.length > 1) checkField(context, parts.at(-1) ?? '');
}

function indirection(context: Context, node: Tree): void {
  visitChildren(context, 'A_Indirection', node);
  for (const step of list(node, 'indirection')) {
    const name = bodyOf(step, 'String');
    if (name !== null) checkField(context, text(name, 'sval'));
  }
}

/** A sub-query in an expression: as a value it puts rows into the output; ARRAY(…) folds all of them. */
function subLink(context: Context, node: Tree): void {
  const { level } = context;
  visit(context, node['testexpr']);
  const operName = nameParts(list(node, 'operName'));
  const kind = text(node, 'subLinkType');
  if (kind === 'ANY_SUBLINK' || kind === 'ALL_SUBLINK')
    checkOperator(context, operName.length === 0 ? ['='] : operName);
  visitChildren(context, 'SubLink', { ...node, testexpr: undefined, operName: [], subselect: undefined });
  const select = bodyOf(node['subselect'], 'SelectStmt');
  if (select === null) return unparsed(context, 'a sub-query is not a SELECT');
  const size = analyseSelect(context, select, level);
  if (kind === 'ARRAY_SUBLINK') {
    if (size.data) checkFold(context, size.total, size.filtered);
    if (level !== null) level.carried += size.total;
  } else if (kind === 'EXPR_SUBLINK' && level !== null) {
    level.carried += size.perRow > 1 ? Math.min(size.perRow, size.total) : 0;
  }
  if (level !== null && (kind === 'ARRAY_SUBLINK' || kind === 'EXPR_SUBLINK') && size.data)
    level.carriesData = true;
}

function sortBy(context: Context, node: Tree): void {
  visitChildren(context, 'SortBy', node);
  const using = nameParts(list(node, 'useOp'));
  if (using.length > 0) checkOperator(context, using);
}

function caseExpr(context: Context, node: Tree): void {
  visitChildren(context, 'CaseExpr', node);
  if (child(node, 'arg') !== null) checkOperator(context, ['=']);
}

function jsonAggregate(context: Context, node: Tree, type: string): void {
  visitChildren(context, type, node);
  const { level } = context;
  if (level === null) return;
  noteAggregate(level, node, true, child(child(node, 'constructor'), 'over') !== null);
}

/** JSON_ARRAY(SELECT …) */
function jsonQuery(context: Context, node: Tree): void {
  const { level } = context;
  const select = bodyOf(node['query'], 'SelectStmt');
  visitChildren(context, 'JsonArrayQueryConstructor', { ...node, query: undefined });
  if (select === null) return unparsed(context, 'JSON_ARRAY of something that is not a SELECT');
  const size = analyseSelect(context, select, level);
  if (size.data) checkFold(context, size.total, size.filtered);
  if (level === null) return;
  level.carried += size.total;
  if (size.data) level.carriesData = true;
}

function string(context: Context, node: Tree): void {
  visitChildren(context, 'String', node);
  if (context.definition && text(node, 'sval').startsWith('pg_temp')) context.facts.makesTemp = true;
}

/** What CREATE TABLE AS and SELECT INTO make: a new name, not a relation that is used. */
function intoClause(context: Context, node: Tree): void {
  const { definition } = context;
  context.definition = true;
  visitChildren(context, 'IntoClause', node);
  context.definition = definition;
}
