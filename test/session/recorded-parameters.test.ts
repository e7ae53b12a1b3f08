import { serialize } from 'pg-protocol';
import { describe, expect, it } from 'vitest';
import type { IntentEntry } from '../../src/audit/entry.ts';
import type { Decision } from '../../src/policy/decision.ts';
import type { ParameterRecording } from '../../src/policy/rule.ts';
import { parametersDigest, recordedParameters } from '../../src/session/recorded-parameters.ts';
import type { SessionState } from '../../src/session/state.ts';
import type { Subject } from '../../src/session/subject.ts';
import { F, TestSession } from './harness.ts';

/** Sends a statement with two parameters; its intent's, as they go to the journal. */
function recorded(decision: Partial<Decision>, parameters?: ParameterRecording) {
  const s = new TestSession({
    ...(parameters === undefined ? {} : { parameters }),
    decide: (analysis) => ({
      decision: 'allow',
      rule: 'r',
      policy: 'p',
      class: analysis.class,
      reasons: ['why'],
      approval: null,
      ...decision,
    }),
  });
  const text = decision.decision === 'hold' ? 'ddl $1' : 'read $1';
  const bind = serialize.bind({ statement: 's', values: ['private', null] });
  s.f(F.parse(text, 's'), bind, F.execute(), serialize.sync());
  return { s, intents: () => s.entries.filter((entry): entry is IntentEntry => entry.kind === 'intent') };
}

describe('bind parameters are recorded', () => {
  it('in full, where nothing else is said', () => {
    expect(recorded({}).intents()[0]?.parameters).toEqual(["'private'", 'NULL']);
  });

  it.each([
    ['digest', [`‹2 parameters, sha256 ${parametersDigest(["'private'", 'NULL'])}›`]],
    ['none', ['‹2 parameters, not recorded›']],
    ['full', ["'private'", 'NULL']],
  ] as const)('as the rule says: %s', (parameters, wanted) => {
    expect(recorded({ parameters }).intents()[0]?.parameters).toEqual(wanted);
    // The configuration's word is for where the rule says nothing.
    expect(recorded({}, parameters).intents()[0]?.parameters).toEqual(wanted);
    const other = parameters === 'full' ? 'none' : 'full';
    expect(recorded({ parameters }, other).intents()[0]?.parameters).toEqual(wanted);
  });

  it('and what a digest stands for is told apart: NULL, an empty text, and where one ends', () => {
    const digests = [[null], [''], ['a', 'b'], ['ab'], ['ab', ''], []].map(parametersDigest);
    expect(new Set(digests).size).toBe(6);
  });

  it('by the rule that policy names, where the budget decides', () => {
    const { s, intents } = recorded({ rule: 'budget:rows' });
    expect(intents()[0]?.parameters).toEqual(["'private'", 'NULL']);
    expect(s.kinds()).not.toContain('open');
    const asked = { decision: 'deny' as const, rule: 'budget:rows' };
    const subject = { parameters: [{ shown: 'private' }], analysis: {} } as unknown as Subject;
    const setup = { decide: () => ({ ...asked, parameters: 'none' }) };
    const state = { setup, now: 1 } as unknown as SessionState;
    const decision = asked as unknown as Decision;
    expect(recordedParameters(state, subject, decision)).toEqual(['‹1 parameter, not recorded›']);
  });

  it('nowhere else, while the question that people are asked has them', () => {
    const approval = { approvers: [], quorum: 1, assurance: 1 } as const;
    const { s, intents } = recorded({ decision: 'hold', parameters: 'none', approval });
    if (s.session.phase === 'probing') s.on({ kind: 'probed', rejection: null });
    expect(s.effect('open').question.parameters?.map(({ shown }) => shown)).toEqual(["'private'", 'NULL']);
    s.opened().approve();
    expect(intents()).toHaveLength(1);
    const text = JSON.stringify(s.entries, (_, value) => (typeof value === 'bigint' ? `${value}` : value));
    expect(text).toContain('not recorded');
    expect(text).not.toContain('private');
  });
});
