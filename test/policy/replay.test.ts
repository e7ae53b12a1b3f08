import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decide } from '../../src/policy/decide.ts';
import { DiffTally } from '../../src/policy/diff.ts';
import { compare, type Recorded } from '../../src/policy/replay.ts';
import type { Policy, PolicyRule } from '../../src/policy/rule.ts';
import { namesAll, relationTold } from '../../src/policy/told.ts';
import { relationNames } from '../../src/session/record.ts';
import type { Analysis, StatementAnalysis } from '../../src/statement/analysis.ts';
import { AGENTS, anyRule, anyStatement } from './random.ts';

const CONTEXT = { agent: 'reporter', owner: 'ann', role: 'agent_ro', database: 'shop', at: 0 };

function recorded(
  name: StatementAnalysis['class'],
  relations: readonly string[],
  more: Partial<Recorded> = {},
): Recorded {
  return {
    class: name,
    relations: relations.map(relationTold),
    relationsWhole: namesAll(name, relations, 'SELECT'),
    context: CONTEXT,
    statement: null,
    pinned: false,
    flowed: null,
    ...more,
  };
}
const policy = (...rules: Omit<PolicyRule, 'name'>[]): Policy => ({
  digest: '',
  rules: rules.map((rule, at) => ({ name: `r${at}`, ...rule })),
});

describe('a statement of the past under two policies', () => {
  const none = policy();
  const read = recorded('read', ['public.customers']);

  it('is decided the same, perhaps by another rule', () => {
    expect(compare(read, none, none)).toMatchObject({ kind: 'same' });
    expect(compare(read, none, policy({ match: {}, decision: 'allow' }))).toMatchObject({
      kind: 'same',
      from: { rule: 'default:read' },
      to: { rule: 'r0' },
    });
  });

  it('is decided otherwise', () => {
    const hold = policy({ match: { relation: ['public.*'] }, decision: 'hold' });
    expect(compare(read, none, hold)).toMatchObject({
      kind: 'changed',
      what: 'decision',
      from: { decision: 'allow', rule: 'default:read' },
      to: { decision: 'hold', rule: 'r0' },
    });
    const asked = policy({ match: { relation: ['public.*'] }, decision: 'hold', quorum: 2 });
    expect(compare(read, hold, asked)).toMatchObject({ kind: 'changed', what: 'approval' });
  });

  it('is stopped by a limit that what flowed is above', () => {
    const limited = policy({ match: {}, decision: 'allow', limits: { rows: 10 } });
    const of = (rows: number) => recorded('read', [], { flowed: { rows, bytes: 0 } });
    expect(compare(of(11), none, limited)).toMatchObject({ kind: 'changed', what: 'limits' });
    expect(compare(of(10), none, limited)).toMatchObject({ kind: 'same' });
    expect(compare(read, none, limited)).toMatchObject({ kind: 'same' });
  });

  it('cannot be said where it hangs on what was not recorded', () => {
    const tagged = policy({ match: { tag: ['pii'] }, decision: 'hold' });
    expect(compare(read, none, tagged)).toEqual({
      kind: 'untold',
      because: [{ rule: 'r0', condition: 'tag' }],
    });
    // What touches nothing has no tags; what cannot be in that relation has none of its columns.
    expect(compare(recorded('read', []), none, tagged)).toMatchObject({ kind: 'same' });
    const column = policy({ match: { column: ['public.payments.card'] }, decision: 'deny' });
    expect(compare(read, none, column)).toMatchObject({ kind: 'same' });
    expect(compare(recorded('read', ['payments']), none, column)).toMatchObject({ kind: 'untold' });
  });

  it('can be said where it makes no difference', () => {
    const tag = { match: { tag: ['pii'] }, decision: 'hold' } as const;
    // Both policies have the rule: it matched in both, or in neither.
    expect(
      compare(read, policy(tag), policy(tag, { match: { class: ['ddl'] }, decision: 'deny' })),
    ).toMatchObject({
      kind: 'same',
    });
    // Held by the one or by the other.
    expect(
      compare(read, policy(tag, { match: {}, decision: 'hold' }), policy({ match: {}, decision: 'deny' })),
    ).toMatchObject({
      kind: 'untold',
    });
    const ddl = recorded('ddl', ['public.t']);
    expect(compare(ddl, none, policy(tag))).toMatchObject({ kind: 'same' });
    // A rule that allows reads the same words in another way: what is held as tagged may not be all tagged.
    const others = { match: {}, decision: 'deny' } as const;
    const opaque = recorded('opaque', ['public.t']);
    expect(compare(opaque, policy(tag, others), policy({ ...tag, decision: 'allow' }, others))).toMatchObject(
      { kind: 'untold' },
    );
  });

  it('what may touch relations without naming them cannot be said to leave one alone', () => {
    const deny = policy({ match: { relation: ['hr.*'] }, decision: 'deny' });
    expect(compare(recorded('ddl', []), none, deny)).toMatchObject({ kind: 'untold' });
    expect(compare(recorded('ddl', ['public.t']), none, deny)).toMatchObject({ kind: 'same' });
    expect(namesAll('ddl', ['public.t'], 'CREATE PUBLICATION p FOR TABLE t, TABLES IN SCHEMA hr')).toBe(
      false,
    );
    expect(namesAll('ddl', ['public.t'], null)).toBe(false);
  });

  it('a trial decides nothing, and no rule decides about a pinned setting', () => {
    expect(compare(read, none, policy({ match: {}, decision: 'deny', mode: 'observe' }))).toMatchObject({
      kind: 'same',
    });
    const pinned = recorded('session', [], { pinned: true });
    expect(compare(pinned, none, policy({ match: {}, decision: 'allow' }))).toMatchObject({
      kind: 'same',
      from: { decision: 'deny', rule: 'floor:pinned' },
    });
  });

  it('time is that of the statement', () => {
    const night = policy({ match: { time: [{ hours: '22:00-06:00' }] }, decision: 'deny' });
    const at = (hour: number) => recorded('read', [], { context: { ...CONTEXT, at: hour * 3600e6 } });
    expect(compare(at(23), none, night)).toMatchObject({ kind: 'changed' });
    expect(compare(at(12), none, night)).toMatchObject({ kind: 'same' });
  });

  it('what is certain is what was decided: against decide with all facts', () => {
    const seen = { same: 0, changed: 0, untold: 0 };
    const rules = fc.array(anyRule, { maxLength: 4 });
    fc.assert(
      fc.property(
        rules,
        rules,
        fc.array(anyStatement, { minLength: 3, maxLength: 10 }),
        (before, after, statements) => {
          for (const [at, one] of statements.entries()) {
            const agent = AGENTS[at % AGENTS.length];
            if (agent === undefined) return false;
            const context = { ...agent, database: agent.database ?? 'shop', at: at * 5e9 * 3600 };
            const relations = relationNames(one.relations);
            const told = recorded(one.class, relations, {
              context,
              relationsWhole: namesAll(one.class, relations, 'SELECT'),
            });
            const [old, now] = [before, after].map((some) =>
              decide(analysisOf(one), context, { digest: '', rules: some }),
            );
            const found = compare(told, { digest: '', rules: before }, { digest: '', rules: after });
            seen[found.kind]++;
            if (old === undefined || now === undefined) return false;
            if (
              found.kind === 'same' &&
              (old.decision !== now.decision || !equal(old.approval, now.approval))
            )
              return false;
            if (
              found.kind === 'changed' &&
              (old.decision !== found.from.decision || now.rule !== found.to.rule)
            )
              return false;
          }
          return true;
        },
      ),
      { numRuns: 1_000 },
    );
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(200);
  }, 180_000);
});

