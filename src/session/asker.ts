/** Who asks, as it is recorded and told of one statement: the session, and what the statement's own comment claims. */
import type { SessionFacts } from '../audit/entry.ts';
import type { Analysis } from '../statement/analysis.ts';
import { traceparentOf } from '../statement/claims.ts';
import type { SessionState } from './state.ts';

/**
 * A session that names no run (in its credential or at start-up) has one for each statement, the `traceparent` in its
 * comment. It is the agent's claim, and nothing is decided by it.
 */
export function askerOf(state: SessionState, sql: Buffer, start: number, end: number): SessionFacts {
  const { facts } = state;
  if (facts.run !== null && facts.run !== facts.sessionId) return facts;
  const run = traceparentOf(sql.subarray(start, end));
  if (run === null) return facts;
  // The same object for the same run: each is encoded once.
  if (state.traced?.run !== run) state.traced = { ...facts, run, runVerified: false };
  return state.traced;
}

/** Of a whole string: its first statement that names a run. */
export function askerOfString(state: SessionState, sql: Buffer, analysis: Analysis): SessionFacts {
  const { statements } = analysis;
  for (const [place, { start }] of statements.entries()) {
    const facts = askerOf(state, sql, start, endOfStatement(sql, analysis, place));
    if (facts !== state.facts) return facts;
  }
  return statements.length === 0 ? askerOf(state, sql, 0, sql.length) : state.facts;
}

/** What stands behind the last statement of a string belongs to it. */
export function endOfStatement(sql: Buffer, { statements }: Analysis, place: number): number {
  return place === statements.length - 1 ? sql.length : (statements[place]?.end ?? sql.length);
}

/** The client has given itself another name. */
export function renamed(state: SessionState, applicationName: string): void {
  state.facts = { ...state.facts, applicationName };
  state.traced = null;
}
