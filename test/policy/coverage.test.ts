import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { coverageOf, type KnownAgent } from '../../src/policy/coverage.ts';
import { globsCover } from '../../src/policy/glob-cover.ts';
import type { PolicyRule } from '../../src/policy/rule.ts';
import { globMatches } from '../../src/statement/glob.ts';

const AGENTS: readonly KnownAgent[] = [
  { agent: 'reporter', owner: 'ann', role: 'agent_ro', database: 'shop' },
  { agent: 'migrator', owner: 'bob', role: 'agent_rw', database: null },
];

let number = 0;
const rule = (decision: PolicyRule['decision'], match: PolicyRule['match'], rest = {}): PolicyRule => ({
  name: `r${number++}`,
  decision,
  match,
  ...rest,
});
const unreachable = (...rules: PolicyRule[]) => coverageOf(rules, AGENTS).unreachable;

describe('globs that cover others', () => {
  it.each([
    [['public.*'], 'public.orders', true],
    [['public.*'], 'public.*', true],
    [['public.*'], '*', false],
    [['*.orders'], 'public.*', false],
    [['*.order?'], 'app.orders', true],
    [['a*', 'b*'], 'a?', true],
    [['a*b'], 'a*c*b', true],
    [['a*c*b'], 'a*b', false],
    [['?', '??*', ''], '*', true],
    [['?', '??*'], '*', false],
    [['?*'], '*x', true],
    [['x*', '*y'], 'x*y', true],
    [[], '*', false],
    [['\u{1f600}?'], '\u{1f600}\u{1f600}', true],
  ] as const)('%j covers %s: %s', (outer, inner, expected) => {
    expect(globsCover(outer, inner)).toBe(expected);
  });

  it('agrees with matching, text by text', () => {
    const glob = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?'), maxLength: 5 });
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 6 });
    fc.assert(
      fc.property(
        fc.array(glob, { maxLength: 3 }),
        glob,
        fc.array(text, { maxLength: 40 }),
        (outer, inner, texts) => {
          const outside = (one: string) => !outer.some((other) => globMatches(other, one));
          const witness = texts.some((one) => globMatches(inner, one) && outside(one));
          return !(witness && globsCover(outer, inner));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('gives up on what would take too long, saying no', () => {
    const glob = `${'*a'.repeat(60)}*`;
    expect(
      globsCover(
        Array.from({ length: 40 }, (_, i) => `${'*b?'.repeat(i + 1)}*`),
        glob,
      ),
    ).toBe(false);
  });
});

describe('rules that can never match', () => {
  it('says which earlier rule takes everything', () => {
    expect(
      unreachable(rule('hold', { class: ['ddl', 'privilege'] }), rule('deny', { class: ['ddl'] })),
    ).toEqual([{ kind: 'covered', rule: 1, by: [0], same: false }]);
    expect(unreachable(rule('hold', {}), rule('hold', { class: ['ddl'] }))).toEqual([
      { kind: 'covered', rule: 1, by: [0], same: true },
    ]);
    expect(unreachable(rule('hold', {}), rule('hold', {}, { quorum: 2 }))).toMatchObject([{ same: false }]);
  });

  it('several earlier rules together', () => {
    const rules = [
      rule('deny', { class: ['ddl'], agent: ['reporter'] }),
      rule('hold', { class: ['ddl'], role: ['*_rw'] }),
      rule('allow', { class: ['ddl'] }),
    ];
    expect(unreachable(...rules)).toEqual([{ kind: 'covered', rule: 2, by: [0, 1], same: false }]);
    expect(unreachable(...rules.slice(1))).toEqual([]);
  });

  it('owner and role belong to the agent; a database that it chooses is not known', () => {
    expect(unreachable(rule('deny', { owner: ['ann'] }), rule('hold', { role: ['agent_ro'] }))).toMatchObject(
      [{ rule: 1, by: [0] }],
    );
    expect(
      unreachable(rule('deny', { database: ['shop'] }), rule('hold', { agent: ['reporter'] })),
    ).toMatchObject([{ rule: 1, by: [0] }]);
    expect(unreachable(rule('deny', { database: ['shop'] }), rule('hold', { agent: ['migrator'] }))).toEqual(
      [],
    );
    expect(
      unreachable(
        rule('deny', { database: ['s*'] }),
        rule('hold', { agent: ['migrator'], database: ['shop'] }),
      ),
    ).toMatchObject([{ rule: 1, by: [0] }]);
  });

  it.each([
    ['deny', ['public.*'], 'hold', ['public.orders'], true],
    ['deny', ['public.*'], 'allow', ['public.orders'], true],
    ['allow', ['public.*'], 'allow', ['public.orders', 'public.t?'], true],
    // A join with another table is not allowed by the first, and held by the second.
    ['allow', ['public.*'], 'hold', ['public.orders'], false],
    // What has no schema that is known is compared by its name alone, which `pub*` does not match.
    ['deny', ['pub*'], 'hold', ['public.orders'], false],
    ['deny', ['pub*'], 'allow', ['public.orders'], true],
    ['deny', ['public.*'], 'hold', undefined, false],
    ['deny', ['*'], 'hold', undefined, false],
    ['deny', undefined, 'hold', ['x.y'], true],
  ] as const)('%s %j before %s %j: %s', (first, outer, second, inner, expected) => {
    const on = (relation: readonly string[] | undefined) => (relation === undefined ? {} : { relation });
    expect(unreachable(rule(first, on(outer)), rule(second, on(inner))).length).toBe(expected ? 1 : 0);
  });

  it.each<
    [PolicyRule['decision'], PolicyRule['match'], PolicyRule['decision'], PolicyRule['match'], boolean]
  >([
    ['deny', { command: ['drop *'] }, 'hold', { command: ['DROP TABLE'] }, true],
    ['deny', { column: ['public.*.email'] }, 'hold', { column: ['public.customers.email'] }, true],
    ['deny', { column: ['public.customers.email'] }, 'hold', { column: ['public.*.email'] }, false],
    ['deny', { column: ['public.*.*'] }, 'hold', { column: ['public.T.Email'] }, true],
    ['deny', { relation: ['public.customers'] }, 'hold', { relation: ['public.Customers'] }, false],
    ['deny', { relation: ['public.Customers'] }, 'allow', { relation: ['public.customers'] }, true],
    ['allow', { relation: ['public.Customers'] }, 'allow', { relation: ['public.customers'] }, false],
    ['hold', { tag: ['p*'] }, 'deny', { tag: ['pii', 'phone'] }, true],
    ['hold', { boundary: ['role', 'network'] }, 'deny', { boundary: ['role'] }, true],
    ['hold', { rows: { above: 10 } }, 'deny', { rows: { above: 100 } }, true],
    ['hold', { rows: { above: 100 } }, 'deny', { rows: { above: 10 } }, false],
    ['allow', { rows: { atMost: 100 } }, 'allow', { rows: { atMost: 10 } }, true],
    ['allow', { rows: { atMost: 10 } }, 'allow', { rows: { atMost: 100 } }, false],
    ['hold', { rows: { above: 10 } }, 'allow', { rows: { atMost: 5 } }, false],
    [
      'deny',
      { time: [{ hours: '18:00-08:00' }] },
      'hold',
      { time: [{ hours: '22:00-06:00', days: ['mon'] }] },
      true,
    ],
    ['deny', { time: [{ hours: '18:00-08:00' }, { hours: '08:00-18:00' }] }, 'hold', {}, true],
    [
      'deny',
      { time: [{ hours: '18:00-08:00', zone: 'Asia/Tokyo' }] },
      'hold',
      { time: [{ hours: '22:00-06:00' }] },
      false,
    ],
    [
      'deny',
      { tag: ['pii'], class: ['read'] },
      'hold',
      { tag: ['pii'], class: ['read'], relation: ['a.b'] },
      true,
    ],
  ])('%s %j before %s %j: %s', (first, outer, second, inner, expected) => {
    expect(unreachable(rule(first, outer), rule(second, inner)).length).toBe(expected ? 1 : 0);
  });

  it('a trial leaves the decision to later rules, but no later trial is told of', () => {
    const trial = rule('deny', {}, { mode: 'observe' });
    expect(unreachable(trial, rule('hold', {}))).toEqual([]);
    expect(unreachable(trial, rule('hold', {}, { mode: 'observe' }))).toMatchObject([{ rule: 1, by: [0] }]);
    expect(unreachable(rule('deny', {}), trial)).toMatchObject([{ rule: 1, by: [0] }]);
  });

  it('many rules and agents are no matter of minutes', () => {
    const agents = Array.from({ length: 40 }, (_, i) => ({
      agent: `a${i}`,
      owner: 'o',
      role: 'r',
      database: 'd',
    }));
    const rules = Array.from({ length: 150 }, (_, i) =>
      rule('hold', { agent: [`a${i % 40}`, '*9'], relation: [`s${i}.*`, `*.t${i}_*`, `x?y${i}.*`] }),
    );
    expect(coverageOf(rules, agents)).toEqual({ unreachable: [], floorAllows: [] });
  });

  it('a rule for agents that nobody is', () => {
    expect(unreachable(rule('deny', { agent: ['x*'] }))).toEqual([
      { kind: 'nobody', rule: 0, conditions: ['agent'] },
    ]);
    expect(unreachable(rule('deny', { agent: ['reporter'], owner: ['bob'] }))).toEqual([
      { kind: 'nobody', rule: 0, conditions: [] },
    ]);
  });
});

describe('rules that allow what no rule can', () => {
  it('names the classes, unless an earlier rule takes them', () => {
    expect(coverageOf([rule('allow', { agent: ['reporter'] })], AGENTS).floorAllows).toEqual([
      { rule: 0, classes: ['opaque', 'unparsed'] },
    ]);
    const before = rule('deny', { class: ['opaque'] });
    expect(coverageOf([before, rule('allow', {})], AGENTS).floorAllows).toEqual([
      { rule: 1, classes: ['unparsed'] },
    ]);
    expect(coverageOf([rule('allow', { class: ['ddl'] })], AGENTS).floorAllows).toEqual([]);
    expect(coverageOf([rule('hold', {})], AGENTS).floorAllows).toEqual([]);
  });
});
