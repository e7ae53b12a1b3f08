import { markCodeSecrets } from './code-secrets.ts';
import { CROSSES, FIXED, objectWords } from './commands.ts';
import { type Context, unparsed } from './context.ts';
import { markAllLiterals, markNextLiteral } from './literals.ts';
import { noteReach } from './reach.ts';
import { relationSource } from './sources.ts';
import { bodyOf, child, flag, integer, list, nameParts, type Tree, text } from './tree.ts';
import { HANDLERS, visit, visitAll, visitAs, visitChildren } from './walk.ts';

/** Byte range of the statement, for the commands whose literals are secrets. */
type Place = { readonly start: number; readonly end: number };

type Command = (context: Context, node: Tree, place: Place, type: string) => void;

/** Commands whose class hangs on their options. Session commands are in session-commands.ts. */
const COMMANDS: Readonly<Record<string, Command>> = {
  AlterDatabaseSetStmt: (context, node) =>
    defines(context, node, 'AlterDatabaseSetStmt', 'admin', 'changes the settings of every later session'),
  AlterForeignServerStmt: serverCommand,
  AlterFunctionStmt: alterFunction,
  AlterRoleStmt: roleCommand,
  AlterSubscriptionStmt: subscription,
  AlterSystemStmt: alterSystem,
  AlterTableStmt: alterTable,
  AlterUserMappingStmt: userMapping,
  CallStmt: call,
  CopyStmt: copy,
  CreateForeignServerStmt: serverCommand,
  CreateFunctionStmt: createFunction,
  CreateRoleStmt: roleCommand,
  CreateSchemaStmt: createSchema,
  CreateSubscriptionStmt: subscription,
  CreateTableAsStmt: createTableAs,
  CreateUserMappingStmt: userMapping,
  DefineStmt: defineStatement,
  DoStmt: doBlock,
  DropStmt: drop,
  LockStmt: lock,
  RenameStmt: rename,
  TruncateStmt: truncate,
  VacuumStmt: vacuum,
};

/** Judges a command that is neither a query nor about the session; false where it is not one of these. */
export function utilityCommand(context: Context, type: string, node: Tree, place: Place): boolean {
  const crosses = CROSSES[type];
  if (crosses !== undefined) context.facts.details.cross(crosses);
  noteReach(context, type, node);
  const fixed = FIXED[type];
  if (fixed !== undefined) {
    const [class_, tag, reason] = fixed;
    context.facts.command = type === 'GrantStmt' && !flag(node, 'is_grant') ? 'REVOKE' : tag;
    defines(context, node, type, class_, reason);
    noteRoles(context, type, node);
    markSecretOptions(context, node, place);
    return true;
  }
  const command = COMMANDS[type];
  if (command === undefined) return false;
  command(context, node, place, type);
  return true;
}

/** A definition: what is in it is written down and does not run now. */
function defines(
  context: Context,
  node: Tree,
  type: string,
  class_: 'ddl' | 'privilege' | 'admin',
  reason: string,
): void {
  context.facts.raise(class_, reason);
  const { definition } = context;
  context.definition = true;
  visitChildren(context, type, node);
  context.definition = definition;
  if (
    class_ === 'ddl' &&
    type.startsWith('Create') &&
    (context.path === null || context.path.some(isTempSchema))
  )
    context.facts.makesTemp = true;
}

/** Roles that these commands name as words, not as a role. */
function noteRoles(context: Context, type: string, node: Tree): void {
  const { details } = context.facts;
  if (type === 'CreateRoleStmt') details.add('roles', text(node, 'role'));
  if (type === 'RenameStmt') for (const key of ['subname', 'newname']) details.add('roles', text(node, key));
  if (type === 'GrantRoleStmt')
    for (const granted of list(node, 'granted_roles'))
      details.add('roles', text(bodyOf(granted, 'AccessPriv'), 'priv_name'));
}

function isTempSchema(schema: string): boolean {
  return schema.startsWith('pg_temp');
}

function drop(context: Context, node: Tree): void {
  const kind = text(node, 'removeType');
  context.facts.command = `DROP ${objectWords(kind)}`;
  if (kind === 'OBJECT_POLICY')
    defines(context, node, 'DropStmt', 'privilege', 'changes which rows may be seen');
  else defines(context, node, 'DropStmt', 'ddl', `drops a ${objectWords(kind).toLowerCase()}`);
}

function rename(context: Context, node: Tree): void {
  const kind = text(node, 'renameType');
  context.facts.command = `ALTER ${objectWords(kind)}`;
  const guarded = kind === 'OBJECT_ROLE' || kind === 'OBJECT_POLICY';
  const reason = `renames a ${objectWords(kind).toLowerCase()}`;
  defines(context, node, 'RenameStmt', guarded ? 'privilege' : 'ddl', reason);
  if (kind === 'OBJECT_ROLE') noteRoles(context, 'RenameStmt', node);
}

function defineStatement(context: Context, node: Tree): void {
  const kind = objectWords(text(node, 'kind'));
  context.facts.command = `CREATE ${kind}`;
  defines(context, node, 'DefineStmt', 'ddl', `creates a ${kind.toLowerCase()}`);
}

