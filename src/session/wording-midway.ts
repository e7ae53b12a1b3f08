/** What clients and approvers are told about a result that was stopped in its middle. */
import type { ErrorFields } from '../protocol/backend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import type { Passed, RowGuard, Run } from './run.ts';

export const REST_NOT_SENT = 'the rest of the result was not sent';

const ASK_FOR_LESS =
  'Ask for less: add a LIMIT, a narrower WHERE, or name fewer columns. If all of it is needed, say so to the user: a person must approve it.';

/** Why it is an export now. */
export function passedSoFar(guard: RowGuard, { cursor }: Pick<Run, 'cursor'>, passed: Passed): string {
  const larger = `its result is larger than ${limitOf(guard, passed)}; ${sent(passed)} were sent already`;
  return cursor === null ? larger : `${larger} from its cursor, of which each further FETCH is asked about`;
}

/** The error in the place of the rest, with what had been sent before it. */
export function restNotSent(fields: ErrorFields, passed: Passed): ErrorFields {
  const before = fields['D'] === undefined ? '' : `${fields['D']} `;
  return { ...fields, D: `${before}The result is not whole: ${sent(passed)} were sent, the rest was not.` };
}

/** The rule that lets it pass, or the people who approved it, have set a bound. */
export function beyondApproved(guard: RowGuard): ErrorFields {
  return {
    C: SQLSTATE.programLimitExceeded,
    M: 'countersign: the result is larger than what may be sent of it',
    D: `Rule ${guard.rule}: up to ${bound(guard)}.`,
    H: ASK_FOR_LESS,
  };
}

/** `requestId` null: nobody was asked, for nobody would have waited for the answer. */
export function nobodyWaits(rule: string, requestId: string | null): ErrorFields {
  return {
    C: SQLSTATE.queryCanceled,
    M: `countersign: ${REST_NOT_SENT}: it needs approval, and the client has ended its side of the connection`,
    D: `Rule ${rule}${requestId === null ? '' : `, request ${requestId}`}.`,
    H: 'Keep the connection open while a person is asked, or ask for less.',
  };
}

/** The approval is spent. */
export function cancelledMidway(rule: string, requestId: string): ErrorFields {
  return {
    C: SQLSTATE.queryCanceled,
    M: 'countersign: canceling statement due to user request, the approval is used up',
    D: `Rule ${rule}, request ${requestId}.`,
    H: 'Send the statement again to open a new request.',
  };
}

/** A result was stopped, and its statement could not be. */
export function ranToItsEnd(fields: ErrorFields): ErrorFields {
  return {
    ...fields,
    M: `${fields['M'] ?? ''}; but the statement had come to its end before it could be stopped, and is committed`,
    H: 'What the statement changed is in the database; only its result was not sent whole. Connect again, and do not send it a second time.',
  };
}

/**
 * A result that came to more than may pass, in a place where nothing but the end of the session is true; `more`: bytes of
 * the row that did not pass.
 */
export function overflown(guard: RowGuard, passed: Passed, more: number): ErrorFields {
  const limit = limitOf(guard, passed);
  return {
    C: SQLSTATE.programLimitExceeded,
    M: `countersign: the result is larger than ${limit}, so it was stopped and the session ended`,
    D: `Rule ${guard.rule} let the statement pass: ${guard.reasons.join('; ')}. ${sent(passed)} came and were delivered; the next one, of ${more} bytes, was not. Limit ${passed.rows >= guard.rows ? 'exportRows' : 'exportBytes'}. Other messages had been sent behind it, so nobody could be asked about the rest.`,
    H: 'Connect again, and ask for less: add a LIMIT, a narrower WHERE, or name fewer columns. What the session had not committed is rolled back; what you sent after this statement may or may not have run. If all of it is needed, send it alone, and wait for its end before you send more: then a person is asked for approval.',
  };
}

function sent({ rows, bytes }: Passed): string {
  return `${rows} rows of ${bytes} bytes`;
}

function limitOf(guard: RowGuard, passed: Passed): string {
  return passed.rows >= guard.rows ? `${guard.rows} rows` : `${guard.bytes} bytes`;
}

function bound({ rows, bytes }: RowGuard): string {
  const parts = [];
  if (rows !== Number.POSITIVE_INFINITY) parts.push(`${rows} rows`);
  if (bytes !== Number.POSITIVE_INFINITY) parts.push(`${bytes} bytes`);
  return parts.join(' and ');
}
