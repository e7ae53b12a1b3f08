import { describe, expect, it } from 'vitest';
import { answerRequest } from '../../src/approval/answer.ts';
import {
  countPeople,
  findAmbiguousIds,
  forbiddenPeople,
  refusalOf,
  resolvePerson,
} from '../../src/approval/eligibility.ts';
import { deputy, owner, PEOPLE, principal, reviewer } from './support.ts';

const directory = { people: PEOPLE };
const anyone = { approvers: [], quorum: 1, assurance: 1 } as const;

describe('identification is strict', () => {
  it.each([
    ['id', [{ kind: 'person', value: 'reviewer' }]],
    ['either Slack account', [{ kind: 'slack', value: 'T2/UDAN2' }]],
    ['OIDC subject', [{ kind: 'oidc', value: 'https://id.example|reviewer-sub' }]],
    ['address in other letters', [{ kind: 'email', value: 'Reviewer@Shop.example' }]],
    [
      'two proofs of one person',
      [
        { kind: 'slack', value: 'T1/UDAN' },
        { kind: 'email', value: 'reviewer@shop.example' },
      ],
    ],
  ] as const)('finds a person by %s', (_how, identities) => {
    expect(resolvePerson(directory, identities)).toEqual({ kind: 'person', person: reviewer });
  });

  it.each([
    ['no proof', [], 'nobody'],
    ['an unknown account', [{ kind: 'slack', value: 'T1/UXXX' }], 'nobody'],
    ['the user without the team', [{ kind: 'slack', value: 'UDAN' }], 'nobody'],
    ['the right user in another team', [{ kind: 'slack', value: 'T9/UDAN' }], 'nobody'],
    ['an id as if it were an address', [{ kind: 'email', value: 'reviewer' }], 'nobody'],
    ['an empty address', [{ kind: 'email', value: '' }], 'nobody'],
    ['a sub-address', [{ kind: 'email', value: 'reviewer+x@shop.example' }], 'nobody'],
    [
      'one known and one unknown proof',
      [
        { kind: 'person', value: 'reviewer' },
        { kind: 'slack', value: 'T1/UXXX' },
      ],
      'nobody',
    ],
    [
      'proofs of two people',
      [
        { kind: 'person', value: 'reviewer' },
        { kind: 'slack', value: 'T1/UEVE' },
      ],
      'ambiguous',
    ],
    [
      'an agent, even beside a person',
      [
        { kind: 'person', value: 'reviewer' },
        { kind: 'agent', value: 'shop-agent' },
      ],
      'agent',
    ],
  ] as const)('finds no person by %s', (_how, identities, kind) => {
    expect(resolvePerson(directory, identities).kind).toBe(kind);
  });
});

describe('forbidding is liberal', () => {
  it.each([
    'principal',
    'PRINCIPAL',
    ' principal ',
    'principal@shop.example',
    'Principal@SHOP.example',
    'principal+agent@shop.example',
    'ｐｒｉｎｃｉｐａｌ',
  ])('recognises the principal in %j', (onBehalfOf) => {
    const forbidden = forbiddenPeople(directory, { agent: 'a', owner: null, onBehalfOf });
    expect(forbidden).toContain('principal');
    expect(forbidden).toContain(onBehalfOf);
    expect(refusalOf(principal, forbidden, anyone, 'approve', 3, null)).toBe('self_approval');
    expect(refusalOf(deputy, forbidden, anyone, 'approve', 1, null)).toBeNull();
  });

  it.each(['T1/UDAN', 'UDAN', 'T2/UDAN2', 'https://id.example|reviewer-sub', 'reviewer-sub'])(
    'recognises The reviewer in %j',
    (onBehalfOf) => {
      expect(forbiddenPeople(directory, { agent: 'a', owner: null, onBehalfOf })).toContain('reviewer');
    },
  );

  it('covers the owner, the agent of the same name, and who gets such an id later', () => {
    const parties = { agent: 'deputy', owner: 'owner', onBehalfOf: 'later@shop.example' };
    const forbidden = forbiddenPeople(directory, parties);
    expect(forbidden).toEqual(['deputy', 'later@shop.example', 'owner']);
    const later = { ...principal, email: 'later@shop.example' };
    expect(refusalOf(later, forbidden, anyone, 'approve', 1, null)).toBe('self_approval');
    expect(refusalOf(deputy, forbidden, anyone, 'deny', 1, null)).toBe('self_approval');
  });
});

