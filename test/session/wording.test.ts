import { describe, expect, it } from 'vitest';
import type { Decision } from '../../src/policy/decision.ts';
import type { ErrorFields } from '../../src/protocol/backend.ts';
import * as wording from '../../src/session/wording.ts';
import * as midway from '../../src/session/wording-midway.ts';
import * as requests from '../../src/session/wording-requests.ts';
import { OPEN } from './harness.ts';

const DECISION: Decision = {
  decision: 'hold',
  rule: 'r',
  policy: 'p',
  class: 'ddl',
  reasons: ['drops a table'],
  approval: null,
};
const SPENT = {
  budget: { name: 'b', tag: null, rows: 10, bytes: null, windowMs: 3_600_000 },
  taken: { rows: 9, bytes: 2 },
  endsAt: 0,
};
const PASSED = { rows: 5, bytes: 50 };
const GUARD = {
  rows: 5,
  bytes: Number.POSITIVE_INFINITY,
  measured: true,
  beyond: 'ask',
  rule: 'r',
  reasons: ['few rows'],
} as const;
const DENIED = { people: ['dba'], reason: 'not today', repeatedUntil: new Date(0) };
const NAMES = ['r', 'req_1'] as const;

/** What it says: SQLSTATE, what DETAIL must have, and what HINT tells to do or not to do. */
type Said = readonly [fields: ErrorFields, sqlstate: string, detail: RegExp | null, hint: RegExp | null];

