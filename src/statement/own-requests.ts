import type { StatementAnalysis } from './analysis.ts';

/** What `SHOW` asks for to be told the agent's own open requests. Postgres has no setting of that name. */
export const OWN_REQUESTS = 'countersign.requests';

/** However it is spelt: Postgres compares names of settings without regard to case, quoted or not. */
export function asksForOwnRequests({ command, settings }: StatementAnalysis): boolean {
  return command === 'SHOW' && settings.some(({ name }) => name === OWN_REQUESTS);
}
