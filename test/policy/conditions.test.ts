import { describe, expect, it } from 'vitest';
import { matches } from '../../src/policy/match.ts';
import type { RuleMatch, TimeWindow } from '../../src/policy/rule.ts';
import { isWithin } from '../../src/policy/time-window.ts';
import { MOST_DETAILS } from '../../src/statement/details.ts';
import { analysed } from '../statement/support.ts';
import { CONTEXT, decided, matchesTo, rule, SHOP } from './support.ts';

/** Match, statement, whether it is enough to deny, whether it is certain enough to allow. */
type Case = readonly [match: RuleMatch, sql: string, denied: boolean, allowed: boolean];

function check(cases: readonly Case[]): void {
  it.each(cases)('%j over %s: denied %s, allowed %s', (match, sql, denied, allowed) => {
    expect(matchesTo('deny', match, sql)).toBe(denied);
    expect(matchesTo('allow', match, sql)).toBe(allowed);
  });
}

const EMAIL = { column: ['public.customers.email'] };

describe('columns', () => {
  check([
    [EMAIL, 'SELECT email FROM customers', true, true],
    [EMAIL, 'SELECT email FROM customers WHERE id = 1', true, false],
    [EMAIL, 'SELECT name FROM customers', false, false],
    [EMAIL, 'SELECT * FROM customers', true, false],
    [EMAIL, 'SELECT c FROM customers c', true, false],
    [EMAIL, "UPDATE customers SET email = 'x' WHERE id = 1", true, false],
    [EMAIL, 'DELETE FROM customers WHERE id = 1', true, false],
    [EMAIL, 'TRUNCATE customers', true, false],
    [EMAIL, 'COPY customers (id) TO STDOUT', false, false],
    [EMAIL, 'COPY customers TO STDOUT', true, false],
    [EMAIL, 'SELECT count(*) FROM customers', false, false],
    [EMAIL, 'ALTER TABLE customers DROP COLUMN email', true, false],
    [EMAIL, 'DROP TABLE customers', true, false],
    [EMAIL, 'GRANT SELECT ON customers TO intern', true, false],
    [EMAIL, 'CREATE INDEX ON customers (id)', true, false],
    [EMAIL, 'CREATE TABLE public.fresh (email text)', false, false],
    [EMAIL, 'CREATE TABLE fresh AS SELECT email FROM customers', true, true],
    [EMAIL, 'CREATE TABLE fresh (LIKE customers)', true, false],
    [EMAIL, 'SELECT email FROM unknown_table', false, false],
    [{ column: ['*.*.email'] }, 'SELECT email FROM unknown_table', true, false],
    [
      { column: ['public.customers.*'] },
      'SELECT email, c.name FROM customers c JOIN countries k ON true',
      true,
      false,
    ],
    [{ column: ['public.*.*'] }, 'SELECT * FROM customers JOIN countries k ON true', true, true],
    [
      { column: ['public.*.*'] },
      'SELECT * FROM customers, countries WHERE EXISTS (SELECT FROM orders)',
      true,
      false,
    ],
    [{ column: ['billing.*.*'] }, 'SELECT * FROM customers', false, false],
  ]);
});

describe('names as Postgres folds them', () => {
  check([
    [{ relation: ['Public.CUSTOMERS'] }, 'SELECT email FROM customers', true, false],
    [{ relation: ['"public"."customers"'] }, 'SELECT email FROM customers', true, true],
    [{ relation: ['public."Customers"'] }, 'SELECT email FROM customers', false, false],
    [{ relation: ['public."Mixed"'] }, 'SELECT "Id" FROM "Mixed"', true, true],
    // As it was written before quotes meant anything.
    [{ relation: ['public.Mixed'] }, 'SELECT "Id" FROM "Mixed"', true, true],
    [{ relation: ['public.mixed'] }, 'SELECT "Id" FROM "Mixed"', false, false],
    [{ column: ['public."Mixed"."Id"'] }, 'SELECT "Id" FROM "Mixed"', true, true],
    [{ column: ['PUBLIC.Customers.EMAIL'] }, 'SELECT email FROM customers', true, false],
    [{ function: ['APP.Score'] }, 'SELECT app.score(1)', true, false],
  ]);
});

