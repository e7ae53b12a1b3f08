import { describe, expect, it } from 'vitest';
import { decide } from '../../src/policy/decide.ts';
import type { PolicyRule } from '../../src/policy/rule.ts';
import { analysed } from '../statement/support.ts';
import { CONTEXT, decided, rule, SHOP } from './support.ts';

const named = (name: string, one: PolicyRule): PolicyRule => ({ ...one, name });
const trial = (name: string, one: PolicyRule): PolicyRule => ({ ...one, name, mode: 'observe' });

describe('a rule in mode observe', () => {
  it('decides nothing, and is named with what it would have decided', () => {
    const rules = [
      trial('t', rule('hold', { class: ['read'] })),
      named('n', rule('deny', { class: ['ddl'] })),
    ];
    expect(decided('SELECT 1', rules)).toMatchObject({
      decision: 'allow',
      rule: 'default:read',
      observed: [{ statement: 0, rule: 't', decision: 'hold' }],
    });
    expect(decided('DROP TABLE customers', rules)).toMatchObject({ decision: 'deny', rule: 'n' });
    expect(decided('DROP TABLE customers', rules)).not.toHaveProperty('observed');
  });

  it('after a rule that decides is never reached', () => {
    const rules = [named('n', rule('allow', {})), trial('t', rule('deny', {}))];
    expect(decided('SELECT 1', rules)).not.toHaveProperty('observed');
  });

  it('the first of several is named: it would have decided', () => {
    const rules = [trial('a', rule('hold', {})), trial('b', rule('deny', {}))];
    expect(decided('SELECT 1', rules).observed).toEqual([{ statement: 0, rule: 'a', decision: 'hold' }]);
  });

  it('each statement of a string has its own', () => {
    const rules = [
      trial('a', rule('hold', { class: ['ddl'] })),
      trial('b', rule('deny', { class: ['read'] })),
    ];
    expect(decided('DROP TABLE customers; SELECT 1', rules).observed).toEqual([
      { statement: 0, rule: 'a', decision: 'hold' },
      { statement: 1, rule: 'b', decision: 'deny' },
    ]);
  });

  it.each([
    ['SELEC 1', 'hold', 'default:unparsed'],
    ['SELECT nobody_knows()', 'hold', 'default:opaque'],
    ['DO $$ BEGIN END $$', 'hold', 'default:opaque'],
    ["SET client_encoding = 'BIG5'", 'deny', 'floor:pinned'],
    ['DROP TABLE customers', 'hold', 'default:ddl'],
  ])('lets %s through by no decision of its own', (sql, decision, name) => {
    for (const wanted of ['allow', 'hold', 'deny'] as const)
      expect(decided(sql, [trial('t', rule(wanted, {}))])).toMatchObject({ decision, rule: name });
  });

  it('that would allow what nobody understands would hold it', () => {
    expect(decided('SELEC 1', [trial('t', rule('allow', {}))]).observed).toEqual([
      { statement: 0, rule: 't', decision: 'hold' },
    ]);
  });
});

describe('limits', () => {
  it('of a rule that allows and of one that holds are in the decision', () => {
    expect(
      decided('SELECT * FROM customers', [{ ...rule('allow', {}), limits: { rows: 5 } }]).limits,
    ).toEqual({
      rows: 5,
      bytes: null,
    });
    expect(decided('DROP TABLE customers', [{ ...rule('hold', {}), limits: { bytes: 7 } }]).limits).toEqual({
      rows: null,
      bytes: 7,
    });
    expect(decided('SELECT 1', [rule('allow', {})])).not.toHaveProperty('limits');
  });

  it('of one statement are limits of the whole string', () => {
    const rules = [
      { ...named('a', rule('allow', { relation: ['public.customers'] })), limits: { rows: 5, bytes: 100 } },
      { ...named('b', rule('hold', { relation: ['public.orders'] })), limits: { rows: 3 } },
    ];
    const sql = 'SELECT * FROM customers WHERE id = 1; SELECT * FROM orders WHERE id = 1; SELECT 1';
    expect(decided(sql, rules)).toMatchObject({
      decision: 'hold',
      rule: 'b',
      limits: { rows: 3, bytes: 100 },
    });
  });

  it('what is allowed for its estimated rows may not come to more', () => {
    const rules = [
      { ...rule('allow', { class: ['read', 'export'], rows: { atMost: 50 } }), limits: { bytes: 9 } },
    ];
    const estimated = (rows: number) =>
      decide(
        analysed('SELECT * FROM customers WHERE name > 5', SHOP, undefined, null, [
          { meaning: null, estimate: { rows, foldedRows: 0 } },
        ]),
        CONTEXT,
        { digest: 'd', rules },
      );
    expect(estimated(40)).toMatchObject({ decision: 'allow', limits: { rows: 50, bytes: 9 } });
    expect(estimated(60)).toMatchObject({ decision: 'allow', rule: 'default:read' });
    expect(estimated(6_000)).toMatchObject({ decision: 'hold', rule: 'default:export' });
    expect(estimated(60)).not.toHaveProperty('limits');
    // A bound that is certain needs no measuring.
    expect(decided('SELECT * FROM customers LIMIT 40', rules).limits).toEqual({ rows: null, bytes: 9 });
  });

  it('what is folded counts by all that may go into it, whatever the planner expects', () => {
    const rules = [rule('allow', { class: ['read', 'export'], rows: { atMost: 50 } })];
    const sql = 'SELECT json_agg(c) FROM customers c WHERE name > 5';
    const answer = (foldedRows: number) => [{ meaning: null, estimate: { rows: 1, foldedRows } }];
    const by = (foldedRows: number) =>
      decide(analysed(sql, SHOP, undefined, null, answer(foldedRows)), CONTEXT, { digest: 'd', rules });
    expect(by(20_000).decision).toBe('hold');
    expect(by(40)).toMatchObject({ decision: 'allow', rule: 'default:read' });
  });
});

