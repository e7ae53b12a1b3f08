/** What clients are told. HINTs are written for a language model: what to do next, what not to do. */
import type { Ended, OpenedRequest } from '../approval/port.ts';
import type { Decision } from '../policy/decision.ts';
import type { ErrorFields } from '../protocol/backend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';

const RETRY_SAME =
  'Send exactly the same statement again later: it attaches to the same request and runs once it is approved. Do not rewrite it and do not split it up.';

/** Why a request was withdrawn, in its row. */
export const CANCELLED = 'the client cancelled the statement';

export function deniedByPolicy(decision: Decision): ErrorFields {
  return {
    C: SQLSTATE.insufficientPrivilege,
    M: `countersign: denied by policy (${decision.class})`,
    D: `Rule ${decision.rule}: ${decision.reasons.join('; ')}.`,
    H: 'This statement will never be allowed for you. Do not retry it or look for another way to do the same; tell your operator what you wanted to achieve.',
  };
}

export function deniedByPeople(rule: string, requestId: string, ended: Ended | null): ErrorFields {
  const who = ended === null || ended.people.length === 0 ? 'an approver' : ended.people.join(', ');
  const why = ended?.reason ? `: ${ended.reason}` : '';
  return {
    C: SQLSTATE.insufficientPrivilege,
    M: `countersign: denied by ${who}${why}`,
    D: `Rule ${rule}, request ${requestId}.`,
    H: 'A person decided against this statement. Do not send it again and do not try to reach the same effect in another way; report the reason to the user.',
  };
}

export function expired(rule: string, requestId: string): ErrorFields {
  return {
    C: SQLSTATE.queryCanceled,
    M: 'countersign: expired, nobody answered in time',
    D: `Rule ${rule}, request ${requestId}.`,
    H: 'Send the statement again to open a new request, if it is still needed.',
  };
}

export function holdTimedOut(rule: string, requestId: string): ErrorFields {
  return {
    C: SQLSTATE.queryCanceled,
    M: 'countersign: no answer yet, the request is still open: send the same statement again',
    D: `Rule ${rule}, request ${requestId}.`,
    H: RETRY_SAME,
  };
}

export function inputOver(rule: string, requestId: string): ErrorFields {
  return {
    C: SQLSTATE.queryCanceled,
    M: 'countersign: not run: it needs approval, and the client has ended its side of the connection',
    D: `Rule ${rule}, request ${requestId}.`,
    H: RETRY_SAME,
  };
}

export function draining(rule: string, requestId: string): ErrorFields {
  return {
    C: SQLSTATE.queryCanceled,
    M: 'countersign: this proxy is shutting down, the request is still open: reconnect and send the same statement again',
    D: `Rule ${rule}, request ${requestId}.`,
    H: RETRY_SAME,
  };
}

export function withdrawn(rule: string, requestId: string): ErrorFields {
  return {
    C: SQLSTATE.queryCanceled,
    M: 'countersign: withdrawn, canceling statement due to user request',
    D: `Rule ${rule}, request ${requestId}.`,
    H: 'The request for approval was taken back. Send the statement again to open a new one.',
  };
}

/** The server's own words: nobody had been asked yet, or nothing that was asked remains. */
export function cancelled(): ErrorFields {
  return { C: SQLSTATE.queryCanceled, M: 'canceling statement due to user request' };
}

/** The approval is spent, and the statement did not run. */
export function cancelledAtRelease(rule: string, requestId: string): ErrorFields {
  return {
    C: SQLSTATE.queryCanceled,
    M: 'countersign: canceling statement due to user request, it was approved and not run',
    D: `Rule ${rule}, request ${requestId}.`,
    H: 'Nothing was executed, and the approval is used up. Send the statement again to open a new request.',
  };
}

export function releaseRefused(rule: string, requestId: string, why: string): ErrorFields {
  return {
    C: SQLSTATE.insufficientPrivilege,
    M: 'countersign: the approval could not be used, so the statement was not run',
    D: `Rule ${rule}, request ${requestId}: ${why}.`,
    H: 'Nothing was executed. Send the statement again to open a new request.',
  };
}

