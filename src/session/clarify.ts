/** Asking the server, before a person is asked, what a statement means or how large it is. */
import type { Decision } from '../policy/decision.ts';
import type { Analysis, StatementAnalysis } from '../statement/analysis.ts';
import { type Current, namesKey, type Prepared, type SessionState, scopeKey } from './state.ts';

/** The analysis with the server's answers, where it was asked and names mean the same still; else the given one. */
export function withAnswers(state: SessionState, analysis: Analysis, current: Current | null): Analysis {
  return isClarified(state, current) ? (current?.clarified?.analysis ?? analysis) : analysis;
}

/**
 * It would not run, for what the server could explain. Not where the server and its side connection may differ: after
 * changes that others do not see yet, and in a failed transaction, where nothing runs anyway.
 */
export function wantsAnswers(
  state: SessionState,
  { decision }: Decision,
  { statements, changesPinned }: Analysis,
  current: Current | null,
): boolean {
  if (decision === 'allow' || changesPinned || state.transaction === 'E') return false;
  if (state.catalogUncertain || state.tempPossible || state.searchPathUncertain) return false;
  return statements.some(({ doubt }) => doubt !== null) && !isClarified(state, current);
}

/**
 * A function made since the Parse was sent does not replace the one that the server found then, so what names mean now
 * is not what would run: only what they could mean counts.
 */
export function askable(state: SessionState, { sentUnder }: Prepared, analysis: Analysis): Analysis {
  if (sentUnder === null || sentUnder === namesKey(state)) return analysis;
  if (analysis.statements.every(({ doubt }) => doubt?.names !== true)) return analysis;
  const statements = analysis.statements.map(
    (statement): StatementAnalysis => ({
      ...statement,
      doubt: statement.doubt?.size === true ? { ...statement.doubt, names: false } : null,
    }),
  );
  return { ...analysis, statements };
}

function isClarified(state: SessionState, current: Current | null): boolean {
  return current?.clarified != null && current.clarified.scopeKey === scopeKey(state);
}
