import { describe, expect, it } from 'vitest';
import { budgetsOf, needOf, readsAnything } from '../../src/budget/budget.ts';
import type { BudgetRule } from '../../src/config/config.ts';
import { analysed } from '../statement/support.ts';

const MOST = { rows: 1_000, bytes: 1_048_576 };

function need(sql: string) {
  const [statement] = analysed(sql).statements;
  if (statement === undefined) throw new Error(`no statement in ${sql}`);
  return needOf(statement, MOST);
}

describe('what counts', () => {
  it.each([
    ['SELECT * FROM customers WHERE id = 1 LIMIT 7', 7],
    ['SELECT * FROM customers', 1_000],
    ['SELECT count(*) FROM customers', 1],
    ['SELECT 1 UNION SELECT id FROM customers LIMIT 2', 2],
    ['INSERT INTO customers (id) VALUES (1), (2) RETURNING *', 2],
    ['COPY customers TO STDOUT', 1_000],
    ['COPY (SELECT 1) TO STDOUT', 1_000],
    ['FETCH 10 FROM c', 10],
    ['EXECUTE unknown', 1_000],
    ['SELECT lo_get(1)', 1],
    ['SELECT my_function()', 1],
    ['SELECT most_common_vals FROM pg_stats LIMIT 3', 3],
    // What no row brought back can lie in a setting, a sequence or a lock.
    ["SELECT set_config('my.x', email, false) FROM customers WHERE id = 1 LIMIT 1", 1],
    ["SELECT current_setting('my.x')", 1],
    ["SELECT current_setting('my' || '.' || $1)", 1],
    ["SELECT current_setting('server_version'), current_setting($1)", 1],
    ["SELECT current_setting('application_name')", 1],
    ["SELECT currval('s')", 1],
    ['SELECT objid FROM pg_locks LIMIT 4', 4],
    ["SELECT 'a' OPERATOR(public.+) 'b'", 1],
  ])('%s', (sql, rows) => {
    expect(need(sql)).toMatchObject({ rows });
  });

  it.each([
    'INSERT INTO customers (id) VALUES (1)',
    'UPDATE customers SET name = name WHERE id = 1',
    'DECLARE c CURSOR FOR SELECT * FROM customers',
    'EXPLAIN SELECT * FROM customers',
    'DROP TABLE customers',
  ])('%s: the text of its errors alone', (sql) => {
    expect(need(sql)).toEqual({ rows: 0, bytes: 256 });
  });

  it.each([
    'SELECT 1',
    'SELECT now(), version(), current_user',
    'SELECT g FROM generate_series(1, 1000) g',
    'SELECT relname FROM pg_class',
    'SELECT table_name FROM information_schema.tables',
    'VALUES (1), (2)',
    'SHOW ALL',
    'SHOW server_version',
    "SELECT current_setting('server_version')",
    'BEGIN',
    'LISTEN x',
    "SET application_name = 'x'",
  ])('%s does not', (sql) => {
    expect(need(sql)).toBeNull();
  });

  it('SHOW of what holds any text: bytes alone', () => {
    expect(need('SHOW my.x')).toEqual({ rows: 0, bytes: 256 });
  });

  it('bytes are expected by rows, and never more than a statement may have', () => {
    expect(need('SELECT * FROM customers LIMIT 10')).toEqual({ rows: 10, bytes: 2_560 });
    const [statement] = analysed('SELECT * FROM customers').statements;
    expect(statement && needOf(statement, { rows: 1_000, bytes: 500 })).toEqual({ rows: 1_000, bytes: 500 });
  });

  it('what nobody understands counts against every tag', () => {
    const [unknown] = analysed('SELECT my_function()').statements;
    const [read] = analysed('SELECT * FROM customers').statements;
    expect(unknown && readsAnything(unknown)).toBe(true);
    expect(read && readsAnything(read)).toBe(false);
  });
});

describe('the budgets of an agent', () => {
  const limits = { budgetRows: 10, budgetBytes: 20, budgetWindowMs: 30 };
  const rule = (name: string, more: Partial<BudgetRule> = {}): BudgetRule => ({
    name,
    agents: null,
    tag: null,
    rows: 1,
    bytes: null,
    windowMs: 1,
    ...more,
  });
  const names = (...rules: BudgetRule[]) => budgetsOf('reporter', rules, limits).map(({ name }) => name);

  it('are the default without any', () => {
    expect(budgetsOf('reporter', [], limits)).toEqual([
      { name: 'default', tag: null, rows: 10, bytes: 20, windowMs: 30 },
    ]);
  });

  it('keep the default beside those of tags and of others', () => {
    const tagged = rule('pii', { tag: 'pii' });
    expect(names(tagged, rule('other', { agents: ['support-*'] }))).toEqual(['default', 'pii']);
  });

  it('are all that match; one without a tag takes the place of the default', () => {
    expect(
      names(rule('hourly', { agents: ['report*'] }), rule('daily'), rule('pii', { tag: 'pii' })),
    ).toEqual(['hourly', 'daily', 'pii']);
  });
});
