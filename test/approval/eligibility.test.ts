import { describe, expect, it } from 'vitest';
import { answerRequest } from '../../src/approval/answer.ts';
import {
  countPeople,
  findAmbiguousIds,
  forbiddenPeople,
  refusalOf,
  resolvePerson,
} from '../../src/approval/eligibility.ts';
import { dan, eve, frank, olga, PEOPLE } from './support.ts';

const directory = { people: PEOPLE };
const anyone = { approvers: [], quorum: 1, assurance: 1 } as const;

describe('identification is strict', () => {
  it.each([
    ['id', [{ kind: 'person', value: 'dan' }]],
    ['either Slack account', [{ kind: 'slack', value: 'T2/UDAN2' }]],
    ['OIDC subject', [{ kind: 'oidc', value: 'https://id.example|dan-sub' }]],
    ['address in other letters', [{ kind: 'email', value: 'Dan@Shop.example' }]],
    [
      'two proofs of one person',
      [
        { kind: 'slack', value: 'T1/UDAN' },
        { kind: 'email', value: 'dan@shop.example' },
      ],
    ],
  ] as const)('finds a person by %s', (_how, identities) => {
    expect(resolvePerson(directory, identities)).toEqual({ kind: 'person', person: dan });
  });

  it.each([
    ['no proof', [], 'nobody'],
    ['an unknown account', [{ kind: 'slack', value: 'T1/UXXX' }], 'nobody'],
    ['the user without the team', [{ kind: 'slack', value: 'UDAN' }], 'nobody'],
    ['the right user in another team', [{ kind: 'slack', value: 'T9/UDAN' }], 'nobody'],
    ['an id as if it were an address', [{ kind: 'email', value: 'dan' }], 'nobody'],
    ['an empty address', [{ kind: 'email', value: '' }], 'nobody'],
    ['a sub-address', [{ kind: 'email', value: 'dan+x@shop.example' }], 'nobody'],
    [
      'one known and one unknown proof',
      [
        { kind: 'person', value: 'dan' },
        { kind: 'slack', value: 'T1/UXXX' },
      ],
      'nobody',
    ],
    [
      'proofs of two people',
      [
        { kind: 'person', value: 'dan' },
        { kind: 'slack', value: 'T1/UEVE' },
      ],
      'ambiguous',
    ],
    [
      'an agent, even beside a person',
      [
        { kind: 'person', value: 'dan' },
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
    'frank',
    'FRANK',
    ' frank ',
    'frank@shop.example',
    'Frank@SHOP.example',
    'frank+agent@shop.example',
    'ｆｒａｎｋ',
  ])('recognises Frank in %j', (onBehalfOf) => {
    const forbidden = forbiddenPeople(directory, { agent: 'a', owner: null, onBehalfOf });
    expect(forbidden).toContain('frank');
    expect(forbidden).toContain(onBehalfOf);
    expect(refusalOf(frank, forbidden, anyone, 'approve', 3)).toBe('self_approval');
    expect(refusalOf(eve, forbidden, anyone, 'approve', 1)).toBeNull();
  });

  it.each(['T1/UDAN', 'UDAN', 'T2/UDAN2', 'https://id.example|dan-sub', 'dan-sub'])(
    'recognises Dan in %j',
    (onBehalfOf) => {
      expect(forbiddenPeople(directory, { agent: 'a', owner: null, onBehalfOf })).toContain('dan');
    },
  );

  it('covers the owner, the agent of the same name, and who gets such an id later', () => {
    const parties = { agent: 'eve', owner: 'olga', onBehalfOf: 'later@shop.example' };
    const forbidden = forbiddenPeople(directory, parties);
    expect(forbidden).toEqual(['eve', 'later@shop.example', 'olga']);
    const later = { ...frank, email: 'later@shop.example' };
    expect(refusalOf(later, forbidden, anyone, 'approve', 1)).toBe('self_approval');
    expect(refusalOf(eve, forbidden, anyone, 'deny', 1)).toBe('self_approval');
  });
});

describe('who may answer', () => {
  it('is whom the rule names, by id or group', () => {
    const demand = { ...anyone, approvers: ['security', 'frank'] };
    expect([olga, dan, eve, frank].map((person) => refusalOf(person, [], demand, 'approve', 1))).toEqual([
      'not_an_approver',
      'not_an_approver',
      null,
      null,
    ]);
  });

  it('needs the assurance to approve, not to deny', () => {
    const demand = { ...anyone, assurance: 3 } as const;
    expect(refusalOf(dan, [], demand, 'approve', 2)).toBe('assurance_too_low');
    expect(refusalOf(dan, [], demand, 'approve', 3)).toBeNull();
    expect(refusalOf(dan, [], demand, 'deny', 1)).toBeNull();
  });

  it('counts people, not answers', () => {
    expect(countPeople([{ person: 'dan' }, { person: 'dan' }, { person: 'eve' }])).toBe(2);
  });
});

describe('an answer', () => {
  const standing = {
    state: 'open',
    forbidden: ['olga'],
    demand: { ...anyone, quorum: 2 },
    verdicts: [],
  } as const;
  const given = (person: string, verdict: 'approve' | 'deny') => ({ person, verdict, assurance: 1 }) as const;

  it('approves when enough people have, who still may', () => {
    const byDan = { ...standing, verdicts: [given('dan', 'approve')] };
    expect(answerRequest(standing, directory, dan, 'approve', 1)).toEqual({
      kind: 'record',
      next: 'open',
      approvals: 1,
    });
    expect(answerRequest(byDan, directory, eve, 'approve', 1)).toEqual({
      kind: 'record',
      next: 'approved',
      approvals: 2,
    });
    expect(answerRequest(byDan, { people: [eve] }, eve, 'approve', 1)).toMatchObject({
      next: 'open',
      approvals: 1,
    });
    expect(answerRequest(byDan, directory, dan, 'approve', 1)).toEqual({ kind: 'repeat' });
  });

  it('can be changed from approve to deny, never back', () => {
    const byDan = { ...standing, verdicts: [given('dan', 'approve')] };
    expect(answerRequest(byDan, directory, dan, 'deny', 1)).toMatchObject({ kind: 'record', next: 'denied' });
    const denied = { ...standing, verdicts: [given('dan', 'deny')] };
    expect(answerRequest(denied, directory, dan, 'approve', 1)).toEqual({
      kind: 'refuse',
      code: 'already_answered',
    });
  });
});

describe('ids that map to two people', () => {
  it('are found across kinds, letters and persons', () => {
    expect(findAmbiguousIds(PEOPLE)).toEqual([]);
    const twins = [
      { ...dan, id: 'a', email: 'same@shop.example', slack: ['T1/U1'], oidc: ['s'] },
      { ...eve, id: 'b', email: 'Same@shop.example', slack: ['T1/U1'], oidc: ['A'] },
    ];
    expect(findAmbiguousIds(twins)).toEqual([
      { id: 'a', people: ['a', 'b'] },
      { id: 'same@shop.example', people: ['a', 'b'] },
      { id: 't1/u1', people: ['a', 'b'] },
    ]);
    expect(findAmbiguousIds([dan, dan])).toContainEqual({ id: 'dan', people: ['dan', 'dan'] });
  });
});
