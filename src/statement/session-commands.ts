import type { StatementAnalysis, TransactionOp } from './analysis.ts';
import type { Doubt } from './answers.ts';
import { type Context, unparsed } from './context.ts';
import type { Facts } from './facts.ts';
import { noteSetting, noteSettingOf, settingValue } from './setting-uses.ts';
import { isOn, judgeSetting } from './settings.ts';
import { bodyOf, child, flag, integer, list, type Tree, text, typeOf } from './tree.ts';
import { visitAll, visitChildren } from './walk.ts';

/** Analyses a contained statement by itself. Given by analyse.ts, which knows all kinds. */
export type Inner = (context: Context, wrapped: unknown) => StatementAnalysis;
type Command = (context: Context, node: Tree, inner: Inner) => void;

/** Commands about the session: transactions, settings, prepared statements, cursors. */
const COMMANDS: Readonly<Record<string, Command>> = {
  ClosePortalStmt: closePortal,
  ConstraintsSetStmt: (context, node) => visitChildren(context, 'ConstraintsSetStmt', withoutRelations(node)),
  DeallocateStmt: deallocate,
  DeclareCursorStmt: declareCursor,
  DiscardStmt: discard,
  ExecuteStmt: execute,
  ExplainStmt: explain,
  FetchStmt: fetch,
  ListenStmt: (context, node) => visitChildren(context, 'ListenStmt', node),
  NotifyStmt: (context, node) => visitChildren(context, 'NotifyStmt', node),
  PrepareStmt: prepare,
  TransactionStmt: transaction,
  UnlistenStmt: (context, node) => visitChildren(context, 'UnlistenStmt', node),
  VariableSetStmt: set,
  VariableShowStmt: show,
};

/** Judges a command about the session; false where it is not one. */
export function sessionCommand(context: Context, type: string, node: Tree, inner: Inner): boolean {
  const command = COMMANDS[type];
  if (command === undefined) return false;
  command(context, node, inner);
  return true;
}

function withoutRelations(node: Tree): Tree {
  return { ...node, constraints: [] };
}

const TRANSACTION_OPS: Readonly<Record<string, readonly [TransactionOp, string]>> = {
  TRANS_STMT_BEGIN: ['begin', 'BEGIN'],
  TRANS_STMT_START: ['begin', 'START TRANSACTION'],
  TRANS_STMT_COMMIT: ['commit', 'COMMIT'],
  TRANS_STMT_ROLLBACK: ['rollback', 'ROLLBACK'],
  TRANS_STMT_SAVEPOINT: ['savepoint', 'SAVEPOINT'],
  TRANS_STMT_RELEASE: ['release', 'RELEASE'],
  TRANS_STMT_ROLLBACK_TO: ['rollback_to', 'ROLLBACK'],
  TRANS_STMT_PREPARE: ['two_phase', 'PREPARE TRANSACTION'],
  TRANS_STMT_COMMIT_PREPARED: ['two_phase', 'COMMIT PREPARED'],
  TRANS_STMT_ROLLBACK_PREPARED: ['two_phase', 'ROLLBACK PREPARED'],
};

const CHARACTERISTICS = new Set(['transaction_isolation', 'transaction_read_only', 'transaction_deferrable']);

function transaction(context: Context, node: Tree): void {
  const { facts } = context;
  visitChildren(context, 'TransactionStmt', node);
  const [op, tag] = TRANSACTION_OPS[text(node, 'kind')] ?? [null, ''];
  if (op === null) return unparsed(context, 'a transaction command is not known');
  facts.command = tag;
  for (const item of list(node, 'options')) {
    if (!CHARACTERISTICS.has(text(bodyOf(item, 'DefElem'), 'defname')))
      unparsed(context, 'an option of a transaction is not known');
  }
  if (op === 'two_phase') facts.raise('admin', 'two-phase commit leaves transactions behind');
  const chained = flag(node, 'chain') && (op === 'commit' || op === 'rollback');
  facts.symbols.push({ kind: 'transaction', op: chained ? `${op}_and_chain` : op });
  // SET LOCAL ends here, and a rollback takes SET back: which path counts is no longer known from the text.
  if (context.pathChanged && op !== 'savepoint' && op !== 'release' && op !== 'begin') context.path = null;
}

