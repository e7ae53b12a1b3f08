import type { Context } from './context.ts';
import { meaningOf, raiseByName } from './meaning.ts';
import { list, nameParts, type Tree, text, typeOf } from './tree.ts';

/** Nodes under which a value may be turned into another type. */
const CONVERTING = new Set([
  'FuncCall',
  'A_Expr',
  'TypeCast',
  'CaseExpr',
  'CoalesceExpr',
  'MinMaxExpr',
  'A_ArrayExpr',
  'RowExpr',
  'SubLink',
  'JsonObjectConstructor',
  'JsonArrayConstructor',
  'JsonArrayQueryConstructor',
  'JsonObjectAgg',
  'JsonArrayAgg',
  'JsonFuncExpr',
  'JsonScalarExpr',
  'JsonSerializeExpr',
  'JsonParseExpr',
  'JsonTable',
  'XmlExpr',
]);
const WRITES = new Set(['InsertStmt', 'UpdateStmt', 'MergeStmt', 'CreateTableAsStmt']);

/**
 * Relations with values that users' casts may turn into others (to_json looks for a cast to json): held where such a
 * column, or the whole row, stands anywhere that may convert it. By name, so rather too often; not where the server has
 * said which casts it calls, unless values become JSON: the casts for that are looked for while it runs.
 */
export function checkCasts(context: Context, statement: unknown): void {
  const relations = context.casts.splice(0);
  const meaning = meaningOf(context);
  if (meaning !== null && !context.catalog?.meant(meaning).json) return;
  for (const relation of relations) {
    const names = new Set(relation.columns.filter((c) => !c.builtinType).map((c) => c.name));
    names.add(relation.name).add('*');
    collectAliases(statement, relation.name, names);
    const setOperation = { found: false };
    if (!converts(statement, names, WRITES.has(typeOf(statement)), setOperation)) continue;
    context.facts.details.add('casts', relation.castEffects[0] ?? '');
    raiseByName(context, `${relation.schema}.${relation.name}: ${relation.castEffects[0] ?? 'a cast'}`);
  }
}

function collectAliases(node: unknown, relation: string, names: Set<string>): void {
  if (typeof node !== 'object' || node === null) return;
  const alias = (node as Tree)['alias'];
  // A sub-query's alias may stand for the row as well.
  if (alias !== undefined) {
    const own = text(node, 'relname');
    if (own === '' || own === relation) names.add(text(alias, 'aliasname'));
  }
  for (const key in node) collectAliases((node as Tree)[key], relation, names);
}

function converts(
  node: unknown,
  names: ReadonlySet<string>,
  within: boolean,
  state: { found: boolean },
): boolean {
  if (state.found || typeof node !== 'object' || node === null) return state.found;
  if (Array.isArray(node)) return node.some((item) => converts(item, names, within, state));
  for (const key in node) {
    const value = (node as Tree)[key];
    if (key === 'ColumnRef') {
      if (within && names.has(nameParts(list(value, 'fields')).at(-1) ?? '')) state.found = true;
    } else {
      const set = key === 'SelectStmt' && !['', 'SETOP_NONE'].includes(text(value, 'op'));
      if (converts(value, names, within || set || CONVERTING.has(key), state)) return true;
    }
  }
  return state.found;
}