export function cannotAsk(rule: string, why: string, limit: boolean): ErrorFields {
  return limit
    ? {
        C: SQLSTATE.programLimitExceeded,
        M: 'countersign: too many open requests',
        D: `Rule ${rule}: ${why}.`,
        H: 'Wait until your open requests are answered before you send more statements that need approval.',
      }
    : {
        C: SQLSTATE.cannotConnectNow,
        M: 'countersign: approval cannot be asked for at the moment, so the statement was not run',
        D: `Rule ${rule}: ${why}.`,
        H: 'Nothing was executed. Statements that need no approval still run; try this one again in a minute.',
      };
}

export function tooLong(limit: number, size: number): ErrorFields {
  return {
    C: SQLSTATE.programLimitExceeded,
    M: `countersign: statement of ${size} bytes is longer than the limit of ${limit} bytes`,
    D: 'Limit statementBytes.',
    H: 'Send less in one statement, for example fewer rows per INSERT, or use COPY FROM STDIN.',
  };
}

/** A result that came to more than was estimated; `more`: bytes of the row that did not pass. */
export function overflown(
  limits: { readonly rows: number; readonly bytes: number; readonly rule: string; readonly expected: string },
  passed: { readonly rows: number; readonly bytes: number },
  more: number,
): ErrorFields {
  const byRows = passed.rows >= limits.rows;
  const limit = byRows ? `${limits.rows} rows` : `${limits.bytes} bytes`;
  return {
    C: SQLSTATE.programLimitExceeded,
    M: `countersign: the result is larger than ${limit}, so it was stopped and the session ended`,
    D: `Rule ${limits.rule} let the statement pass: ${limits.expected}. ${passed.rows} rows of ${passed.bytes} bytes came and were delivered; the next one, of ${more} bytes, was not. Limit ${byRows ? 'exportRows' : 'exportBytes'}.`,
    H: 'Connect again, and ask for less: add a LIMIT, a narrower WHERE, or name fewer columns. What the session had not committed is rolled back; what you sent after this statement may or may not have run. If all of it is needed, send it as COPY (…) TO STDOUT: then a person is asked for approval.',
  };
}

export function tooManyPrepared(limit: number): ErrorFields {
  return {
    C: SQLSTATE.programLimitExceeded,
    M: `countersign: more than ${limit} prepared statements in one session`,
    D: 'Limit preparedStatements.',
    H: 'Close prepared statements that are not used any more.',
  };
}

export function malformed(message: string, context: string | null): ErrorFields {
  return { C: SQLSTATE.protocolViolation, M: message, ...(context === null ? {} : { W: context }) };
}

export function noSuchStatement(name: string): ErrorFields {
  return {
    C: SQLSTATE.invalidSqlStatementName,
    M:
      name === ''
        ? 'unnamed prepared statement does not exist'
        : `prepared statement "${latin1ToUtf8(name)}" does not exist`,
  };
}

export function noSuchPortal(name: string, word: 'portal' | 'cursor'): ErrorFields {
  return { C: SQLSTATE.invalidCursorName, M: `${word} "${latin1ToUtf8(name)}" does not exist` };
}

export function portalInUse(name: string): ErrorFields {
  return { C: SQLSTATE.objectNotInPrerequisiteState, M: `portal "${latin1ToUtf8(name)}" cannot be run` };
}

/** The names that a bound command looks up when it is executed have changed since it was judged. */
export function changedSinceBind(): ErrorFields {
  return {
    C: SQLSTATE.insufficientPrivilege,
    M: 'countersign: what this command means has changed since it was bound, so it was not run',
    D: 'A prepared statement, cursor, search_path or object that it names was changed between Bind and Execute.',
    H: 'Nothing was executed. Bind the statement again, and execute it before you change what it refers to.',
  };
}

export function functionCallRefused(): ErrorFields {
  return {
    C: SQLSTATE.insufficientPrivilege,
    M: 'countersign: the function call protocol is not allowed',
    D: 'Rule floor:function_call: it calls functions without any SQL text that could be judged.',
    H: 'Use SELECT function(...) instead.',
  };
}

/** The NOTICE while held (CONTRACT, "On the wire"). */
export function heldNotice(request: OpenedRequest, decision: Decision, until: string): ErrorFields {
  return {
    S: 'NOTICE',
    V: 'NOTICE',
    C: '00000',
    M: `countersign: held, request ${request.id}`,
    D: `Why: ${decision.class}: ${decision.reasons.join('; ')} (rule ${decision.rule}).`,
    H: `A person must approve it: ${request.url} or "countersign requests approve ${request.id}". This connection waits until ${until}; the request is open until ${request.expiresAt.toISOString()}.`,
  };
}

function latin1ToUtf8(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}
