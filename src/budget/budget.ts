/** Export budgets: what an agent may read within a window of time, and which statements count against which. */
import type { BudgetRule } from '../config/config.ts';
import type { Limits } from '../config/limits.ts';
import type { StatementAnalysis } from '../statement/analysis.ts';
import { globMatches } from '../statement/glob.ts';
import { asksForOwnRequests } from '../statement/own-requests.ts';
import { isSystemSchema } from '../statement/system-relations.ts';

/** One budget of one agent. Windows follow one another without a gap, by the database's clock, from 1970 on. */
export type Budget = {
  readonly name: string;
  /** Only what reads data with this tag counts; null: everything does. */
  readonly tag: string | null;
  /** Null: not limited. */
  readonly rows: number | null;
  readonly bytes: number | null;
  readonly windowMs: number;
};

/** What was taken of one budget in its present window; `endsAt`: milliseconds since 1970 UTC. */
export type BudgetWindow = {
  readonly budget: string;
  readonly taken: Need;
  readonly endsAt: number;
};

/** The budget that limits give to every agent for which no other untagged one is configured. */
export const DEFAULT_BUDGET = 'default';

/** All that apply to an agent. One without a tag takes the default's place; several apply side by side. */
export function budgetsOf(
  agent: string,
  rules: readonly BudgetRule[],
  limits: Pick<Limits, 'budgetRows' | 'budgetBytes' | 'budgetWindowMs'>,
): readonly Budget[] {
  const own = rules
    .filter(({ agents }) => agents === null || agents.some((glob) => globMatches(glob, agent)))
    .map(({ name, tag, rows, bytes, windowMs }) => ({ name, tag, rows, bytes, windowMs }));
  if (own.some(({ tag }) => tag === null)) return own;
  const { budgetRows: rows, budgetBytes: bytes, budgetWindowMs: windowMs } = limits;
  return [{ name: DEFAULT_BUDGET, tag: null, rows, bytes, windowMs }, ...own];
}

/** What a statement is expected to take, so that a slice is there before it begins. */
export type Need = { readonly rows: number; readonly bytes: number };

/** A row of a common table; more is taken as it comes. */
const ROW_BYTES = 256;
/** Nothing comes back but, perhaps, the text of an error. */
const ERROR_BYTES = 256;

/**
 * Null: nothing of the users' data can come back. `most`: rows that no statement exceeds without a person.
 */
export function needOf(
  statement: StatementAnalysis,
  most: { readonly rows: number; readonly bytes: number },
): Need | null {
  if (!readsData(statement)) return null;
  if (!rowsComeBack(statement)) return { rows: 0, bytes: Math.min(ERROR_BYTES, most.bytes) };
  const own = Math.max(1, Math.min(statement.rowBound ?? most.rows, most.rows));
  const rows = Math.min(own + foldedOf(statement, most), Math.max(own, most.rows));
  return { rows, bytes: Math.min(rows * ROW_BYTES, most.bytes) };
}

/** Rows of tables that its result carries beyond its own: those that are folded into its values (json_agg, ARRAY(…)). */
export function foldedOf({ sizes, rowBound }: StatementAnalysis, most: { readonly rows: number }): number {
  if (sizes?.folded !== undefined) return Math.min(sizes.folded, most.rows);
  const carried = sizes?.carried ?? null;
  return carried === null || rowBound === null ? 0 : Math.max(0, Math.min(carried, most.rows) - rowBound);
}

/** Nobody can tell which data it reads, so it counts against every budget. */
export function readsAnything({ class: rank }: StatementAnalysis): boolean {
  return UNKNOWN.has(rank);
}

const UNKNOWN: ReadonlySet<string> = new Set(['opaque', 'admin', 'unparsed']);
const HARMLESS: ReadonlySet<string> = new Set(['session', 'read']);

/** Whether what comes back can hold users' data: all but constants and what describes the database. */
function readsData(statement: StatementAnalysis): boolean {
  if (!HARMLESS.has(statement.class) || statement.runsUserCode === true || statement.calls.length > 0)
    return true;
  if (statement.unresolved !== null || statement.casts.length > 0 || statement.operators.length > 0)
    return true;
  for (const { builtin, name } of statement.functions) if (!builtin || KEEPS_VALUES.has(name)) return true;
  // Not a setting at all, but the agent's own requests.
  if (asksForOwnRequests(statement)) return false;
  // Any value can be put into these by what returns no row.
  for (const { name, action } of statement.settings) if (action === 'show' && holdsText(name)) return true;
  for (const { schema, name } of statement.relations)
    if (schema === null || !isSystemSchema(schema) || SAMPLED.has(name)) return true;
  return false;
}

/** They give back what was put into a sequence. */
const KEEPS_VALUES: ReadonlySet<string> = new Set(['currval', 'lastval', 'pg_sequence_last_value']);
const TEXTS: ReadonlySet<string> = new Set(['*', 'application_name', 'search_path']);

/** Settings that take any text: users' own, with a dot in their name, and a few others. */
function holdsText(setting: string): boolean {
  return TEXTS.has(setting) || setting.includes('.');
}

/** System relations that hold values out of users' tables, or what anybody can put there (keys of advisory locks). */
const SAMPLED: ReadonlySet<string> = new Set([
  'pg_statistic',
  'pg_statistic_ext_data',
  'pg_stats',
  'pg_stats_ext',
  'pg_stats_ext_exprs',
  'pg_largeobject',
  'pg_locks',
  'pg_sequences',
]);

const COUNTED: ReadonlySet<string> = new Set(['statistics', 'table size', 'groups']);

function rowsComeBack({ rowBound, rowBoundBy, command, class: rank }: StatementAnalysis): boolean {
  // A table that was empty when it was looked at need not be.
  if (rowBoundBy !== null) return rowBound !== 0 || COUNTED.has(rowBoundBy);
  return rank === 'export' || UNKNOWN.has(rank) || command === 'COPY TO';
}