function analysisOf(one: StatementAnalysis): Analysis {
  return {
    statements: [one],
    class: one.class,
    reasons: one.reasons,
    changesPinned: false,
    syntaxError: null,
  };
}
function equal(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

describe('adding up', () => {
  it('groups by rules, agent, class and relations, most frequent first', () => {
    const tally = new DiffTally();
    const hold = policy({ match: { class: ['read'] }, decision: 'hold' });
    for (const relations of [['public.a'], ['public.b'], ['public.b']]) {
      const one = recorded('read', relations);
      tally.add(compare(one, policy(), hold), one, relations, `SELECT FROM ${relations[0]}`);
    }
    const write = recorded('write', []);
    tally.add(compare(write, policy(), hold), write, [], null);
    expect(tally.result()).toMatchObject({
      statements: 4,
      same: 1,
      changed: 3,
      untold: 0,
      unlisted: 0,
      changes: [
        { relations: ['public.b'], statements: 2, example: 'SELECT FROM public.b' },
        { relations: ['public.a'], statements: 1 },
      ],
    });
  });

  it('the number of groups has a limit', () => {
    const tally = new DiffTally();
    const hold = policy({ match: { class: ['read'] }, decision: 'hold' });
    for (let i = 0; i < 10_005; i++) {
      const one = recorded('read', [`public.t${i}`]);
      tally.add({ kind: 'untold', because: [] }, one, [`public.t${i}`], null);
    }
    const one = recorded('read', []);
    tally.add(compare(one, policy(), hold), one, [], null);
    expect(tally.result()).toMatchObject({ statements: 10_006, untold: 10_005, changed: 1, unlisted: 5 });
  });
});
