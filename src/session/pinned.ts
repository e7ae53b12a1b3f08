/** Settings under other values of which the server reads other statements than a parser does. */
import type { StatementAnalysis } from '../statement/analysis.ts';
import type { SessionState } from './state.ts';

export const PINNED: Readonly<Record<string, string>> = {
  client_encoding: 'UTF8',
  standard_conforming_strings: 'on',
};

/** Those settings that are not as they are pinned, of what the server reported. */
export function unpinnedOf(parameters: ReadonlyMap<string, string>): readonly string[] {
  return Object.keys(PINNED).filter((name) => parameters.get(name) !== PINNED[name]);
}

/** After this, what the server reads may be something else, until it has reported its settings. */
export function mayUnpin(state: SessionState, statement: StatementAnalysis, unread: boolean): boolean {
  if (statement.changesPinned || unread || statement.class === 'opaque') return true;
  // Once it was changed, the end of a transaction or a RESET may change it back.
  if (!state.unpinnedOnce) return false;
  return UNDOING.test(statement.command);
}

const UNDOING = /^(?:SET|RESET|DISCARD|COMMIT|END|ROLLBACK|ABORT)/;
