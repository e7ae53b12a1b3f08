/** What a command touches beyond the relations that the walk over its tree meets. */
import type { Context } from './context.ts';
import { bodyOf, flag, list, nameParts, type Tree, text } from './tree.ts';
import { visit } from './walk.ts';

/** Notes relations that a command names as bare words, and schemas of which it touches everything. */
export function noteReach(context: Context, type: string, node: Tree): void {
  const { facts } = context;
  if (type === 'DropStmt') return noteDropped(context, node);
  if (type === 'CommentStmt' || type === 'SecLabelStmt') return noteLabelled(context, node);
  if (type === 'GrantStmt' && text(node, 'targtype') === 'ACL_TARGET_ALL_IN_SCHEMA')
    for (const schema of nameParts(list(node, 'objects'))) facts.reach(schema);
  if (type === 'ReindexStmt' && text(node, 'name') !== '')
    facts.reach(text(node, 'kind') === 'REINDEX_OBJECT_SCHEMA' ? text(node, 'name') : null);
  if (type === 'CreatePublicationStmt' || type === 'AlterPublicationStmt') notePublished(context, node);
  if (EVERYTHING.has(type) || EVERYTHING_WITHOUT[type]?.every((key) => node[key] === undefined) === true)
    facts.reach(null);
}

/** Commands that touch whatever somebody owns, or a whole database. */
const EVERYTHING: ReadonlySet<string> = new Set([
  'AlterTableMoveAllStmt',
  'DropOwnedStmt',
  'DropdbStmt',
  'ReassignOwnedStmt',
]);
/** Commands that do so where they name nothing. */
const EVERYTHING_WITHOUT: Readonly<Record<string, readonly string[]>> = {
  ClusterStmt: ['relation'],
  VacuumStmt: ['rels'],
};

/** Kinds whose objects are relations, and those that stand behind the name of one. */
const RELATIONS = /^OBJECT_(?:TABLE|VIEW|MATVIEW|SEQUENCE|FOREIGN_TABLE|INDEX)$/;
const OF_RELATIONS = /^OBJECT_(?:TRIGGER|POLICY|RULE|COLUMN|TABCONSTRAINT)$/;

function noteDropped(context: Context, node: Tree): void {
  const kind = text(node, 'removeType');
  const names = list(node, 'objects').map((item) => nameParts(list(bodyOf(item, 'List'), 'items')));
  if (kind === 'OBJECT_SCHEMA')
    for (const schema of nameParts(list(node, 'objects'))) context.facts.reach(schema);
  for (const name of names) noteObject(context, kind, name);
}

function noteLabelled(context: Context, node: Tree): void {
  noteObject(context, text(node, 'objtype'), nameParts(list(bodyOf(node['object'], 'List'), 'items')));
}

function noteObject(context: Context, kind: string, name: readonly string[]): void {
  const relation = RELATIONS.test(kind) ? name : OF_RELATIONS.test(kind) ? name.slice(0, -1) : [];
  const [relname, schemaname] = [relation.at(-1), relation.at(-2)];
  if (relname === undefined) return;
  const { definition } = context;
  context.definition = true;
  const RangeVar = { relname, relpersistence: 'p', ...(schemaname === undefined ? {} : { schemaname }) };
  visit(context, { RangeVar });
  context.definition = definition;
}

function notePublished(context: Context, node: Tree): void {
  if (flag(node, 'for_all_tables')) context.facts.reach(null);
  for (const item of list(node, 'pubobjects')) {
    const object = bodyOf(item, 'PublicationObjSpec');
    const kind = text(object, 'pubobjtype');
    if (kind === 'PUBLICATIONOBJ_TABLES_IN_SCHEMA') context.facts.reach(text(object, 'name'));
    if (kind === 'PUBLICATIONOBJ_TABLES_IN_CUR_SCHEMA') context.facts.reach(null);
  }
}
