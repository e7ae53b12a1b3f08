import type { Context } from './context.ts';
import { meaningOf, raiseByName } from './meaning.ts';
import { child, list, nameParts, type Tree, text } from './tree.ts';

/** Nodes that leave a value as it is, and say themselves what becomes of a column that stands directly in them. */
const CARRYING = new Set([
  'SelectStmt',
  'ResTarget',
  'SortBy',
  'WindowDef',
  'GroupingSet',
  'NullTest',
  'BoolExpr',
  'JoinExpr',
  'RangeSubselect',
  'WithClause',
  'CommonTableExpr',
  'DeleteStmt',
]);
/** Fields of these in which a column may stand and is passed on, or compared, as it is. Anywhere else it may be converted. */
const AS_IT_IS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['SelectStmt', new Set(['groupClause', 'distinctClause'])],
  ['ResTarget', new Set(['val'])],
  ['SortBy', new Set(['node'])],
  ['WindowDef', new Set(['partitionClause'])],
  ['GroupingSet', new Set(['content'])],
  ['NullTest', new Set(['arg'])],
]);
const NOWHERE: ReadonlySet<string> = new Set();

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
    // A name that is given to one of them may be given another name again.
    for (let known = -1; known < names.size; ) {
      known = names.size;
      collectOutputs(statement, names);
    }
    if (!converts(statement, names, false, true)) continue;
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
    // So may each name in a list of new ones for the columns.
    for (const name of nameParts(list(alias, 'colnames'))) names.add(name);
  }
  for (const name of nameParts(list(node, 'aliascolnames'))) names.add(name);
  for (const key in node) collectAliases((node as Tree)[key], relation, names);
}

/** Names of outputs that one of the names goes into. */
function collectOutputs(node: unknown, names: Set<string>): void {
  if (typeof node !== 'object' || node === null) return;
  const name = text(child(node, 'ResTarget'), 'name');
  if (name !== '' && !names.has(name) && mentions(child(node, 'ResTarget'), names)) names.add(name);
  for (const key in node) collectOutputs((node as Tree)[key], names);
}

function mentions(node: unknown, names: ReadonlySet<string>): boolean {
  if (typeof node !== 'object' || node === null) return false;
  const column = child(node, 'ColumnRef');
  if (column !== null && names.has(lastName(column))) return true;
  for (const key in node) if (mentions((node as Tree)[key], names)) return true;
  return false;
}

function lastName(column: Tree): string {
  return nameParts(list(column, 'fields')).at(-1) ?? '';
}

/**
 * Does one of the names stand where its value may be converted? `within`: in something that does; `asItIs`: here a column is
 * passed on.
 */
function converts(node: unknown, names: ReadonlySet<string>, within: boolean, asItIs: boolean): boolean {
  if (typeof node !== 'object' || node === null) return false;
  if (Array.isArray(node)) return node.some((item) => converts(item, names, within, asItIs));
  for (const key in node) {
    const value = (node as Tree)[key];
    if (key === 'ColumnRef') {
      if ((within || !asItIs) && names.has(lastName(value as Tree))) return true;
    } else if (/^[A-Z]/.test(key)) {
      if (convertsIn(key, value, names, within)) return true;
    } else if (converts(value, names, within, false)) return true;
  }
  return false;
}

function convertsIn(type: string, body: unknown, names: ReadonlySet<string>, within: boolean): boolean {
  if (typeof body !== 'object' || body === null) return false;
  const joins = type === 'SelectStmt' && !['', 'SETOP_NONE'].includes(text(body, 'op'));
  const inside = within || joins || !CARRYING.has(type);
  const fields = AS_IT_IS.get(type) ?? NOWHERE;
  for (const field in body)
    if (converts((body as Tree)[field], names, inside, fields.has(field))) return true;
  return false;
}
