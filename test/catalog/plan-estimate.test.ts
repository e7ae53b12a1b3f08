import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { QuestionParameter } from '../../src/catalog/clarify.ts';
import { estimateOfPlan } from '../../src/catalog/plan-rows.ts';
import { openSideConnection, type SideConnection } from '../../src/catalog/side.ts';
import type { Estimate } from '../../src/statement/answers.ts';
import { createDatabase, superuser, type TestDatabase } from '../support/postgres.ts';

let database: TestDatabase;
let side: SideConnection;

beforeAll(async () => {
  database = await createDatabase('plan');
  await database.query(`
    CREATE TABLE customers (id integer PRIMARY KEY, country text, name text);
    INSERT INTO customers SELECT i, 'c' || i % 20, 'name ' || i FROM generate_series(1, 20000) i;
    CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer, total integer);
    INSERT INTO orders SELECT i, i % 20000, i % 100 FROM generate_series(1, 60000) i;
    CREATE INDEX ON orders (customer_id);
    CREATE SCHEMA other;
    CREATE TABLE other.customers (id integer);
    INSERT INTO other.customers VALUES (1), (2), (3);
    CREATE TABLE ran (at timestamptz);
    CREATE FUNCTION writes() RETURNS integer LANGUAGE plpgsql IMMUTABLE AS
      $$ BEGIN PERFORM nextval('calls'); INSERT INTO ran VALUES (now()); RETURN 1; END $$;
    CREATE SEQUENCE calls;
    CREATE FUNCTION some_rows() RETURNS SETOF customers LANGUAGE plpgsql STABLE AS
      $$ BEGIN RETURN QUERY SELECT * FROM customers; END $$;
    ANALYZE customers, orders, other.customers;`);
  side = openSideConnection({
    connect: async () => {
      const client = new pg.Client(superuser(database.name));
      await client.connect();
      return client;
    },
    limits: { probeMs: 10_000 },
  });
});
afterAll(async () => {
  await side?.close();
  await database?.drop();
});

function estimate(
  sql: string,
  parameters: readonly QuestionParameter[] | null = null,
  searchPath: readonly string[] = ['public'],
): Promise<Estimate | null> {
  return side.estimate(Buffer.from(sql), searchPath, parameters);
}

async function rows(sql: string, parameters: readonly QuestionParameter[] | null = null): Promise<number> {
  return (await estimate(sql, parameters))?.rows ?? Number.NaN;
}

async function folded(sql: string): Promise<number> {
  return (await estimate(sql))?.foldedRows ?? Number.NaN;
}

const text = (value: string | null, typeOid = 0): QuestionParameter => ({
  typeOid,
  format: 0,
  value: value === null ? null : Buffer.from(value),
});

describe('rows', () => {
  test('of a table, a condition, a key', async () => {
    expect(await rows('SELECT * FROM customers')).toBe(20_000);
    expect(await rows('TABLE customers')).toBe(20_000);
    expect(await rows("SELECT * FROM customers WHERE country = 'c3'")).toBeGreaterThan(500);
    expect(await rows("SELECT * FROM customers WHERE country = 'c3'")).toBeLessThan(2_000);
    expect(await rows('SELECT * FROM customers WHERE id = 5 -- and a comment')).toBe(1);
    expect(await rows('(WITH c AS (SELECT * FROM customers WHERE id < 50) SELECT * FROM c)')).toBeLessThan(
      100,
    );
  });

  test('names mean what the search_path says', async () => {
    expect((await estimate('SELECT * FROM customers', null, ['other']))?.rows).toBe(3);
    expect((await estimate('SELECT * FROM customers', null, ['public', 'other']))?.rows).toBe(20_000);
  });

  test('values of parameters count, in either format, with and without a declared type', async () => {
    const below = 'SELECT * FROM customers WHERE id < $1';
    expect(await rows(below, [text('50')])).toBeLessThan(100);
    expect(await rows(below, [text('50', 23)])).toBeLessThan(100);
    expect(await rows(below, [text('15000')])).toBeGreaterThan(10_000);
    const binary = Buffer.from([0, 0, 0, 50]);
    expect(await rows(below, [{ typeOid: 23, format: 1, value: binary }])).toBeLessThan(100);
    expect(await rows(below, [text(null)])).toBeLessThan(2);
    expect(await rows('SELECT * FROM customers WHERE id = $2 AND name = $1', [text('x'), text('7')])).toBe(1);
  });

  test('without values of parameters: what any would give', async () => {
    const keyed = await estimate('SELECT * FROM customers WHERE id = $1');
    const below = await estimate('SELECT * FROM customers WHERE id < $1');
    expect(keyed?.rows).toBe(1);
    expect(below?.rows).toBeGreaterThan(5_000);
    expect((await estimate('SELECT name FROM customers WHERE country = $2 AND id = $1'))?.rows).toBe(1);
    expect((await estimate("SELECT '$1' FROM customers"))?.rows).toBe(20_000);
    expect(await estimate('SELECT * FROM customers WHERE id = $1; SELECT 1')).toBeNull();
    expect(await estimate('SELECT * FROM nowhere WHERE id = $1')).toBeNull();
    expect(await estimate('SELECT writes() FROM customers WHERE id = $1')).toBeNull();
    expect(await estimate('EXECUTE countersign_estimate')).toBeNull();
  });

  test('WITH TIES limits nothing', async () => {
    expect(await rows('SELECT * FROM orders ORDER BY total FETCH FIRST 1 ROW WITH TIES')).toBe(60_000);
    const inner = '(SELECT * FROM orders ORDER BY total FETCH FIRST 1 ROW WITH TIES) t';
    expect(await estimate(`SELECT * FROM ${inner}, customers c WHERE c.id = t.customer_id`)).toBeNull();
    expect(await estimate(`SELECT json_agg(t) FROM ${inner}`)).toBeNull();
  });

  test('what the planner does not know is no estimate', async () => {
    expect(await estimate('SELECT * FROM some_rows()')).toBeNull();
    expect(await estimate('SELECT some_rows()')).toBeNull();
    expect(
      await estimate(
        'WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t, customers c WHERE c.id = n) SELECT n FROM t',
      ),
    ).toBeNull();
  });
});

