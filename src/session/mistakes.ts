/** Mistakes are not requests: what the server rejects anyway is left to it, and nobody is asked. */
import type { ErrorFields } from '../protocol/backend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import type { Analysis } from '../statement/analysis.ts';
import type { SessionState } from './state.ts';

/** Which of the server's objections on a side connection are the agent's mistake, whatever the session's state. */
export function isMistake(state: SessionState, rejection: ErrorFields): boolean {
  const code = rejection['C'] ?? '';
  // "cannot insert multiple commands": the text was read, and it is not the one statement that we saw.
  if (rejection['R'] === 'exec_parse_message') return false;
  if (code === '42601' || code === SQLSTATE.characterNotInRepertoire) return true;
  // A temporary object, or one that this transaction made, could be meant: the side connection would not see it.
  if (state.tempPossible || state.catalogUncertain || state.searchPathUncertain) return false;
  return MISTAKES.has(code);
}

/** Whether the server is worth asking: not about what nobody could read within the limits. */
export function mayBeMistake({ statements, syntaxError }: Analysis): boolean {
  const cause = syntaxError?.cause ?? 'syntax';
  return statements.length <= 1 && (cause === 'syntax' || cause === 'encoding');
}

/** The server's own error, without what names its source code. */
export function clientFields(rejection: ErrorFields): ErrorFields {
  const kept: Record<string, string> = {};
  for (const code of ['C', 'M', 'D', 'H', 'P'])
    if (rejection[code] !== undefined) kept[code] = rejection[code];
  return kept;
}

/** undefined table, column, function, object, schema, parameter; ambiguous column; grouping; datatype mismatch. */
const MISTAKES = new Set(['42P01', '42703', '42883', '42704', '3F000', '42702', '42803', '42804']);
