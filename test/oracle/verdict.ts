import type { Analysis, StatementAnalysis } from '../../src/statement/analysis.ts';
import type { DatabaseFacts } from './catalog-facts.ts';
import type { Outcome } from './server.ts';
import { type Change, changeBetween, NO_CHANGE } from './watch.ts';

/** Something that the server did and that the analysis did not name. */
export type Violation = { readonly rule: string; readonly what: string };

export type VerdictLimits = { readonly exportRows: number; readonly bulkWriteRows: number };

/** Classes that run without a person's word. */
const FLOWING = new Set(['session', 'read', 'write']);

export function flows(analysis: Analysis): boolean {
  return FLOWING.has(analysis.class) && !analysis.changesPinned;
}

/** The log of ok_log: a trigger whose body was read and proved, and so is no news. */
const WRITTEN_BY_PROVED_TRIGGERS = new Set(['lab.log']);
/** ANALYZE, a `write`, keeps its figures here. */
const STATISTICS = new Set(['pg_catalog.pg_statistic', 'pg_catalog.pg_statistic_ext_data']);

/** Functions of both databases whose bodies only compute or read. */
const PROVED = /\.ok_|^lab\.(all|fold)_large$|^app\.(net_price|order_total|orders_of|product_of)$/;

export function changeOf(outcome: Outcome): Change {
  return outcome.before === null || outcome.after === null
    ? NO_CHANGE
    : changeBetween(outcome.before, outcome.after);
}

/** Did nothing that needs a person: no user code, nothing written, nothing changed, few rows. */
export function isHarmless(outcome: Outcome, change: Change, limits: VerdictLimits): boolean {
  return (
    outcome.error === null &&
    outcome.trips.size === 0 &&
    change.tables.size === 0 &&
    change.settings.size === 0 &&
    change.cursors.length === 0 &&
    outcome.marks.size <= limits.exportRows
  );
}

/** Everything in which the server went beyond what the analysis of a flowing string says. */
export function violations(
  analysis: Analysis,
  outcome: Outcome,
  change: Change,
  facts: DatabaseFacts,
  limits: VerdictLimits,
): Violation[] {
  if (!flows(analysis)) return [];
  const found: Violation[] = [];
  const add = (rule: string, what: string) => found.push({ rule, what });
  for (const name of outcome.trips) add('calls user code', name);
  for (const [oid] of change.functions) {
    const name = facts.functions.get(oid) ?? String(oid);
    if (!PROVED.test(name)) add('calls user code', name);
  }
  if (outcome.secret) add('shows a secret', 'a password verifier');
  if (outcome.lost) add('ends the session', outcome.error?.message ?? '');
  // A string of its own transaction commands is run only where that is all it does.
  if (outcome.error === null && outcome.after === null && outcome.status === 'T')
    add('cannot be observed', '');
  written(analysis, change, facts, limits, add);
  settings(analysis, change, add);
  rows(analysis, outcome, limits, add);
  return found;
}

type Add = (rule: string, what: string) => void;

function written(
  analysis: Analysis,
  change: Change,
  facts: DatabaseFacts,
  limits: VerdictLimits,
  add: Add,
): void {
  const named = new Set<string>();
  for (const { relations } of analysis.statements)
    for (const { schema, name, mode } of relations)
      if (mode === 'write')
        for (const reached of facts.reach.get(`${schema}.${name}`) ?? [`${schema}.${name}`])
          named.add(reached);
  for (const [oid, [inserted, updated, deleted]] of change.tables) {
    const name = facts.relations.get(oid) ?? String(oid);
    const how = `${name}: ${inserted} inserted, ${updated} updated, ${deleted} deleted`;
    if (analysis.class !== 'write') add('writes though it reads', how);
    else if (name.startsWith('pg_catalog.')) {
      if (!STATISTICS.has(name)) add('changes objects', how);
    } else if (!named.has(name) && !WRITTEN_BY_PROVED_TRIGGERS.has(name))
      add('writes what is not named', how);
    if (!name.startsWith('pg_catalog.') && updated + deleted > limits.bulkWriteRows)
      add('writes in bulk', how);
  }
  if (analysis.class !== 'write' && change.sequences.length > 0)
    add('moves a sequence', change.sequences.map((oid) => facts.relations.get(oid)).join(', '));
}

const HARMLESS_PATH = new Set(['search_path']);
const WHO_AND_HOW = new Set([
  'role',
  'session_authorization',
  'session_replication_role',
  'client_encoding',
  'standard_conforming_strings',
  'lo_compat_privileges',
  'createrole_self_grant',
]);

const RECORDING = /^(log_|debug_print|track_|session_preload|local_preload|dynamic_library|event_triggers)/;

function settings(analysis: Analysis, change: Change, add: Add): void {
  for (const [name, value] of change.settings) {
    if (WHO_AND_HOW.has(name)) add('changes who acts or how text is read', `${name} = ${value}`);
    else if (RECORDING.test(name)) add('changes what is recorded', `${name} = ${value}`);
    else if (HARMLESS_PATH.has(name) && !analysis.statements.some((s) => s.changesSearchPath))
      add('changes the search_path', value);
  }
  const symbols = analysis.statements.flatMap((statement) => statement.symbols);
  const names = (kind: string) =>
    new Set(symbols.flatMap((symbol) => (symbol.kind === kind && 'name' in symbol ? [symbol.name] : [])));
  for (const name of change.prepared) if (!names('prepare').has(name)) add('prepares', name);
  for (const name of change.cursors) if (!names('declare').has(name)) add('opens a cursor', name);
}

/** The campaign itself has made databases since the catalog was read. */
function countsDatabases({ rowBoundBy, relations }: StatementAnalysis): boolean {
  return rowBoundBy === 'table size' && relations.some(({ name }) => name === 'pg_database');
}

function rows(analysis: Analysis, outcome: Outcome, limits: VerdictLimits, add: Add): void {
  // What flows by an estimate is ended at the limit, by who measures it.
  const counted = !analysis.statements.some(({ measured }) => measured);
  // Each statement of the string may give that many.
  if (counted && outcome.marks.size > limits.exportRows * Math.max(1, analysis.statements.length))
    add('returns marked rows in bulk', `${outcome.marks.size} different rows of users' tables`);
  for (const [at, statement] of analysis.statements.entries()) {
    const came = outcome.rows[at];
    if (came === undefined) break;
    const bound = statement.rowBound;
    if (bound !== null && came > bound && !isReport(statement) && !countsDatabases(statement))
      add('more rows than the bound', `${came} > ${bound}`);
    // Where stored values are unfolded nothing bounds the rows, and they are measured as they come.
    if (bound !== null && came > limits.exportRows && readsUsers(statement) && !statement.measured)
      add('returns rows in bulk', `${came} rows of a statement that reads a user's table`);
  }
}

function isReport({ command }: StatementAnalysis): boolean {
  return command === 'EXPLAIN' || command === 'SHOW';
}

function readsUsers({ relations, command }: StatementAnalysis): boolean {
  return (
    command !== 'EXPLAIN' &&
    // Its values are unfolded: that counts as the rows that they are stored in, and is measured as it comes.
    !relations.some(({ name }) => name === 'arrays') &&
    relations.some(({ schema }) => schema !== 'pg_catalog' && schema !== 'information_schema')
  );
}