describe('accounts in Teams', () => {
  const account = '0b5c9d1e-2f3a-4b5c-8d6e-7f8091a2b3c4/5d6e7f80-91a2-4b3c-8d4e-5f60718293a4';
  const people = [{ ...reviewer, teams: [account] }, deputy, owner];

  it('are of one person, whatever the case of their digits', () => {
    for (const value of [account, account.toUpperCase()]) {
      const resolved = resolvePerson({ people }, [{ kind: 'teams', value }]);
      expect(resolved).toMatchObject({ kind: 'person', person: { id: 'reviewer' } });
    }
    const elsewhere = account.replace('0b5c', '1b5c');
    expect(resolvePerson({ people }, [{ kind: 'teams', value: elsewhere }])).toEqual({ kind: 'nobody' });
    expect(resolvePerson({ people }, [{ kind: 'slack', value: account }])).toEqual({ kind: 'nobody' });
  });

  it('forbid their person, and are a mistake where two have one', () => {
    const parties = { agent: 'a', owner: null, onBehalfOf: account.slice(account.indexOf('/') + 1) };
    expect(forbiddenPeople({ people }, parties)).toContain('reviewer');
    expect(findAmbiguousIds([...people, { ...principal, teams: [account.toUpperCase()] }])).toEqual([
      { id: account, people: ['reviewer', 'principal'] },
    ]);
  });
});

describe('names that only look the same', () => {
  it.each([
    'рrincipal',
    'princiраl',
    'prin\u200bcipal',
    'prıncipal',
    'príncipal',
    'principal+x@shоp.example',
  ])('forbid the principal: %j', (onBehalfOf) => {
    const parties = { agent: 'a', owner: null, onBehalfOf };
    expect(forbiddenPeople(directory, parties)).toContain('principal');
  });

  it('identify nobody', () => {
    for (const value of ['рrincipal@shop.example', 'PRINCIPAL@ſhop.example', 'principal+x@shop.example']) {
      expect(resolvePerson(directory, [{ kind: 'email', value }])).toEqual({ kind: 'nobody' });
    }
    const exact = [{ kind: 'email', value: 'Principal@SHOP.example' }] as const;
    expect(resolvePerson(directory, exact)).toMatchObject({ kind: 'person' });
  });
});

describe('who may answer', () => {
  it('is whom the rule names, by id or group', () => {
    const demand = { ...anyone, approvers: ['security', 'principal'] };
    expect(
      [owner, reviewer, deputy, principal].map((person) => refusalOf(person, [], demand, 'approve', 1, null)),
    ).toEqual(['not_an_approver', 'not_an_approver', null, null]);
  });

  it('needs the assurance to approve, not to deny', () => {
    const demand = { ...anyone, assurance: 3 } as const;
    expect(refusalOf(reviewer, [], demand, 'approve', 2, null)).toBe('assurance_too_low');
    expect(refusalOf(reviewer, [], demand, 'approve', 3, null)).toBeNull();
    expect(refusalOf(reviewer, [], demand, 'deny', 1, null)).toBeNull();
  });

  it('counts people, not answers', () => {
    expect(
      countPeople([{ person: 'reviewer' }, { person: 'reviewer' }, { person: 'deputy' }], directory),
    ).toBe(2);
  });
});

describe('an answer', () => {
  const standing = {
    state: 'open',
    forbidden: ['owner'],
    demand: { ...anyone, quorum: 2 },
    verdicts: [],
  } as const;
  const given = (person: string, verdict: 'approve' | 'deny') =>
    ({ person, verdict, assurance: 1, atMs: 0 }) as const;

  it('approves when enough people have, who still may', () => {
    const byDan = { ...standing, verdicts: [given('reviewer', 'approve')] };
    expect(answerRequest(standing, directory, reviewer, 'approve', 1, 0)).toEqual({
      kind: 'record',
      next: 'open',
      approvals: 1,
    });
    expect(answerRequest(byDan, directory, deputy, 'approve', 1, 0)).toEqual({
      kind: 'record',
      next: 'approved',
      approvals: 2,
    });
    expect(answerRequest(byDan, { people: [deputy] }, deputy, 'approve', 1, 0)).toMatchObject({
      next: 'open',
      approvals: 1,
    });
    expect(answerRequest(byDan, directory, reviewer, 'approve', 1, 0)).toEqual({ kind: 'repeat' });
  });

  it('can be changed from approve to deny, never back', () => {
    const byDan = { ...standing, verdicts: [given('reviewer', 'approve')] };
    expect(answerRequest(byDan, directory, reviewer, 'deny', 1, 0)).toMatchObject({
      kind: 'record',
      next: 'denied',
    });
    const denied = { ...standing, verdicts: [given('reviewer', 'deny')] };
    expect(answerRequest(denied, directory, reviewer, 'approve', 1, 0)).toEqual({
      kind: 'refuse',
      code: 'already_answered',
    });
  });
});

describe('ids that map to two people', () => {
  it('are found across kinds, letters and persons', () => {
    expect(findAmbiguousIds(PEOPLE)).toEqual([]);
    const twins = [
      { ...reviewer, id: 'a', email: 'same@shop.example', slack: ['T1/U1'], oidc: ['s'] },
      { ...deputy, id: 'b', email: 'Same@shop.example', slack: ['T1/U1'], oidc: ['A'] },
    ];
    expect(findAmbiguousIds(twins)).toEqual([
      { id: 'a', people: ['a', 'b'] },
      { id: 'same@shop.example', people: ['a', 'b'] },
      { id: 't1/u1', people: ['a', 'b'] },
    ]);
    expect(findAmbiguousIds([reviewer, reviewer])).toContainEqual({
      id: 'reviewer',
      people: ['reviewer', 'reviewer'],
    });
  });
});
