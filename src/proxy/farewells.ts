import { AuditUnavailable } from '../audit/entry.ts';
import { encodeError, fatalError } from '../protocol/backend.ts';
import type { FrameError } from '../protocol/frame-reader.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { LoginRefused } from './client-parameters.ts';
import { UpstreamRefused } from './upstream.ts';

/** The last words of a session that ends for a reason of the proxy's own. */
export const ADMIN_SHUTDOWN = 'terminating connection due to administrator command';

export const NOT_RECORDED = fatalError(
  SQLSTATE.cannotConnectNow,
  'countersign: the statement could not be recorded; its outcome is unknown',
);

/** What a client hears that proved who it is and cannot be served, and its SQLSTATE. */
export function notServed(error: Error): { readonly code: string; readonly word: Buffer } {
  if (error instanceof UpstreamRefused)
    return {
      code: error.fields['C'] ?? '',
      word: encodeError({ ...error.fields, S: 'FATAL', V: 'FATAL' }),
    };
  const fatal = (code: string, message: string, hint?: string) => ({
    code,
    word: fatalError(code, message, hint),
  });
  if (error instanceof LoginRefused) return fatal(error.code, error.message, error.hint);
  // Why is for the operators' log.
  if (error instanceof AuditUnavailable)
    return fatal(
      SQLSTATE.cannotConnectNow,
      'countersign: sessions cannot be recorded at the moment, so none begins',
    );
  return fatal(SQLSTATE.sqlclientUnableToConnect, error.message);
}

export function codeOf(error: FrameError): string {
  return error.reason === 'too long' ? SQLSTATE.programLimitExceeded : SQLSTATE.protocolViolation;
}
