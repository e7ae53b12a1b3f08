/** What `SHOW countersign.requests` says beside the facts. Written for a language model, as HINTs are. */
import type { OwnRequest } from '../approval/port.ts';
import type { ErrorFields } from '../protocol/backend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';

/** What the agent does next about a request of its own. */
export function nextOf({ state, waiting }: Pick<OwnRequest, 'state' | 'waiting'>): string {
  if (state === 'approved')
    return waiting
      ? 'Approved: it runs on the connection of yours that waits for it. Do not send it again.'
      : 'Approved: send exactly the same statement again now, and it runs at once, one time.';
  return waiting
    ? 'A connection of yours waits for the answer, and it runs there. Do not send it again meanwhile.'
    : 'Nobody has answered yet. Send exactly the same statement again to wait for the answer; a rewritten one is another request.';
}

/** The approval store did not answer. */
export function requestsUnknown(): ErrorFields {
  return {
    C: SQLSTATE.cannotConnectNow,
    M: 'countersign: your requests cannot be looked up at the moment',
    D: 'The database that keeps them does not answer. They are not lost.',
    H: 'Nothing was executed. Ask again in a minute.',
  };
}

/** SQL EXECUTE of a prepared SHOW: its result is known only when it is bound. */
export function requestsByName(): ErrorFields {
  return {
    C: SQLSTATE.featureNotSupported,
    M: 'countersign: a prepared SHOW countersign.requests cannot be run by EXECUTE',
    H: 'Send SHOW countersign.requests itself, or bind the prepared statement.',
  };
}
