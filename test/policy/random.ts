import fc from 'fast-check';
import type { KnownAgent } from '../../src/policy/coverage.ts';
import type { PolicyRule, RuleMatch, TimeWindow } from '../../src/policy/rule.ts';
import { NOTHING } from '../../src/policy/told.ts';
import { type RelationUse, STATEMENT_CLASSES, type StatementAnalysis } from '../../src/statement/analysis.ts';
import { BOUNDARIES } from '../../src/statement/details.ts';

/** Random rules, and random statements that they may match. */

export const AGENTS: readonly KnownAgent[] = [
  { agent: 'reporter', owner: 'ann', role: 'agent_ro', database: 'shop' },
  { agent: 'migrator', owner: 'bob', role: 'agent_rw', database: null },
];

const CLASSES = STATEMENT_CLASSES.filter((name) => ['read', 'write', 'ddl', 'unparsed'].includes(name));
const from = <T>(...values: T[]): fc.Arbitrary<T[]> =>
  fc.subarray(values, { minLength: 1, maxLength: Math.min(3, values.length) });
const WINDOWS: TimeWindow[] = [
  { days: ['mon'] },
  { hours: '22:00-06:00' },
  { hours: '06:00-22:00' },
  { hours: '23:00-05:00', days: ['mon', 'tue'] },
  { hours: '00:00-24:00', zone: 'Asia/Tokyo' },
];
const SIZES = fc.constantFrom(5, 50).map((n) => ({ above: n, atMost: n }));

const MATCH: { readonly [K in keyof RuleMatch]-?: fc.Arbitrary<RuleMatch[K]> } = {
  agent: from('reporter', 'm*'),
  owner: from('ann', 'bob'),
  database: from('shop', 's*', 'other'),
  role: from('agent_*', 'agent_ro'),
  class: from<string>(...CLASSES),
  command: from('SELECT', 'drop *', 'DROP TABLE'),
  relation: from('*', 'public.*', 'public.a', '*.a', 'app.b', 'pub*', 'public.B', 'a'),
  column: from('public.a.*', '*.*.email', 'public.*.Email', 'app.b.id', '*.*.*'),
  function: from('public.*', '*.f', 'pg_catalog.lower', '*.*'),
  tag: from('p*', 'pii', 'x', '*'),
  boundary: from<string>('role', 'network'),
  rows: SIZES,
  bytes: SIZES,
  time: from(...WINDOWS),
};
const KEYS = Object.keys(MATCH) as (keyof RuleMatch)[];

let number = 0;
export const anyRule: fc.Arbitrary<PolicyRule> = fc
  .record({
    decision: fc.constantFrom('allow' as const, 'hold' as const, 'deny' as const),
    mode: fc.constantFrom(undefined, undefined, 'observe' as const),
    // With few conditions, or no rule would ever cover another.
    keys: fc.subarray(KEYS, { maxLength: 2 }),
    all: fc.record(MATCH),
  })
  .map(({ decision, mode, keys, all }) => {
    const match: Record<string, unknown> = {};
    for (const key of keys) match[key] = all[key];
    for (const key of ['rows', 'bytes'] as const) {
      const size = all[key];
      if (keys.includes(key) && size !== undefined)
        match[key] = decision === 'allow' ? { atMost: size.atMost } : { above: size.above };
    }
    return {
      name: `r${number++}`,
      decision,
      match: match as RuleMatch,
      ...(mode === undefined ? {} : { mode }),
    };
  });

const use: fc.Arbitrary<RelationUse> = fc.record(
  {
    schema: fc.constantFrom(null, 'public', 'app'),
    name: fc.constantFrom('a', 'b', 'B'),
    oid: fc.constantFrom(null, 20_000),
    mode: fc.constantFrom('read' as const, 'write' as const),
    columns: fc.record({
      read: fc.option(fc.subarray(['id', 'email', 'Email'])),
      written: fc.option(fc.subarray(['id', 'email'])),
    }),
    tags: fc.subarray(['pii', 'phone', 'x']),
  },
  { requiredKeys: ['schema', 'name', 'oid', 'mode'] },
);

export const anyStatement: fc.Arbitrary<StatementAnalysis> = fc
  .record({
    class: fc.constantFrom(...CLASSES),
    command: fc.constantFrom('SELECT', 'DROP TABLE', 'DROP VIEW', 'INSERT'),
    relations: fc.array(use, { maxLength: 2 }),
    boundary: fc.subarray([...BOUNDARIES]),
    functions: fc.array(
      fc.record({
        schema: fc.constantFrom(null, 'public', 'pg_catalog'),
        name: fc.constantFrom('f', 'lower'),
        builtin: fc.constant(false),
        oid: fc.constant(null),
        volatility: fc.constant(null),
        securityDefiner: fc.constant(null),
      }),
      { maxLength: 2 },
    ),
    operators: fc.subarray(['@@']),
    rowBound: fc.constantFrom(null, 0, 5),
    sizes: fc.option(
      fc.record({
        carried: fc.constantFrom(null, 3, 20, 100),
        expected: fc.constantFrom(null, 20),
        written: fc.constantFrom(0, 7, null),
      }),
      { nil: undefined },
    ),
  })
  .map(({ sizes, ...some }) => ({
    ...NOTHING,
    ...some,
    ...(sizes === undefined ? {} : { sizes }),
    tags: [...new Set(some.relations.flatMap(({ tags }) => tags ?? []))],
  }));