/** Every text of the proxy's own. Our errors begin with `countersign: `; those in `SERVERS` have Postgres' own words. */
const TEXTS: Readonly<Record<string, Said>> = {
  deniedByPolicy: [
    wording.deniedByPolicy(DECISION),
    '42501',
    /Rule r: drops/,
    /Do not retry .* tell your operator/,
  ],
  deniedByPeople: [
    wording.deniedByPeople(...NAMES, DENIED),
    '42501',
    /Rule r, request req_1\. .*1970.* nobody is asked/,
    /Do not send it again .* report/,
  ],
  expired: [wording.expired(...NAMES), '57014', /Rule r, request req_1/, /Send the statement again/],
  holdTimedOut: [
    wording.holdTimedOut(...NAMES),
    '57014',
    /Rule r, request req_1/,
    /exactly the same .* Do not rewrite .* SHOW countersign/,
  ],
  inputOver: [wording.inputOver(...NAMES), '57014', /Rule r, request req_1/, /exactly the same/],
  draining: [wording.draining(...NAMES), '57014', /Rule r, request req_1/, /exactly the same/],
  withdrawn: [wording.withdrawn(...NAMES), '57014', /Rule r, request req_1/, /Send the statement again/],
  cancelled: [wording.cancelled(), '57014', null, null],
  cancelledAtRelease: [
    wording.cancelledAtRelease(...NAMES),
    '57014',
    /Rule r, request req_1/,
    /Nothing was executed/,
  ],
  releaseRefused: [
    wording.releaseRefused(...NAMES, 'it is another'),
    '42501',
    /Rule r, request req_1: it is/,
    /Nothing was executed.* again/,
  ],
  'releaseRefused midway': [
    wording.releaseRefused(...NAMES, 'it is another', true),
    '42501',
    /Rule r, request req_1: it is/,
    /^Send .* again/,
  ],
  cannotAsk: [
    wording.cannotAsk('r', 'away', null),
    '57P03',
    /Rule r: away/,
    /Nothing was executed.* again in a minute/,
  ],
  'cannotAsk: requests': [
    wording.cannotAsk('r', 'fifty', 'requests'),
    '54000',
    /Rule r: fifty/,
    /Wait as long .* SHOW countersign.requests .* do not help/,
  ],
  'cannotAsk: size': [
    wording.cannotAsk('r', 'long', 'size'),
    '54000',
    /Rule r: long/,
    /Send less .* Do not send it again/,
  ],
  tooLong: [wording.tooLong(1, 2), '54000', /statementBytes/, /Send less/],
  budgetUsedUp: [
    wording.budgetUsedUp('budget:b', 'req_1', 'dba', SPENT),
    '54000',
    /Rule budget:b, request req_1: 9 of 10 rows/,
    /opens again at .*1970.* wait .* do not help/,
  ],
  budgetWall: [wording.budgetWall(SPENT, PASSED), '54000', /Rule budget:b: .* 5 rows/, /opens again at/],
  budgetUnknown: [wording.budgetUnknown('away'), '57P03', /Rule floor:budget: away/, /Nothing was executed/],
  tooManyPrepared: [wording.tooManyPrepared(5), '54000', /preparedStatements/, /Close/],
  malformed: [wording.malformed('invalid message format', null), '08P01', null, null],
  noSuchStatement: [wording.noSuchStatement('a'), '26000', null, null],
  noSuchPortal: [wording.noSuchPortal('a', 'portal'), '34000', null, null],
  portalInUse: [wording.portalInUse('a'), '55000', null, null],
  changedSinceBind: [
    wording.changedSinceBind(),
    '42501',
    /changed between Bind and Execute/,
    /Bind the statement again/,
  ],
  functionCallRefused: [wording.functionCallRefused(), '42501', /Rule floor:function_call/, /Use SELECT/],
  heldNotice: [
    wording.heldNotice(OPEN, DECISION, '1970'),
    '00000',
    /ddl: drops a table \(rule r\)/,
    /waits until 1970; the request is open until 1970-.* do not rewrite it/,
  ],
  restNotSent: [
    midway.restNotSent(wording.deniedByPolicy(DECISION), PASSED),
    '42501',
    /Rule r.* not whole: 5 rows/,
    /Do not retry/,
  ],
  beyondApproved: [midway.beyondApproved(GUARD), '54000', /Rule r: up to 5 rows/, /Ask for less/],
  nobodyWaits: [midway.nobodyWaits(...NAMES), '57014', /Rule r, request req_1/, /Keep the connection open/],
  cancelledMidway: [midway.cancelledMidway(...NAMES), '57014', /Rule r, request req_1/, /again/],
  ranToItsEnd: [
    midway.ranToItsEnd(wording.expired(...NAMES)),
    '57014',
    /Rule r, request req_1/,
    /do not send it a second time/,
  ],
  overflown: [
    midway.overflown(GUARD, PASSED, 9),
    '54000',
    /Rule r let .* exportRows/,
    /Connect again, and ask for less/,
  ],
  requestsUnknown: [
    requests.requestsUnknown(),
    '57P03',
    /not lost/,
    /Nothing was executed.* again in a minute/,
  ],
  requestsByName: [requests.requestsByName(), '0A000', null, /Send SHOW countersign.requests itself/],
};

/** They are no errors by themselves, but parts of such, or of cards. */
const PARTS = new Set(['deniers', 'amountsOf', 'opensAgain', 'passedSoFar', 'nextOf']);
const SERVERS = new Set(['cancelled', 'malformed', 'noSuchStatement', 'noSuchPortal', 'portalInUse']);

describe('what clients are told', () => {
  it.each(Object.entries(TEXTS))('%s', (name, [fields, sqlstate, detail, hint]) => {
    expect(fields['C']).toBe(sqlstate);
    if (!SERVERS.has(name)) expect(fields['M']).toMatch(/^countersign: /);
    for (const [text, expected] of [
      [fields['D'], detail],
      [fields['H'], hint],
    ] as const) {
      if (expected === null) expect(text).toBeUndefined();
      else expect(text).toMatch(expected);
    }
    // One line each, whole sentences.
    for (const text of [fields['D'], fields['H']]) expect(text ?? '.').toMatch(/^[^\n]*\.$/);
  });

  it('is all in this table', () => {
    const made = [wording, midway, requests].flatMap((module) =>
      Object.entries(module).flatMap(([name, value]) => (typeof value === 'function' ? [name] : [])),
    );
    const covered = new Set(Object.keys(TEXTS).map((name) => name.split(/[: ]/)[0]));
    expect(made.filter((name) => !PARTS.has(name) && !covered.has(name))).toEqual([]);
  });
});
