/** Asking the server, before a person is asked, what a statement means or how large it is. */
import type { Decision } from '../policy/decision.ts';
import type { Analysis } from '../statement/analysis.ts';
import { type Current, type SessionState, scopeKey } from './state.ts';

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

function isClarified(state: SessionState, current: Current | null): boolean {
  return current?.clarified != null && current.clarified.scopeKey === scopeKey(state);
}