describe('relations', () => {
  check([
    [{ relation: ['public.customers'] }, 'DROP TABLE customers', true, true],
    [{ relation: ['public.customers'] }, 'DROP TABLE customers, orders', true, false],
    [{ relation: ['public.customers'] }, 'DROP TRIGGER t ON customers', true, true],
    [{ relation: ['public.customers'] }, 'DROP POLICY p ON public.customers', true, true],
    [{ relation: ['public.customers'] }, "COMMENT ON COLUMN customers.email IS 'x'", true, true],
    [{ relation: ['public.customers'] }, "COMMENT ON TABLE customers IS 'x'", true, true],
    [{ relation: ['public.customers'] }, 'DROP SCHEMA public CASCADE', true, false],
    [{ relation: ['public.customers'] }, 'DROP SCHEMA app', false, false],
    [{ relation: ['*'] }, 'DROP SCHEMA app', true, false],
    [
      { relation: ['public.customers'] },
      'GRANT SELECT ON ALL TABLES IN SCHEMA public TO intern',
      true,
      false,
    ],
    [{ relation: ['public.customers'] }, 'GRANT SELECT ON ALL TABLES IN SCHEMA app TO intern', false, false],
    [{ relation: ['public.customers'] }, 'GRANT intern TO analyst', false, false],
    [
      { relation: ['billing.payments'] },
      "SELECT table_to_xml('billing.payments', true, true, '')",
      true,
      false,
    ],
    [
      { relation: ['billing.payments'] },
      "SELECT query_to_xml('SELECT 1', true, true, '') FROM customers",
      true,
      false,
    ],
    [{ relation: ['public.customers'] }, 'REASSIGN OWNED BY a TO b', true, false],
    [{ relation: ['public.customers'] }, 'DROP OWNED BY a', true, false],
    [{ relation: ['public.customers'] }, 'VACUUM', true, false],
    [{ relation: ['public.customers'] }, 'VACUUM orders', false, false],
    [{ relation: ['public.customers'] }, 'REINDEX SCHEMA public', true, false],
    [{ relation: ['public.customers'] }, 'CREATE PUBLICATION p FOR ALL TABLES', true, false],
    [{ relation: ['public.customers'] }, 'CREATE PUBLICATION p FOR TABLES IN SCHEMA public', true, false],
    [{ relation: ['public.customers'] }, 'CREATE PUBLICATION p FOR TABLE customers', true, true],
  ]);
});

describe('functions', () => {
  const SCORE = { function: ['app.score'] };
  check([
    [SCORE, 'SELECT app.score(1)', true, true],
    [SCORE, 'SELECT app.score(id), lower(name) FROM customers', true, false],
    [SCORE, 'SELECT lower(name) FROM customers', false, false],
    [SCORE, 'SELECT name FROM customers', false, false],
    [{ function: ['app.*', 'pg_catalog.*'] }, 'SELECT app.score(id), lower(name) FROM customers', true, true],
    [{ function: ['billing.*'] }, 'SELECT app.score(1)', false, false],
  ]);

  it('what the server took a name or an operator for counts, too', () => {
    const [statement] = analysed('SELECT name FROM customers', SHOP).statements;
    if (statement === undefined) throw new Error('no statement');
    const meant = (decision: 'deny' | 'allow', call: string) =>
      matches(rule(decision, { function: ['billing.vat'] }), { ...statement, calls: [call] }, CONTEXT);
    expect(meant('deny', 'billing.vat(n integer) OID 20001 abc')).toBe(true);
    expect(meant('deny', '"billing".vat(n integer) OID 20001 abc')).toBe(true);
    expect(meant('deny', 'billing.other(n integer) OID 20001 abc')).toBe(false);
    expect(meant('deny', 'OID 20001')).toBe(true);
    expect(meant('allow', 'billing.vat(n integer) OID 20001 abc')).toBe(true);
    expect(meant('allow', 'OID 20001')).toBe(false);
  });

  it('a list of functions that is full may have lost one', () => {
    const [statement] = analysed('SELECT lower(name) FROM customers', SHOP).statements;
    const [lower] = statement?.functions ?? [];
    if (statement === undefined || lower === undefined) throw new Error('no function was seen');
    const full = Array.from({ length: MOST_DETAILS }, (_, i) => ({ ...lower, name: `f${i}` }));
    const meant = (decision: 'deny' | 'allow', functions: typeof full, glob: string) =>
      matches(rule(decision, { function: [glob] }), { ...statement, functions }, CONTEXT);
    expect(meant('deny', full, 'billing.vat')).toBe(true);
    expect(meant('deny', full.slice(1), 'billing.vat')).toBe(false);
    expect(meant('allow', full, 'pg_catalog.*')).toBe(false);
    expect(meant('allow', full.slice(1), 'pg_catalog.*')).toBe(true);
  });
});

