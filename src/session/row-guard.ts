/**
 * A statement that flows by the planner's estimate alone is watched: the planner may have been wrong, or fooled. What
 * comes to more than the limits of an export stops before the row that exceeds them.
 */
import type { Decision } from '../policy/decision.ts';
import type { StatementAnalysis } from '../statement/analysis.ts';
import type { RowGuard, Run } from './run.ts';
import type { SessionState } from './state.ts';

/** Null for nearly every statement: those whose size is known, and those that a person let pass without a limit. */
export function guardOf(
  state: SessionState,
  statement: StatementAnalysis,
  decision: Decision,
): RowGuard | null {
  if (state.setup.mode === 'observe' || decision.decision === 'deny') return null;
  const measured = statement.measured === 'export' && decision.decision === 'allow';
  const { limits, rule } = decision;
  if (!measured && limits === undefined) return null;
  const { exportRows, exportBytes } = state.setup.limits;
  return {
    // What the rule leaves open has the limits of an export where nothing but an estimate bounds it.
    rows: limits?.rows ?? (measured ? exportRows : Number.POSITIVE_INFINITY),
    bytes: limits?.bytes ?? (measured ? exportBytes : Number.POSITIVE_INFINITY),
    rule,
    expected: decision.decision === 'hold' ? 'approved up to a limit' : statement.reasons.join('; '),
  };
}

/** One more row, of so many bytes, would be more than may pass. */
export function exceeds({ rows, bytes }: RowGuard, run: Run, more: number): boolean {
  return run.rows >= rows || run.bytes + more > bytes;
}
