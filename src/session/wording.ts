/** What clients are told. HINTs are written for a language model: what to do next, what not to do. */
import type { Ended, OpenedRequest } from '../approval/port.ts';
import type { Spent } from '../budget/account.ts';
import type { Decision } from '../policy/decision.ts';
import type { ErrorFields } from '../protocol/backend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import { REST_NOT_SENT } from './wording-midway.ts';

const RETRY_SAME =
  'Send exactly the same statement again later: it attaches to the same request and runs once it is approved. Do not rewrite it and do not split it up. SHOW countersign.requests tells how your requests stand.';

/** Why a request was withdrawn, in its row. */
export const CANCELLED = 'the client cancelled the statement';

export function deniedByPolicy(decision: Decision): ErrorFields {
  return {
    C: SQLSTATE.insufficientPrivilege,
    M: `countersign: denied by policy (${decision.class})`,
    D: `Rule ${decision.rule}: ${decision.reasons.join('; ')}.`,
    H: 'Policy forbids this to you, and no person is asked. Do not retry it or look for another way to do the same; tell your operator what you wanted to achieve.',
  };
}

export function deniedByPeople(rule: string, requestId: string, ended: Ended | null): ErrorFields {
  return {
    C: SQLSTATE.insufficientPrivilege,
    M: `countersign: denied by ${deniers(ended)}`,
    D: `Rule ${rule}, request ${requestId}.${repeated(ended)}`,
    H: 'A person decided against this statement. Do not send it again and do not try to reach the same effect in another way; report the reason to the user.',
  };
}

/** The denial is one of before. */
function repeated(ended: Ended | null): string {
  if (ended?.repeatedUntil === undefined) return '';
  return ` This is the answer that was given to the same statement before; until ${ended.repeatedUntil.toISOString()} it is repeated, and nobody is asked.`;
}

/** Who denied it, and why. */
export function deniers(ended: Ended | null): string {
  const who = ended === null || ended.people.length === 0 ? 'an approver' : ended.people.join(', ');
  return ended?.reason ? `${who}: ${ended.reason}` : who;
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

/** `midway`: it is about the rest of a result. */
export function releaseRefused(rule: string, requestId: string, why: string, midway = false): ErrorFields {
  return {
    C: SQLSTATE.insufficientPrivilege,
    M: `countersign: the approval could not be used, so ${midway ? REST_NOT_SENT : 'the statement was not run'}`,
    D: `Rule ${rule}, request ${requestId}: ${why}.`,
    H: `${midway ? '' : 'Nothing was executed. '}Send the statement again: an approval that is still good is used, else people are asked anew.`,
  };
}

/** `midway`: it is about the rest of a result. */
export function cannotAsk(rule: string, why: string, limit: AskLimit, midway = false): ErrorFields {
  const D = `Rule ${rule}: ${why}.`;
  const nothingRan = midway ? '' : 'Nothing was executed. ';
  if (limit === 'requests')
    return {
      C: SQLSTATE.programLimitExceeded,
      M: 'countersign: too many open requests',
      D,
      H: `${nothingRan}Wait as long as the detail says before you send more statements that need approval; SHOW countersign.requests lists those that are open. More connections do not help.`,
    };
  if (limit === 'size')
    return {
      C: SQLSTATE.programLimitExceeded,
      M: 'countersign: the statement needs approval and is too long to be put to a person',
      D,
      H: `${nothingRan}Send less in one statement, so that a person can read all of it. Do not send it again as it is.`,
    };
  return {
    C: SQLSTATE.cannotConnectNow,
    M: `countersign: approval cannot be asked for at the moment, so ${midway ? REST_NOT_SENT : 'the statement was not run'}`,
    D,
    H: `${nothingRan}Statements that need no approval still run; try this one again in a minute.`,
  };
}

/** The limit at which nobody is asked; null: the store is away. */
export type AskLimit = 'requests' | 'size' | null;

export function tooLong(limit: number, size: number): ErrorFields {
  return {
    C: SQLSTATE.programLimitExceeded,
    M: `countersign: statement of ${size} bytes is longer than the limit of ${limit} bytes`,
    D: 'Limit statementBytes.',
    H: 'Send less in one statement, for example fewer rows per INSERT, or use COPY FROM STDIN.',
  };
}

/** `9,800 of 10,000 rows and 1,234 of 10,485,760 bytes were taken`. */
export function amountsOf({ budget, taken }: Spent): string {
  const rows = amount(taken.rows, budget.rows, 'rows');
  return `${rows} and ${amount(taken.bytes, budget.bytes, 'bytes')} were taken in ${span(budget.windowMs)}`;
}

function amount(taken: number, limit: number | null, unit: string): string {
  const whole = (value: number) => value.toLocaleString('en-US');
  return limit === null ? `${whole(taken)} ${unit}` : `${whole(taken)} of ${whole(limit)} ${unit}`;
}

const SPANS = [
  [86_400_000, 'days'],
  [3_600_000, 'hours'],
  [60_000, 'minutes'],
  [1_000, 'seconds'],
] as const;

function span(ms: number): string {
  for (const [unit, word] of SPANS)
    if (ms % unit === 0) return ms === unit ? `this ${word.slice(0, -1)}` : `these ${ms / unit} ${word}`;
  return `these ${ms} milliseconds`;
}

export function opensAgain({ endsAt }: Spent): string {
  return `opens again at ${new Date(endsAt).toISOString()}`;
}

/** `requestId` null: nobody was asked. `by`: who denied it. */
export function budgetUsedUp(rule: string, requestId: string | null, by: string, spent: Spent): ErrorFields {
  const request = requestId === null ? '' : `, request ${requestId}`;
  return {
    C: SQLSTATE.programLimitExceeded,
    M: `countersign: the budget ${spent.budget.name} is used up, and more was denied by ${by}`,
    D: `Rule ${rule}${request}: ${amountsOf(spent)}.`,
    H: waitFor(spent),
  };
}

/** In the middle of a result. */
export function budgetWall(
  spent: Spent,
  passed: { readonly rows: number; readonly bytes: number },
): ErrorFields {
  return {
    C: SQLSTATE.programLimitExceeded,
    M: `countersign: the budget ${spent.budget.name} was used up in the middle of the result, so it was stopped and the session ended`,
    D: `Rule budget:${spent.budget.name}: ${amountsOf(spent)}. Of this result ${passed.rows} rows of ${passed.bytes} bytes were delivered.`,
    H: waitFor(spent),
  };
}

function waitFor(spent: Spent): string {
  return `The budget ${spent.budget.name} ${opensAgain(spent)}: wait until then before you read more. Until then every read waits for a person; smaller pages or more connections do not help. Aggregate in SQL instead of reading rows.`;
}

export function budgetUnknown(why: string): ErrorFields {
  return {
    C: SQLSTATE.cannotConnectNow,
    M: 'countersign: what you may still read cannot be looked up at the moment, so the statement was not run',
    D: `Rule floor:budget: ${why}.`,
    H: 'Nothing was executed. Send the statement again in a minute.',
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
    H: `A person must approve it: ${request.url} or "countersign requests approve ${request.id}". This connection waits until ${until}; the request is open until ${request.expiresAt.toISOString()}. Wait: it goes on here once it is approved. If you cannot wait, send exactly the same statement again later; do not rewrite it.`,
  };
}

function latin1ToUtf8(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8');
}
