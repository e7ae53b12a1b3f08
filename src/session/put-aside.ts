/** A message that must wait for something. */
import { decisionOf } from './budget.ts';
import { openEffect, questionOf } from './question.ts';
import { newCurrent, type Phase, type SessionState, scopeKey, scopeOf } from './state.ts';
import type { Subject } from './subject.ts';

/** Puts the message aside until an event lets judging start over; says what the shell must do for that event. */
export function wait(
  state: SessionState,
  phase: Phase,
  type: number,
  frame: Buffer,
  subject: { readonly sql: Buffer; readonly judged: Subject | null },
): void {
  const current = state.current ?? newCurrent(type, frame);
  state.current = current;
  state.phase = phase;
  if (state.leaving && (phase === 'opening' || phase === 'releasing')) current.leave = 'gone';
  if (phase === 'analysing') {
    current.analysisKey = scopeKey(state);
    const certain = !state.catalogUncertain;
    state.effects.push({
      kind: 'analyse',
      sql: Buffer.from(subject.sql),
      scope: scopeOf(state),
      catalogCertain: certain,
    });
  }
  if (phase === 'clarifying') {
    if (subject.judged === null) throw new Error('the server is to be asked about what was not judged');
    const { analysis, parameters } = subject.judged;
    current.clarified = { scopeKey: scopeKey(state), analysis: null };
    state.effects.push({
      kind: 'clarify',
      fresh: current.approved,
      sql: Buffer.from(subject.sql),
      scope: scopeOf(state),
      analysis,
      parameters,
    });
  }
  if (phase === 'budgeting') {
    if (subject.judged === null) throw new Error('a budget is asked for what was not judged');
    current.budgetAsked = true;
    current.budgetFailed = null;
    state.slicesDue += 1;
    state.effects.push({ kind: 'budget', analysis: subject.judged.analysis });
  }
  if (phase === 'listing') {
    const { agent, onBehalfOf } = state.setup.facts;
    state.effects.push({ kind: 'list', agent, onBehalfOf });
  }
  if (phase === 'probing')
    state.effects.push({ kind: 'probe', sql: Buffer.from(subject.sql), scope: scopeOf(state) });
  if (phase === 'opening' && subject.judged !== null) {
    const decision = decisionOf(state, subject.judged.analysis, current, state.now);
    current.decision = decision;
    current.decidedAt = state.now;
    current.subject = subject.judged;
    // A person's time will pass.
    current.listed = undefined;
    current.question = questionOf(state, subject.judged, decision);
    state.effects.push(openEffect(state, subject.judged, current.question));
  }
  if (phase === 'releasing' && subject.judged !== null && current.request !== null) {
    // Built anew, but of the time when people were asked: the store verifies the receipt against what would run now.
    const decision = decisionOf(state, subject.judged.analysis, current, current.decidedAt);
    const question = questionOf(state, subject.judged, decision);
    state.effects.push({ kind: 'release', requestId: current.request.id, question });
  }
}
