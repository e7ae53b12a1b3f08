import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decide } from '../../src/policy/decide.ts';
import type { PolicyRule, RuleMatch } from '../../src/policy/rule.ts';
import {
  type Analysis,
  type RelationUse,
  STATEMENT_CLASSES,
  type StatementAnalysis,
} from '../../src/statement/analysis.ts';
import { BOUNDARIES, type FunctionUse } from '../../src/statement/details.ts';
import { analysed } from '../statement/support.ts';
import { CONTEXT } from './support.ts';

/** Few names, so that rules and statements often meet. */
const schema = fc.constantFrom('public', 'app', 'billing');
const table = fc.constantFrom('orders', 'customers');
const column = fc.constantFrom('id', 'email', 'note');
const tag = fc.constantFrom('pii', 'secret', 'open');
const glob = <T>(one: fc.Arbitrary<T>) => fc.oneof({ weight: 3, arbitrary: one }, fc.constant('*'));

const use: fc.Arbitrary<RelationUse> = fc.record({
  schema,
  name: table,
  oid: fc.constant(20_001),
  mode: fc.constantFrom('read' as const, 'write' as const),
  columns: fc.record({ read: fc.uniqueArray(column), written: fc.uniqueArray(column) }),
  tags: fc.uniqueArray(tag),
});
const call: fc.Arbitrary<FunctionUse> = fc
  .record({ schema, name: table })
  .map((one) => ({ ...one, builtin: false, oid: 20_002, volatility: 'stable', securityDefiner: false }));

const [PLAIN] = analysed('SELECT 1').statements;
if (PLAIN === undefined) throw new Error('no statement');
const BASE: StatementAnalysis = PLAIN;

const count = fc.nat({ max: 100 });
const statement: fc.Arbitrary<StatementAnalysis> = fc
  .record({
    class: fc.constantFrom(...STATEMENT_CLASSES),
    relations: fc.array(use, { maxLength: 3 }),
    functions: fc.array(call, { maxLength: 2 }),
    boundary: fc.uniqueArray(fc.constantFrom(...BOUNDARIES), { maxLength: 2 }),
    sizes: fc.record({ carried: count, expected: fc.constant(null), written: count }),
  })
  .map((facts) => ({ ...BASE, ...facts, rowBound: facts.sizes.carried }));

const names = <T>(one: fc.Arbitrary<T>) => fc.array(one, { minLength: 1, maxLength: 2 });
const optional = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined, freq: 2 });
const relationGlob = fc.tuple(glob(schema), glob(table)).map((parts) => parts.join('.'));
const columnGlob = fc.tuple(glob(schema), glob(table), glob(column)).map((parts) => parts.join('.'));

function matchFor(decision: PolicyRule['decision']): fc.Arbitrary<RuleMatch> {
  return fc
    .record({
      class: optional(fc.uniqueArray(fc.constantFrom(...STATEMENT_CLASSES), { minLength: 1 })),
      relation: optional(names(relationGlob)),
      column: optional(names(columnGlob)),
      function: optional(names(relationGlob)),
      tag: optional(names(glob(tag))),
      boundary: optional(names(fc.constantFrom(...BOUNDARIES))),
      rows: optional(count.map((rows) => (decision === 'allow' ? { atMost: rows } : { above: rows }))),
      time: optional(fc.constant([{ hours: '08:00-18:00' }])),
    })
    .map((match) => JSON.parse(JSON.stringify(match)) as RuleMatch);
}

const rule: fc.Arbitrary<PolicyRule> = fc
  .constantFrom('allow' as const, 'hold' as const, 'deny' as const)
  .chain((decision) =>
    fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      decision: fc.constant(decision),
      match: matchFor(decision),
      mode: fc.constantFrom('enforce' as const, 'enforce' as const, 'observe' as const),
    }),
  );