function set(context: Context, node: Tree): void {
  const { facts } = context;
  visitChildren(context, 'VariableSetStmt', node);
  noteSetting(context, node);
  const kind = text(node, 'kind');
  const name = text(node, 'name').toLowerCase();
  facts.command = kind === 'VAR_RESET' || kind === 'VAR_RESET_ALL' ? 'RESET' : 'SET';
  if (kind === 'VAR_RESET_ALL') return newPath(context, null);
  if (kind === 'VAR_SET_MULTI') {
    // SET TRANSACTION, SET SESSION CHARACTERISTICS, SET TRANSACTION SNAPSHOT
    if (!['transaction', 'session characteristics', 'transaction snapshot'].includes(name))
      unparsed(context, `SET ${name} is not known`);
    return;
  }
  const args = list(node, 'args').map(settingValue);
  const value = kind === 'VAR_SET_VALUE' ? args.join(', ') : null;
  const judged = judgeSetting(name, value, kind !== 'VAR_SET_CURRENT' && !args.includes(null));
  facts.raise(judged.class, judged.class === 'session' ? undefined : judged.reason);
  if (judged.pinned) facts.changesPinned = true;
  if (name === 'search_path') {
    const names = args.filter((arg) => arg !== null);
    newPath(context, kind === 'VAR_SET_VALUE' && names.length === args.length ? names : null);
  }
}

/** What bare names mean in the rest of this string. `$user` is not known here. */
function newPath(context: Context, path: readonly string[] | null): void {
  context.facts.changesSearchPath = true;
  context.pathChanged = true;
  context.pathIsFresh = true;
  context.path = path?.includes('$user') ? null : path;
}

function show(context: Context, node: Tree): void {
  visitChildren(context, 'VariableShowStmt', node);
  noteSettingOf(context.facts.details, text(node, 'name'), null, 'show', false);
  if (/conninfo|passphrase/.test(text(node, 'name').toLowerCase()))
    context.facts.raise('privilege', 'shows a setting that may hold a password');
}

function discard(context: Context, node: Tree): void {
  visitChildren(context, 'DiscardStmt', node);
  const what = text(node, 'target').replace('DISCARD_', '').toLowerCase();
  if (what !== 'all' && what !== 'plans' && what !== 'sequences' && what !== 'temp')
    return unparsed(context, 'DISCARD of something unknown');
  context.facts.symbols.push({ kind: 'discard', what });
  if (what !== 'all') return;
  newPath(context, null);
  context.portals.clear();
}

function prepare(context: Context, node: Tree, inner: Inner): void {
  const body = inner(context, node['query']);
  // A value given to EXECUTE is turned into the type declared, which for a domain calls its check.
  visitAll(context, list(node, 'argtypes'));
  visitChildren(context, 'PrepareStmt', { ...node, query: undefined, argtypes: [] });
  context.facts.absorb(body);
  context.facts.doubt = asked(body.doubt);
  const name = text(node, 'name');
  const known = { ...body, doubt: null };
  context.prepared.set(name, known);
  context.facts.symbols.push({ kind: 'prepare', name, body: known });
}

function execute(context: Context, node: Tree): void {
  visitChildren(context, 'ExecuteStmt', node);
  named(context, text(node, 'name'), 'run');
}

/** EXECUTE of a name: what this string prepared, or what the session knows (see resolve-names.ts). */
function named(context: Context, name: string, use: 'run' | 'explain'): void {
  const { facts } = context;
  facts.symbols.push({ kind: 'execute', name });
  const body = context.prepared.get(name);
  // Under another search_path the server analyses a prepared statement anew.
  if (context.pathChanged || body === null)
    return facts.raise('opaque', `executes ${name}, which this string may have changed the meaning of`);
  if (body !== undefined) {
    if (use === 'run') {
      facts.absorbRun(body);
      facts.rowBound = body.rowBound;
      facts.rowBoundBy = body.rowBoundBy;
    } else absorbPlanned(facts, body);
    return;
  }
  facts.unresolved = {
    kind: 'statement',
    name,
    class: facts.class,
    reasons: facts.reasons,
    use,
    count: 'all',
  };
  facts.raise('opaque', `executes the prepared statement ${name}, which is not known here`);
}

function deallocate(context: Context, node: Tree): void {
  visitChildren(context, 'DeallocateStmt', node);
  const name = flag(node, 'isall') ? null : text(node, 'name');
  if (name !== null) context.prepared.set(name, null);
  else for (const known of context.prepared.keys()) context.prepared.set(known, null);
  context.facts.symbols.push({ kind: 'deallocate', name });
}

const CURSOR_HOLD = 0x0020;

function declareCursor(context: Context, node: Tree, inner: Inner): void {
  const { facts, later } = context;
  context.later = true;
  const body = inner(context, node['query']);
  context.later = later;
  visitChildren(context, 'DeclareCursorStmt', { ...node, query: undefined });
  facts.absorb(body);
  const hold = (integer(node, 'options') & CURSOR_HOLD) !== 0;
  if (hold) {
    facts.raise('export', 'a cursor WITH HOLD keeps its whole result');
    facts.measured = null;
  }
  // One that keeps its result is an export of any size.
  facts.doubt = hold ? asked(body.doubt, false) : asked(body.doubt);
  const name = text(node, 'portalname');
  const known = { ...body, doubt: null };
  context.portals.set(name, known);
  facts.symbols.push({ kind: 'declare', name, hold, body: known });
}