const ROW_SECURITY = new Set([
  'AT_EnableRowSecurity',
  'AT_DisableRowSecurity',
  'AT_ForceRowSecurity',
  'AT_NoForceRowSecurity',
]);

function alterTable(context: Context, node: Tree): void {
  context.facts.command = `ALTER ${objectWords(text(node, 'objtype'))}`;
  defines(context, node, 'AlterTableStmt', 'ddl', 'changes a table, view, index or sequence');
  for (const item of list(node, 'cmds')) {
    const kind = text(bodyOf(item, 'AlterTableCmd'), 'subtype');
    // AT_DropColumn: DROP COLUMN.
    const words = kind.replace('AT_', '').replace(/(?<=[a-z])(?=[A-Z])/g, ' ');
    context.facts.does(`${context.facts.command} ${words.toUpperCase()}`);
    if (kind === 'AT_ChangeOwner') context.facts.raise('privilege', 'gives an object to another owner');
    if (ROW_SECURITY.has(kind)) context.facts.raise('privilege', 'switches row-level security');
  }
}

function option(node: Tree, key: string, name: string): Tree | null {
  for (const item of list(node, key)) {
    const element = bodyOf(item, 'DefElem');
    if (element !== null && text(element, 'defname') === name) return element;
  }
  return null;
}

function createFunction(context: Context, node: Tree, place: Place): void {
  const kind = flag(node, 'is_procedure') ? 'PROCEDURE' : 'FUNCTION';
  context.facts.command = `CREATE ${kind}`;
  defines(context, node, 'CreateFunctionStmt', 'ddl', `creates a ${kind.toLowerCase()}`);
  securityDefiner(context, node, 'options');
  const language = languageOf(node, 'options').toLowerCase();
  const body = option(node, 'options', 'as');
  if (body !== null) markCodeSecrets(context, language, integer(body, 'location'), place.end);
  if (language !== 'c' && language !== 'internal') return;
  context.facts.raise('admin', `a function in ${language} runs code of the server's machine`);
  context.facts.details.cross('server_files');
}

/** '' where none is named. */
function languageOf(node: Tree, key: string): string {
  return text(child(child(option(node, key, 'language'), 'arg'), 'String'), 'sval');
}

function alterFunction(context: Context, node: Tree): void {
  defines(context, node, 'AlterFunctionStmt', 'ddl', 'changes a function');
  securityDefiner(context, node, 'actions');
}

function securityDefiner(context: Context, node: Tree, key: string): void {
  const security = child(option(node, key, 'security'), 'arg');
  if (security !== null && flag(child(security, 'Boolean'), 'boolval'))
    context.facts.raise('privilege', "SECURITY DEFINER: runs with its owner's rights");
}

function createSchema(context: Context, node: Tree): void {
  const { definition } = context;
  context.facts.raise('ddl', 'creates a schema');
  if (child(node, 'authrole') !== null)
    context.facts.raise('privilege', 'creates a schema for another owner');
  for (const element of list(node, 'schemaElts')) visit(context, element);
  context.definition = true;
  visitChildren(context, 'CreateSchemaStmt', { ...node, schemaElts: [] });
  context.definition = definition;
}

/** Creates and fills at once: what the query does counts, too. */
function createTableAs(context: Context, node: Tree): void {
  const kind = objectWords(text(node, 'objtype'));
  context.facts.command = `CREATE ${kind} AS`;
  context.facts.raise('ddl', `creates a ${kind.toLowerCase()}`);
  visitAs(context, 'IntoClause', child(node, 'into'));
  visitChildren(context, 'CreateTableAsStmt', { ...node, into: undefined });
}

function roleCommand(context: Context, node: Tree, place: Place, type: string): void {
  if (type === 'CreateRoleStmt') {
    const kind = text(node, 'stmt_type').replace('ROLESTMT_', '');
    context.facts.command = `CREATE ${kind}`;
  }
  const verb = type === 'CreateRoleStmt' ? 'creates' : 'changes';
  defines(context, node, type, 'privilege', `${verb} a role`);
  noteRoles(context, type, node);
  for (const item of list(node, 'options')) {
    const element = bodyOf(item, 'DefElem');
    if (element !== null && text(element, 'defname') === 'password' && child(element, 'arg') !== null)
      markNextLiteral(context, integer(element, 'location'), place.end);
  }
}

/** Of wrappers, foreign tables and imports: options that are named as secrets are. */
function markSecretOptions(context: Context, node: Tree, place: Place): void {
  for (const item of list(node, 'options')) {
    const element = bodyOf(item, 'DefElem');
    if (element !== null && /passw|secret|token/i.test(text(element, 'defname')))
      markNextLiteral(context, integer(element, 'location'), place.end);
  }
}

function userMapping(context: Context, node: Tree, place: Place, type: string): void {
  defines(context, node, type, 'privilege', 'changes the credentials for another server');
  markAllLiterals(context, place.start, place.end);
}

