import { fatalError } from '../protocol/backend.ts';
import type { FrameError } from '../protocol/frame-reader.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';

/** The last words of a session that ends for a reason of the proxy's own. */
export const ADMIN_SHUTDOWN = 'terminating connection due to administrator command';

export const NOT_RECORDED = fatalError(
  SQLSTATE.cannotConnectNow,
  'countersign: the statement could not be recorded; its outcome is unknown',
);

export function codeOf(error: FrameError): string {
  return error.reason === 'too long' ? SQLSTATE.programLimitExceeded : SQLSTATE.protocolViolation;
}