describe('a rule that is passed by the planner’s word alone', () => {
  const rules = [
    rule('hold', { relation: ['public.customers'], rows: { above: 50 } }),
    named('rest', rule('allow', {})),
  ];
  const by = (rows: number, extra: readonly PolicyRule[] = rules) =>
    decide(
      analysed('SELECT * FROM customers WHERE name > 5', SHOP, undefined, null, [
        { meaning: null, estimate: { rows, foldedRows: 0 } },
      ]),
      CONTEXT,
      { digest: 'd', rules: extra },
    );

  it('limits what others allow', () => {
    expect(by(40)).toMatchObject({ decision: 'allow', rule: 'rest', limits: { rows: 50, bytes: null } });
    expect(by(60)).toMatchObject({ decision: 'hold', rule: 'to-hold' });
    expect(by(40, rules.slice(0, 1))).toMatchObject({ rule: 'default:read', limits: { rows: 50 } });
  });

  it('and not where the number is certain, or the rule is about something else', () => {
    expect(decided('SELECT * FROM customers LIMIT 40', rules)).not.toHaveProperty('limits');
    expect(decided('SELECT * FROM countries', rules)).not.toHaveProperty('limits');
    const other = [
      rule('hold', { relation: ['public.orders'], rows: { above: 50 } }),
      named('rest', rule('allow', {})),
    ];
    expect(by(40, other)).not.toHaveProperty('limits');
  });
});

describe('what a hold asks for', () => {
  it('has the expiry in milliseconds, and the channel', () => {
    const one = { ...rule('hold', {}), expiry: '30m', channel: 'C1' };
    expect(decided('SELECT 1', [one]).approval).toEqual({
      approvers: [],
      quorum: 1,
      assurance: 1,
      expiryMs: 1_800_000,
      channel: 'C1',
    });
  });

  it('has how long a connection waits, and of two in one string the shorter', () => {
    const one = { ...rule('hold', {}), holdTimeout: '90s' };
    const two = { ...rule('hold', {}), name: 'b', holdTimeout: '10s' };
    expect(decided('DROP TABLE t', [one]).approval?.holdMs).toBe(90_000);
    expect(decided('DROP TABLE t', [rule('hold', {})]).approval).not.toHaveProperty('holdMs');
    const both = [
      { ...one, match: { class: ['ddl'] } },
      { ...two, match: { class: ['privilege'] } },
    ];
    expect(decided('DROP TABLE t; GRANT SELECT ON t TO x', both).approval?.holdMs).toBe(10_000);
  });

  it('has its hours and its pace; of two in one string all hours and the slower pace', () => {
    const night = { hours: '20:00-06:00', approvers: ['a'] };
    const sunday = { days: ['sun' as const], approvers: ['b'] };
    const rules = [
      { ...named('a', rule('hold', { class: ['ddl'] })), onCall: [night], maxPerMinute: 9 },
      { ...named('b', rule('hold', { class: ['privilege'] })), onCall: [sunday], maxPerMinute: 4 },
    ];
    expect(decided('DROP TABLE customers', rules).approval).toMatchObject({
      onCall: [night],
      maxPerMinute: 9,
    });
    expect(decided('DROP TABLE customers; GRANT a TO b', rules).approval).toMatchObject({
      onCall: [night, sunday],
      maxPerMinute: 4,
    });
    expect(decided('DROP TABLE t', [rule('hold', {})]).approval).not.toHaveProperty('onCall');
  });

  it('of two in one string the shorter expiry', () => {
    const rules = [
      { ...named('a', rule('hold', { class: ['ddl'] })), expiry: '1d' },
      { ...named('b', rule('hold', { class: ['privilege'] })), expiry: '2h', channel: 'C2' },
    ];
    expect(decided('DROP TABLE customers; GRANT a TO b', rules).approval).toMatchObject({
      expiryMs: 7_200_000,
      channel: 'C2',
    });
  });
});