const ALL_ROWS = 2_147_483_647;

function fetch(context: Context, node: Tree): void {
  const { facts } = context;
  visitChildren(context, 'FetchStmt', node);
  const name = text(node, 'portalname');
  const move = flag(node, 'ismove');
  const direction = text(node, 'direction');
  const many = Math.abs(Number(node['howMany'] ?? 0));
  const single = direction === 'FETCH_ABSOLUTE' || direction === 'FETCH_RELATIVE';
  const count = single ? 1 : many >= ALL_ROWS ? 'all' : many;
  facts.command = move ? 'MOVE' : 'FETCH';
  facts.symbols.push({ kind: 'fetch', name, count, move });
  facts.rowBound = move ? 0 : count === 'all' ? null : count;
  if (!move && count !== 'all') facts.rowBoundBy = 'fetch';
  const body = context.portals.get(name);
  if (body === undefined) {
    facts.unresolved = {
      kind: 'portal',
      name,
      class: facts.class,
      reasons: facts.reasons,
      use: 'fetch',
      count,
    };
    return facts.raise('opaque', `fetches from the cursor ${name}, which is not known here`);
  }
  facts.absorbRun(body);
  if (facts.rowBound === null) {
    facts.rowBound = body.rowBound;
    facts.rowBoundBy = body.rowBoundBy;
  }
  if (
    count !== 'all' &&
    count > context.limits.exportRows &&
    (body.rowBound ?? count) > context.limits.exportRows
  )
    facts.raise('export', `fetches ${count} rows, more than ${context.limits.exportRows}`);
}

function closePortal(context: Context, node: Tree): void {
  visitChildren(context, 'ClosePortalStmt', node);
  const name = text(node, 'portalname') || null;
  if (name === null) context.portals.clear();
  else context.portals.delete(name);
  context.facts.symbols.push({ kind: 'close', name });
}

const EXPLAIN_OPTIONS = new Set([
  'analyze',
  'verbose',
  'costs',
  'settings',
  'generic_plan',
  'buffers',
  'wal',
  'summary',
  'timing',
  'memory',
  'serialize',
  'format',
]);

/** EXPLAIN only plans, which runs functions that claim to be stable; with ANALYZE it runs the statement. */
function explain(context: Context, node: Tree, inner: Inner): void {
  const { facts } = context;
  let analyze = false;
  for (const item of list(node, 'options')) {
    const element = bodyOf(item, 'DefElem');
    const name = text(element, 'defname');
    if (!EXPLAIN_OPTIONS.has(name)) unparsed(context, `the EXPLAIN option ${name} is not known`);
    // The last one counts.
    if (name === 'analyze') analyze = isSwitchedOn(child(element, 'arg'));
  }
  const query = node['query'];
  visitChildren(context, 'ExplainStmt', { ...node, query: undefined });
  if (typeOf(query) === 'ExecuteStmt') {
    const body = child(query, 'ExecuteStmt') ?? {};
    facts.raise('read');
    visitChildren(context, 'ExecuteStmt', body);
    return named(context, text(body, 'name'), analyze ? 'run' : 'explain');
  }
  const portals = new Map(context.portals);
  const body = inner(context, query);
  // EXPLAIN DECLARE makes no cursor.
  context.portals.clear();
  for (const [name, portal] of portals) context.portals.set(name, portal);
  if (analyze) facts.absorbRun(body);
  else absorbPlanned(facts, body);
  // Of what is only planned no rows come back.
  facts.doubt = asked(body.doubt, analyze);
  facts.raise('read');
}

/** What is still to be asked; null: nothing. */
function asked(doubt: Doubt | null, size = true): Doubt | null {
  if (doubt === null) return null;
  const rest = { ...doubt, size: doubt.size && size };
  return rest.names || rest.size ? rest : null;
}

/** What planning can do: not write, not return rows; but call what it takes for stable. */
export function absorbPlanned(facts: Facts, body: StatementAnalysis): void {
  facts.absorbFacts(body, 'read');
  if (['opaque', 'admin', 'unparsed', 'privilege'].includes(body.class))
    for (const reason of body.reasons) facts.raise(body.class, `planned: ${reason}`);
  facts.raise('read');
}

/** As defGetBoolean: no value means on; what it does not know is an error there, so on here. */
function isSwitchedOn(arg: Tree | null): boolean {
  if (arg === null) return true;
  if (typeOf(arg) === 'Integer') return integer(arg['Integer'], 'ival') !== 0;
  const word = text(arg['String'], 'sval').toLowerCase();
  return !(word === 'false' || word === 'off') || isOn(word);
}