function serverCommand(context: Context, node: Tree, place: Place, type: string): void {
  defines(context, node, type, 'ddl', 'changes which other servers can be reached');
  if (list(node, 'options').length > 0) markAllLiterals(context, place.start, place.end);
}

function subscription(context: Context, node: Tree, place: Place, type: string): void {
  defines(context, node, type, 'ddl', 'takes data from another server');
  if (text(node, 'conninfo') !== '') markNextLiteral(context, place.start, place.end);
}

function alterSystem(context: Context, node: Tree, place: Place): void {
  defines(context, node, 'AlterSystemStmt', 'admin', 'changes the configuration of the server');
  // Held with all it says; but what it sets may be a connection string.
  if (/conninfo|passphrase/.test(text(child(node, 'setstmt'), 'name')))
    markAllLiterals(context, place.start, place.end);
}

function call(context: Context, node: Tree): void {
  context.facts.raise('opaque', 'calls a procedure');
  visitChildren(context, 'CallStmt', node);
}

function doBlock(context: Context, node: Tree, place: Place): void {
  context.facts.raise('opaque', 'runs a block of code');
  const body = option(node, 'args', 'as');
  const language = languageOf(node, 'args') || 'plpgsql';
  if (body !== null) markCodeSecrets(context, language, integer(body, 'location'), place.end);
  visitChildren(context, 'DoStmt', node);
}

function copy(context: Context, node: Tree): void {
  const { facts } = context;
  const into = flag(node, 'is_from');
  facts.command = into ? 'COPY FROM' : 'COPY TO';
  if (flag(node, 'is_program')) {
    facts.raise('admin', 'COPY runs a program on the server');
    facts.details.cross('program');
  } else if (text(node, 'filename') !== '') {
    facts.raise('admin', 'COPY uses a file of the server');
    facts.details.cross('server_files');
  } else if (into) facts.raise('write');
  else facts.raise('export', 'COPY TO sends out everything it reads');
  const relation = child(node, 'relation');
  if (relation !== null) {
    const { use } = relationSource(context, relation, into ? 'insert' : 'read');
    const columns = nameParts(list(node, 'attlist'));
    if (columns.length === 0) use?.noteAll(into ? 'written' : 'read');
    for (const column of columns) use?.note(into ? 'written' : 'read', column);
  }
  visit(context, node['query']);
  visit(context, node['whereClause']);
  // Options are checked, not run; the relation was seen above.
  visitChildren(context, 'CopyStmt', {
    ...node,
    relation: undefined,
    query: undefined,
    whereClause: undefined,
  });
}

function truncate(context: Context, node: Tree): void {
  context.facts.raise('bulk_write', 'TRUNCATE removes every row');
  for (const item of list(node, 'relations')) {
    const relation = bodyOf(item, 'RangeVar');
    if (relation === null) unparsed(context, 'TRUNCATE of something unknown');
    else relationSource(context, relation, 'delete').use?.noteAll('written');
  }
  visitChildren(context, 'TruncateStmt', { ...node, relations: [] });
}

const ACCESS_SHARE = 1;

function lock(context: Context, node: Tree): void {
  context.facts.raise(integer(node, 'mode') === ACCESS_SHARE ? 'read' : 'write');
  for (const item of list(node, 'relations')) {
    const relation = bodyOf(item, 'RangeVar');
    if (relation === null) unparsed(context, 'LOCK of something unknown');
    else named(context, relation);
  }
  visitChildren(context, 'LockStmt', { ...node, relations: [] });
}

/** A relation that is only locked: no row of it is read, so none of what reading sets off runs. */
function named(context: Context, relation: Tree): void {
  const { definition } = context;
  context.definition = true;
  relationSource(context, relation, 'read');
  context.definition = definition;
}

function vacuum(context: Context, node: Tree): void {
  if (flag(node, 'is_vacuumcmd')) {
    context.facts.command = 'VACUUM';
    context.facts.raise('admin', 'VACUUM works on whole tables');
  } else {
    context.facts.command = 'ANALYZE';
    context.facts.raise('write');
  }
  for (const item of list(node, 'rels')) {
    const relation = child(bodyOf(item, 'VacuumRelation'), 'relation');
    if (relation !== null) relationSource(context, relation, 'analyze');
  }
  if (list(node, 'rels').length === 0 && context.catalog !== null)
    for (const effect of context.catalog.analyzeEffects ?? ['what the tables call is not known'])
      context.facts.raise('opaque', `ANALYZE of every table: ${effect}`);
  const { definition } = context;
  context.definition = true;
  visitAll(context, list(node, 'options'));
  visitChildren(context, 'VacuumStmt', { ...node, rels: [], options: [] });
  context.definition = definition;
}

/** Statements inside others (schema elements, rule actions, function bodies) are judged as what they are. */
export function installUtilityHandlers(): void {
  for (const type of [...Object.keys(FIXED), ...Object.keys(COMMANDS)]) {
    HANDLERS.set(type, (context, node) => {
      const { command } = context.facts;
      utilityCommand(context, type, node, { start: 0, end: context.sql.length });
      context.facts.command = command;
    });
  }
}
