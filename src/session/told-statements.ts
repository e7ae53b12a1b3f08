/** What people are told of each statement of a string that runs as one. */
import type { ContextStatement } from '../approval/port.ts';
import type { StatementAnalysis } from '../statement/analysis.ts';
import { showText } from '../statement/visible.ts';
import { analysisOf } from './forward.ts';
import type { SessionState } from './state.ts';
import type { Subject } from './subject.ts';

/** Of a string; of more, those that need approval come first. */
const MOST_STATEMENTS = 50;
/** Characters of why one is held. */
const WHY_CHARACTERS = 300;

/** Null: it is one statement alone. */
export function toldStatements(
  state: SessionState,
  { analysis: { statements } }: Subject,
): { readonly of: number; readonly held: number; readonly first: readonly ContextStatement[] } | null {
  if (statements.length < 2) return null;
  const all = statements.map((statement, place) => toldStatement(state, statement, place + 1));
  const held = all.filter(({ held: one }) => one);
  const first =
    all.length <= MOST_STATEMENTS
      ? all
      : [...held, ...all.filter(({ held: one }) => !one)]
          .slice(0, MOST_STATEMENTS)
          .sort((a, b) => a.number - b.number);
  return { of: all.length, held: held.length, first };
}

/** As policy decides about it alone. */
function toldStatement(state: SessionState, statement: StatementAnalysis, number: number): ContextStatement {
  const { decision, rule, reasons } = state.setup.decide(analysisOf(statement), state.now);
  const held = decision !== 'allow';
  const why = held
    ? `${[...showText(reasons.join('; '))].slice(0, WHY_CHARACTERS).join('')} (rule ${rule})`
    : null;
  return { number, command: showText(statement.command), class: statement.class, held, why };
}
