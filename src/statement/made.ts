import type { StatementAnalysis } from './analysis.ts';
import { builtinFunction, JUDGED_BY_ARGUMENTS } from './builtins.ts';
import type { Context } from './context.ts';
import { isSystemSchema } from './system-relations.ts';
import { bodyOf, child, flag, list, type Tree, text, typeOf } from './tree.ts';

/**
 * Tables that earlier statements of the same string make. The catalog does not know them; but where the string says all
 * of what they are, they are plain: no triggers, rules or policies, no code of users in defaults, checks and types.
 */

/** Whether the name, as written, means such a table. `schema`: '' where none is written. */
export function isMade(context: Context, schema: string, name: string): boolean {
  const { made } = context;
  return made.size > 0 && made.has(keyOf(schema.startsWith('pg_temp') ? TEMP : schema, name));
}

/** A temporary one hides every other that a bare name could mean, unless the search_path says when it is looked for. */
export function isMadeTemporary({ made, path }: Context, name: string): boolean {
  if (made.size === 0 || path === null || path.some((schema) => schema.startsWith(TEMP))) return false;
  return made.has(keyOf(TEMP, name));
}

/** To be called when a statement of the string was analysed, before the next one is. */
export function noteMade(context: Context, node: unknown, statement: StatementAnalysis): void {
  if (context.base === null) return;
  if (context.made.size > 0 && mayChange(node, statement)) context.made.clear();
  // What its class is beyond that, somebody may do to the table at once.
  if (statement.class !== 'ddl') return;
  const target = plainTable(node, statement, context);
  if (target === null) return;
  const name = text(target, 'relname');
  const schema = text(target, 'schemaname');
  if (text(target, 'relpersistence') === 't' || schema.startsWith('pg_temp'))
    context.made.add(keyOf(TEMP, name));
  else if (schema !== '') context.made.add(keyOf(schema, name));
  else if (context.path?.[0] !== undefined) context.made.add(keyOf(context.path[0], name));
}

const TEMP = 'pg_temp';

function keyOf(schema: string, name: string): string {
  return JSON.stringify([schema, name]);
}

const HARMLESS_DEFINITIONS: ReadonlySet<string> = new Set(['CreateStmt', 'CreateTableAsStmt', 'CommentStmt']);
const KEEPS: ReadonlySet<string> = new Set(['begin', 'savepoint', 'release']);

/** After it they may be gone, be something else, or not be what a bare name means. */
function mayChange(node: unknown, { class: rank, symbols, changesSearchPath }: StatementAnalysis): boolean {
  if (changesSearchPath) return true;
  if (symbols.some((one) => one.kind === 'discard' || (one.kind === 'transaction' && !KEEPS.has(one.op))))
    return true;
  const type = typeOf(node);
  if (rank === 'privilege') return type !== 'GrantStmt';
  if (rank !== 'ddl') return rank === 'opaque' || rank === 'admin' || rank === 'unparsed';
  if (type === 'SelectStmt' || HARMLESS_DEFINITIONS.has(type)) return false;
  return type !== 'IndexStmt' || !isPlainIndex(child(node, type));
}

function isPlainIndex(index: Tree | null): boolean {
  if (index === null || child(index, 'whereClause') !== null) return false;
  return list(index, 'indexParams').every((item) => {
    const element = bodyOf(item, 'IndexElem');
    return element !== null && text(element, 'name') !== '' && list(element, 'opclass').length === 0;
  });
}

/** The name of the table that the statement makes, where all of it is known to be plain; else null. */
function plainTable(node: unknown, statement: StatementAnalysis, { catalog }: Context): Tree | null {
  const type = typeOf(node);
  const body = child(node, type);
  if (body === null || !namesOnlyHarmless(statement)) return null;
  if (type === 'CreateStmt') return isPlainDefinition(body, catalog) ? child(body, 'relation') : null;
  const into = child(body, type === 'SelectStmt' ? 'intoClause' : 'into');
  if ((type !== 'SelectStmt' && type !== 'CreateTableAsStmt') || into === null) return null;
  if (flag(body, 'if_not_exists') || text(body, 'objtype') === 'OBJECT_MATVIEW') return null;
  if (text(into, 'accessMethod') !== '') return null;
  // Its columns have the types of what is read.
  const known = statement.relations.every(({ schema, name, mode }) => {
    if (mode === 'write' || (schema !== null && isSystemSchema(schema))) return true;
    const relation = schema === null ? undefined : catalog?.relation(schema, name);
    return relation?.columns.every(({ builtinType }) => builtinType) === true;
  });
  return known ? child(into, 'rel') : null;
}

function isPlainDefinition(body: Tree, catalog: Context['catalog']): boolean {
  const relation = child(body, 'relation');
  if (list(body, 'inhRelations').length > 0 || text(body, 'accessMethod') !== '') return false;
  for (const part of ['partbound', 'partspec', 'ofTypename']) if (child(body, part) !== null) return false;
  if (flag(body, 'if_not_exists')) {
    // Then it may be the table that is there already.
    const temporary = text(relation, 'relpersistence') === 't' || text(relation, 'schemaname') !== '';
    if (temporary || (catalog?.relationsNamed(text(relation, 'relname')).length ?? 1) > 0) return false;
  }
  return list(body, 'tableElts').every((element) => {
    const column = bodyOf(element, 'ColumnDef');
    if (column !== null) return list(column, 'constraints').every(isPlainConstraint);
    return isPlainConstraint(element);
  });
}

function isPlainConstraint(item: unknown): boolean {
  const constraint = bodyOf(item, 'Constraint');
  return constraint !== null && text(constraint, 'contype') !== 'CONSTR_EXCLUSION';
}

/** What it writes down runs later, so it must be known to compute and nothing else. */
function namesOnlyHarmless({ functions, operators, types, casts }: StatementAnalysis): boolean {
  if (operators.length + types.length + casts.length > 0) return false;
  return functions.every(({ name, schema, builtin }) => {
    const full = schema === null || schema === 'pg_catalog' ? name : `${schema}.${name}`;
    return builtin && builtinFunction(full)?.effect === null && !JUDGED_BY_ARGUMENTS.has(full);
  });
}