describe('boundaries and commands', () => {
  check([
    [{ boundary: ['server_files'] }, "COPY customers TO '/tmp/x'", true, true],
    [{ boundary: ['program'] }, "COPY customers TO PROGRAM 'cat'", true, true],
    [{ boundary: ['program'] }, "COPY customers TO '/tmp/x'", false, false],
    [{ boundary: ['server_files', 'program', 'network'] }, 'SELECT 1', false, false],
    [{ command: ['drop *'], class: ['ddl'] }, 'DROP TABLE customers', true, true],
    [{ command: ['DROP TABLE'], class: ['ddl'] }, 'DROP VIEW v', false, false],
    [{ command: ['COPY TO'] }, 'COPY customers TO STDOUT', true, true],
    [{ command: ['DELETE'] }, 'EXPLAIN ANALYZE DELETE FROM customers', true, false],
    [{ command: ['EXPLAIN', 'DELETE'] }, 'EXPLAIN ANALYZE DELETE FROM customers', true, true],
    [{ command: ['DELETE'] }, 'EXPLAIN DELETE FROM customers', false, false],
    [
      { command: ['SELECT'] },
      'WITH d AS (DELETE FROM customers RETURNING id) SELECT count(*) FROM d',
      true,
      false,
    ],
    [
      { command: ['delete'] },
      'WITH d AS (DELETE FROM customers RETURNING id) SELECT count(*) FROM d',
      true,
      false,
    ],
    [{ command: ['UPDATE'] }, 'UPDATE customers SET name = 1 WHERE id = 1', true, true],
    [{ command: ['PREPARE'] }, 'PREPARE p AS DELETE FROM customers', true, false],
    [{ command: ['ALTER TABLE'] }, 'ALTER TABLE customers ADD COLUMN x int', true, false],
    [{ command: ['ALTER TABLE ADD COLUMN'] }, 'ALTER TABLE customers ADD COLUMN x int', true, true],
    [{ command: ['ALTER TABLE ADD *'] }, 'ALTER TABLE customers ADD x int, DROP COLUMN email', true, false],
    [{ command: ['ALTER * DROP COLUMN'] }, 'ALTER TABLE customers ADD x int, DROP COLUMN email', true, false],
    [
      { command: ['DELETE'] },
      'CREATE RULE r AS ON INSERT TO customers DO ALSO DELETE FROM orders',
      false,
      false,
    ],
  ]);
});

describe('sizes', () => {
  const above = (rows: number): RuleMatch => ({ rows: { above: rows } });
  it.each<readonly [RuleMatch, string, boolean]>([
    [above(199), 'SELECT * FROM countries', true],
    [above(200), 'SELECT * FROM countries', false],
    [above(10), 'SELECT * FROM customers WHERE id = 1', false],
    [above(10), 'SELECT * FROM customers LIMIT 10', false],
    [above(10), 'SELECT count(*) FROM customers', false],
    // A fold counts by what goes into it.
    [above(10), 'SELECT json_agg(c) FROM customers c', true],
    [above(10), 'SELECT string_agg(name, chr(10)) FROM countries', true],
    [above(10), 'DELETE FROM customers WHERE id = 1', false],
    [above(10), 'DELETE FROM countries', true],
    [above(2), 'INSERT INTO countries VALUES (1), (2)', false],
    [above(1), 'INSERT INTO countries VALUES (1), (2)', true],
    [above(10), 'WITH d AS (DELETE FROM customers RETURNING id) SELECT count(*) FROM d', true],
    [above(1_000_000), 'COPY customers TO STDOUT', true],
    [above(1_000_000), 'TRUNCATE countries', true],
    [above(1_000_000), 'SELECT * FROM unknown_table', true],
    [above(1_000_000), 'DO $$ BEGIN END $$', true],
    // Nobody read it, so its size is no reason: it is held for that.
    [above(1_000_000), 'SELEC 1', false],
    [above(0), 'SET work_mem = 100', false],
    [{ bytes: { above: 1_000_000 } }, 'SELECT 1', true],
    [{ bytes: { above: 1_000_000 } }, 'DELETE FROM customers WHERE id = 1', false],
  ])('%j denies %s: %s', (match, sql, expected) => {
    expect(matchesTo('deny', match, sql)).toBe(expected);
  });

  const most = (rows: number): RuleMatch => ({ rows: { atMost: rows } });
  it.each<readonly [RuleMatch, string, boolean]>([
    [most(200), 'SELECT * FROM countries', true],
    [most(199), 'SELECT * FROM countries', false],
    [most(50_000), 'SELECT json_agg(c) FROM customers c', true],
    [most(19_999), 'SELECT json_agg(c) FROM customers c', false],
    [most(1_000_000), 'SELECT * FROM unknown_table', false],
    [most(1_000_000), 'COPY customers TO STDOUT', false],
    [most(1_000_000), 'DROP TABLE customers', false],
    [{ bytes: { atMost: 1_000_000 } }, 'SELECT 1', false],
    [{ rows: { above: 1 } }, 'SELECT * FROM countries', false],
  ])('%j allows %s: %s', (match, sql, expected) => {
    expect(matchesTo('allow', match, sql)).toBe(expected);
  });

  it('by grammar alone nothing but a LIMIT is a size', () => {
    const allow = [rule('allow', { rows: { atMost: 10 } }), rule('deny', {})];
    expect(decided('SELECT * FROM countries', allow, {}, null).decision).toBe('deny');
    expect(decided('SELECT * FROM countries WHERE code = 1', allow, {}, null).decision).toBe('deny');
  });
});

