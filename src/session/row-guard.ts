/**
 * A statement that flows by the planner's estimate alone is watched: the planner may have been wrong, or fooled. What
 * comes to more than the limits of an export stops before the row that exceeds them.
 */
import type { Decision } from '../policy/decision.ts';
import type { StatementAnalysis } from '../statement/analysis.ts';
import type { RowGuard, Run } from './run.ts';
import type { SessionState } from './state.ts';

/** Null for nearly every statement: those whose size is known, and those that a person let pass. */
export function guardOf(
  state: SessionState,
  statement: StatementAnalysis,
  decision: Decision,
): RowGuard | null {
  if (!statement.measured || state.setup.mode === 'observe' || decision.decision !== 'allow') return null;
  const { exportRows: rows, exportBytes: bytes } = state.setup.limits;
  return { rows, bytes, rule: decision.rule, expected: statement.reasons.join('; ') };
}

/** One more row, of so many bytes, would be more than may pass. */
export function exceeds({ rows, bytes }: RowGuard, run: Run, more: number): boolean {
  return run.rows >= rows || run.bytes + more > bytes;
}
