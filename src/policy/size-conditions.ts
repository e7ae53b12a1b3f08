import type { StatementAnalysis, StatementClass } from '../statement/analysis.ts';
import type { Reading } from './name-globs.ts';
import type { SizeCondition } from './rule.ts';

/**
 * `above` (to hold or deny): more rows than that are possible, or expected where only the planner has an idea. `atMost`
 * (to allow): no more are possible, or expected; what is only expected has to be measured (`boundByEstimate`). A
 * statement that nobody could read has no size, and is held for that.
 */
export function rowsMatch(
  { above, atMost }: SizeCondition,
  statement: StatementAnalysis,
  reading: Reading,
): boolean {
  return statement.class !== 'unparsed' && sizeMatches({ above, atMost }, rowsOf(statement), reading);
}

/** No bytes are certain where no result comes back; else nobody knows before it runs. */
export function bytesMatch(
  { above, atMost }: SizeCondition,
  statement: StatementAnalysis,
  reading: Reading,
): boolean {
  return (
    statement.class !== 'unparsed' &&
    sizeMatches({ above, atMost }, returnsNothing(statement) ? 0 : null, reading)
  );
}

/** The number of rows that makes an `atMost` true is only the planner's word. */
export function boundByEstimate({ sizes }: StatementAnalysis, atMost: number): boolean {
  return sizes !== undefined && (sizes.carried ?? Number.POSITIVE_INFINITY) > atMost;
}

/** The statement as it is without the planner's word; null: it has none. */
export function withoutEstimate(statement: StatementAnalysis): StatementAnalysis | null {
  const { sizes } = statement;
  return sizes?.expected == null ? null : { ...statement, sizes: { ...sizes, expected: null } };
}

/** Null: above anything. */
function sizeMatches(
  { above, atMost }: { readonly above: number | undefined; readonly atMost: number | undefined },
  size: number | null,
  reading: Reading,
): boolean {
  if (reading === 'certain') return above === undefined && size !== null && size <= (atMost ?? size);
  if (above !== undefined && size !== null && size <= above) return false;
  return atMost === undefined || size === null || size <= atMost;
}

const SIZED: ReadonlySet<StatementClass> = new Set(['session', 'read', 'write', 'bulk_write', 'export']);

/** Rows that are returned, folded into what is returned, or written, whichever are more. */
function rowsOf(statement: StatementAnalysis): number | null {
  if (!SIZED.has(statement.class)) return null;
  const { sizes } = statement;
  if (sizes === undefined) return returnsNothing(statement) && !writes(statement) ? 0 : null;
  const { carried, expected, written } = sizes;
  const returned =
    carried === null || expected === null ? (carried ?? expected) : Math.min(carried, expected);
  return returned === null || written === null ? null : Math.max(returned, written);
}

function writes({ class: rank, relations }: StatementAnalysis): boolean {
  return rank === 'write' || rank === 'bulk_write' || relations.some(({ mode }) => mode === 'write');
}

function returnsNothing({ class: rank, rowBound, rowBoundBy, command }: StatementAnalysis): boolean {
  if (rowBound === 0) return true;
  if (rowBound !== null || rowBoundBy !== null) return false;
  return rank === 'session' || (rank !== 'export' && SIZED.has(rank) && !/^(?:SELECT|COPY)/.test(command));
}