describe('times', () => {
  /** 2026-03-29 is the Sunday on which Berlin's clocks go from 02:00 to 03:00. */
  const at = (text: string) => Date.parse(text) * 1000;
  it.each<readonly [TimeWindow, string, boolean]>([
    [{ hours: '08:00-18:00' }, '2026-03-25T08:00:00Z', true],
    [{ hours: '08:00-18:00' }, '2026-03-25T07:59:59Z', false],
    [{ hours: '08:00-18:00' }, '2026-03-25T18:00:00Z', false],
    [{ hours: '22:00-06:00' }, '2026-03-25T23:00:00Z', true],
    [{ hours: '22:00-06:00' }, '2026-03-25T05:59:00Z', true],
    [{ hours: '22:00-06:00' }, '2026-03-25T06:00:00Z', false],
    [{ hours: '00:00-24:00' }, '2026-03-25T00:00:00Z', true],
    [{ days: ['wed'] }, '2026-03-25T23:30:00Z', true],
    [{ days: ['wed'], zone: 'Europe/Berlin' }, '2026-03-25T23:30:00Z', false],
    [{ days: ['thu'], zone: 'Europe/Berlin' }, '2026-03-25T23:30:00Z', true],
    [{ hours: '08:00-09:00', zone: 'Europe/Berlin' }, '2026-03-28T07:30:00Z', true],
    [{ hours: '08:00-09:00', zone: 'Europe/Berlin' }, '2026-03-29T07:30:00Z', false],
    [{ hours: '08:00-09:00', zone: 'Europe/Berlin' }, '2026-03-29T06:30:00Z', true],
    [{ days: ['sat', 'sun'], hours: '10:00-12:00' }, '2026-03-29T11:00:00Z', true],
    [{ days: ['sat', 'sun'], hours: '10:00-12:00' }, '2026-03-30T11:00:00Z', false],
  ])('%j at %s: %s', (window, moment, expected) => {
    expect(isWithin(window, at(moment))).toBe(expected);
  });

  const time = [{ days: ['sat', 'sun'] as const }, { hours: '18:00-08:00' }];
  it('one of several is enough, and an unknown time holds but does not allow', () => {
    const hold = [rule('hold', { time })];
    expect(decided('SELECT 1', hold, { at: at('2026-03-25T12:00:00Z') }).decision).toBe('allow');
    expect(decided('SELECT 1', hold, { at: at('2026-03-25T19:00:00Z') }).decision).toBe('hold');
    expect(decided('SELECT 1', hold, { at: at('2026-03-29T12:00:00Z') }).decision).toBe('hold');
    expect(decided('SELECT 1', hold).decision).toBe('hold');
    const allow = [rule('allow', { class: ['ddl'], time })];
    expect(decided('DROP TABLE customers', allow, { at: at('2026-03-29T12:00:00Z') }).decision).toBe('allow');
    expect(decided('DROP TABLE customers', allow).decision).toBe('hold');
  });
});