/** Ways in which less is known of a statement, or more is in it that is not known. */
const UNKNOWN_USE: RelationUse = { schema: null, name: 'orders', oid: null, mode: 'read' };
const BLURS: Readonly<Record<string, (one: StatementAnalysis) => StatementAnalysis>> = {
  'a relation that is not known': (one) => ({ ...one, relations: [...one.relations, UNKNOWN_USE] }),
  'relations whose schema is not known': (one) => ({
    ...one,
    relations: one.relations.map((use) => ({ ...use, schema: null, oid: null })),
  }),
  'columns that nobody can tell': (one) => ({
    ...one,
    relations: one.relations.map(({ columns: _, ...use }) => use),
  }),
  'columns read that nobody can tell': (one) => ({
    ...one,
    relations: one.relations.map((use) => ({ ...use, columns: { read: null, written: [] } })),
  }),
  'relations that no catalog knows': (one) => ({
    ...one,
    relations: one.relations.map(({ tags: _, ...use }) => ({ ...use, oid: null })),
    tags: [],
  }),
  'a whole schema': (one) => ({ ...one, reaches: ['public'] }),
  'whatever there is': (one) => ({ ...one, reaches: [null] }),
  'functions whose schema is not known': (one) => ({
    ...one,
    functions: one.functions.map((use) => ({ ...use, schema: null })),
  }),
  'a call that nobody can name': (one) => ({ ...one, calls: ['OID 20003'] }),
  'a size that nothing bounds': (one) => ({
    ...one,
    rowBound: null,
    rowBoundBy: 'nothing',
    sizes: { carried: null, expected: null, written: null },
  }),
  'a text that cannot be read': (one) => ({
    ...BASE,
    class: 'unparsed',
    command: '',
    reasons: ['unread'],
    rowBound: null,
    rowBoundBy: null,
    start: one.start,
  }),
  'code that nobody knows': (one) => ({ ...one, class: 'opaque' }),
};

function analysisOf(...statements: readonly StatementAnalysis[]): Analysis {
  const first = statements[0] ?? BASE;
  return { statements, class: first.class, reasons: first.reasons, changesPinned: false, syntaxError: null };
}

const RUNS = Number(process.env['COUNTERSIGN_POLICY_RUNS'] ?? 3_000);
const NOON = Date.parse('2026-03-25T12:00:00Z') * 1000;

describe('what is held or denied is not allowed because less is known', () => {
  it.each(Object.entries(BLURS))('%s', (_, blur) => {
    fc.assert(
      fc.property(statement, fc.array(rule, { maxLength: 4 }), fc.boolean(), (one, rules, timed) => {
        const policy = { digest: 'd', rules };
        const context = timed ? { ...CONTEXT, at: NOON } : CONTEXT;
        const before = decide(analysisOf(one), context, policy).decision;
        const after = decide(analysisOf(blur(one)), context, policy).decision;
        if (before !== 'allow') expect(after).not.toBe('allow');
      }),
      { numRuns: RUNS },
    );
  });

  it('nor because the time is not known', () => {
    fc.assert(
      fc.property(statement, fc.array(rule, { maxLength: 4 }), (one, rules) => {
        const policy = { digest: 'd', rules };
        const before = decide(analysisOf(one), { ...CONTEXT, at: NOON }, policy).decision;
        if (before !== 'allow') expect(decide(analysisOf(one), CONTEXT, policy).decision).not.toBe('allow');
      }),
      { numRuns: RUNS },
    );
  });
});

describe('whatever the rules are', () => {
  it('the floors hold', () => {
    fc.assert(
      fc.property(statement, fc.array(rule, { maxLength: 4 }), (one, rules) => {
        const policy = { digest: 'd', rules };
        for (const unknown of ['unparsed', 'opaque'] as const)
          expect(decide(analysisOf({ ...one, class: unknown }), CONTEXT, policy).decision).not.toBe('allow');
        const pinned = { ...analysisOf(one), changesPinned: true };
        expect(decide(pinned, CONTEXT, policy)).toMatchObject({ decision: 'deny', rule: 'floor:pinned' });
      }),
      { numRuns: RUNS },
    );
  });

  it('rules in mode observe change no decision', () => {
    fc.assert(
      fc.property(
        fc.array(statement, { minLength: 1, maxLength: 3 }),
        fc.array(rule, { maxLength: 5 }),
        (all, rules) => {
          const { observed: _, ...with_ } = decide(analysisOf(...all), CONTEXT, { digest: 'd', rules });
          const enforced = rules.filter(({ mode }) => mode !== 'observe');
          expect(with_).toEqual(decide(analysisOf(...all), CONTEXT, { digest: 'd', rules: enforced }));
        },
      ),
      { numRuns: RUNS },
    );
  });

  it('a statement more in a string allows nothing', () => {
    fc.assert(
      fc.property(statement, statement, fc.array(rule, { maxLength: 4 }), (one, more, rules) => {
        const policy = { digest: 'd', rules };
        const alone = decide(analysisOf(one), CONTEXT, policy).decision;
        if (alone !== 'allow')
          expect(decide(analysisOf(one, more), CONTEXT, policy).decision).not.toBe('allow');
      }),
      { numRuns: RUNS },
    );
  });
});