describe('folds count what goes in', () => {
  test.each([
    ['SELECT json_agg(o) FROM orders o', 60_000],
    ['SELECT country, json_agg(name) FROM customers GROUP BY country', 20_000],
    ["SELECT upper(string_agg(name, ',')) FROM customers", 20_000],
    ['SELECT DISTINCT array_agg(id) OVER () FROM orders', 60_000],
    ['SELECT ARRAY(SELECT id FROM orders)', 60_000],
    [
      'SELECT c.id, o.all FROM customers c, LATERAL (SELECT json_agg(o) AS all FROM orders o) o WHERE c.id = 1',
      60_000,
    ],
  ])('%s', async (sql, least) => {
    expect(await folded(sql)).toBeGreaterThanOrEqual(least);
  });

  test.each([
    'SELECT count(*), sum(total), max(id), round(avg(total), 2) FROM orders',
    'SELECT country, count(*) FROM customers GROUP BY country HAVING count(*) > 3',
    'SELECT id, rank() OVER (ORDER BY total) FROM orders',
    'WITH o AS MATERIALIZED (SELECT * FROM orders) SELECT count(*) FROM o',
  ])('%s folds nothing', async (sql) => {
    expect(await folded(sql)).toBe(0);
  });

  test('small inputs stay small, as often as they are folded', async () => {
    expect(await folded('SELECT json_agg(o) FROM orders o WHERE customer_id = 5')).toBeLessThan(20);
    const each = (most: number) =>
      folded(
        `SELECT c.id, (SELECT json_agg(o) FROM orders o WHERE o.customer_id = c.id) FROM customers c WHERE c.id < ${most}`,
      );
    expect(await each(20)).toBeLessThan(200);
    expect(await each(10_000)).toBeGreaterThan(10_000);
  });
});

describe('asking', () => {
  test('what planning runs is rolled back, and cannot write', async () => {
    expect(await estimate('SELECT writes()')).toBeNull();
    expect((await database.query('SELECT count(*)::int AS n FROM ran')).rows).toEqual([{ n: 0 }]);
    expect((await database.query('SELECT is_called FROM calls')).rows).toEqual([{ is_called: false }]);
  });

  test.each([
    'SELECT 1; DROP TABLE customers',
    'SELECT * FROM nowhere',
    'SELECT 1 / 0 FROM',
    'DROP TABLE customers',
    '',
    'ANALYZE customers',
  ])('the server objects: %s', async (sql) => {
    expect(await estimate(sql)).toBeNull();
    expect(await rows('SELECT * FROM customers')).toBe(20_000);
  });

  test('probes and estimates share the connection, each with its own names', async () => {
    const [first, accepted, second, rejected] = await Promise.all([
      estimate('SELECT * FROM customers', null, ['other']),
      side.probe('SELECT name FROM customers', ['public']),
      estimate('SELECT * FROM customers'),
      side.probe('SELECT name FROM customers', ['other']),
    ]);
    expect([first?.rows, second?.rows]).toEqual([3, 20_000]);
    expect(accepted).toBeNull();
    expect(rejected?.code).toBe('42703');
  });

  test('a number of parameters that does not fit is no estimate', async () => {
    expect(await estimate('SELECT * FROM customers WHERE id = $1', [])).toBeNull();
    expect(await estimate('SELECT * FROM customers', [text('1')])).toBeNull();
    expect(await estimate('SELECT * FROM customers WHERE id = $1', [text('no number')])).toBeNull();
  });
});

describe('plans of an unknown form', () => {
  test.each([
    [null],
    [[]],
    [[{ Plan: null }]],
    [[{ Plan: { 'Node Type': 'Seq Scan' } }]],
    [[{ Plan: { 'Node Type': 'Seq Scan', 'Plan Rows': '5' } }]],
    [[{ Plan: { 'Node Type': 'ModifyTable', 'Plan Rows': 0 } }]],
    [
      [
        {
          Plan: {
            'Node Type': 'Append',
            'Plan Rows': 5,
            Plans: [{ 'Node Type': 'Foreign Scan', 'Plan Rows': 5 }],
          },
        },
      ],
    ],
    [[{ Plan: { 'Node Type': 'Append', 'Plan Rows': 5, Plans: ['?'] } }]],
  ])('%j', (plan) => {
    expect(estimateOfPlan(plan)).toBeNull();
  });

  test('a call that nobody knows folds', () => {
    const plan = (output: string) => [
      {
        Plan: {
          'Node Type': 'Aggregate',
          'Plan Rows': 1,
          Output: [output],
          Plans: [{ 'Node Type': 'Seq Scan', 'Plan Rows': 77, 'Parent Relationship': 'Outer' }],
        },
      },
    ];
    expect(estimateOfPlan(plan('app.my_agg(x)'))).toEqual({ rows: 1, foldedRows: 77 });
    expect(estimateOfPlan(plan('"count"(x)'))).toEqual({ rows: 1, foldedRows: 77 });
    expect(estimateOfPlan(plan('JSON_ARRAYAGG(x)'))).toEqual({ rows: 1, foldedRows: 77 });
    expect(estimateOfPlan(plan('COALESCE(sum(x), (0)::bigint)'))).toEqual({ rows: 1, foldedRows: 0 });
  });
});
