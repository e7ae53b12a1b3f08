import { describe, expect, it } from 'vitest';
import type { StatementAnalysis } from '../../src/statement/analysis.ts';
import { analysed, catalogOf, PUBLIC } from './support.ts';

const TABLES = {
  customers: { columns: ['id', 'email', 'name'] },
  orders: { columns: ['id', 'customer_id', 'total'] },
  remote: { kind: 'foreign', columns: ['id'] },
} as const;
const CATALOG = catalogOf({
  tables: TABLES,
  functions: {
    'public.safe': { volatility: 'stable', securityDefiner: false, effects: [] },
    'public.owner_runs': { volatility: 'immutable', securityDefiner: true, effects: [] },
    'public.upper': { volatility: 'volatile', securityDefiner: false, effects: [] },
    'net.http_post': {},
  },
  operators: ['public.%%'],
  types: { 'public.mood': [] },
});

function last(sql: string, catalog: typeof CATALOG | null = CATALOG): StatementAnalysis {
  const found = analysed(sql, catalog).statements.at(-1);
  if (found === undefined) throw new Error('no statement');
  return found;
}

/** `customers r:id,email w:name`; `?` where it is not known. */
function uses(sql: string, catalog: typeof CATALOG | null = CATALOG): string {
  const shown = (columns: readonly string[] | null | undefined) =>
    columns == null ? '?' : columns.join(',');
  return last(sql, catalog)
    .relations.map(({ name, columns }) => `${name} r:${shown(columns?.read)} w:${shown(columns?.written)}`)
    .join('; ');
}

describe('columns', () => {
  it.each([
    ['SELECT email FROM customers', 'customers r:email w:'],
    ['SELECT * FROM customers', 'customers r:id,email,name w:'],
    ['SELECT c.* FROM customers c, orders o WHERE o.id = 1', 'customers r:id,email,name w:; orders r:id w:'],
    ['SELECT c FROM customers c', 'customers r:id,email,name w:'],
    ['SELECT count(*) FROM customers', 'customers r: w:'],
    ['SELECT max(total) FROM orders', 'orders r:total w:'],
    [
      'SELECT name, total FROM customers c JOIN orders o ON customer_id = c.id',
      'customers r:id,name w:; orders r:customer_id,total w:',
    ],
    ['SELECT total FROM orders JOIN customers USING (id)', 'orders r:id,total w:; customers r:id w:'],
    ['SELECT total FROM orders NATURAL JOIN customers', 'orders r:id,total w:; customers r:id w:'],
    ['SELECT x FROM customers c(x, y, z)', 'customers r:id,email,name w:'],
    ['SELECT j.email FROM (customers JOIN orders ON true) j', 'customers r:? w:; orders r:? w:'],
    [
      'SELECT total FROM orders o WHERE EXISTS (SELECT FROM customers WHERE id = customer_id)',
      'orders r:total,customer_id w:; customers r:id w:',
    ],
    ['WITH x AS (SELECT email FROM customers) SELECT * FROM x', 'customers r:email w:'],
    [
      'SELECT (SELECT email FROM customers WHERE id = o.customer_id) FROM orders o',
      'orders r:customer_id w:; customers r:email,id w:',
    ],
    ['INSERT INTO customers (id, email) VALUES (1, $1)', 'customers r: w:id,email'],
    ['INSERT INTO customers VALUES (1)', 'customers r: w:id,email,name'],
    [
      'INSERT INTO customers (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET email = excluded.email',
      'customers r: w:id,email',
    ],
    ['UPDATE customers SET name = $1 WHERE email = $2 RETURNING id', 'customers r:email,id w:name'],
    ['UPDATE customers SET (name, email) = (SELECT 1, 2)', 'customers r: w:name,email'],
    ['UPDATE customers SET name = $1 RETURNING old.email', 'customers r:email w:name'],
    ['DELETE FROM orders WHERE total = 0', 'orders r:total w:id,customer_id,total'],
    [
      'MERGE INTO customers c USING orders o ON o.id = c.id WHEN MATCHED THEN UPDATE SET email = $1',
      'customers r:id w:; orders r:id w:; customers r: w:email',
    ],
    ['COPY customers (email) TO STDOUT', 'customers r:email w:'],
    ['COPY customers FROM STDIN', 'customers r: w:id,email,name'],
    ['TRUNCATE orders', 'orders r: w:id,customer_id,total'],
    ['ALTER TABLE orders ADD COLUMN x int', 'orders r:? w:?'],
    ['EXPLAIN ANALYZE UPDATE customers SET email = $1 WHERE id = 1', 'customers r:id w:email'],
  ])('%s: %s', (sql, expected) => {
    expect(uses(sql)).toBe(expected);
  });

  it('without a catalog a bare name stands at each relation that could have it, and a star is not known', () => {
    expect(uses('SELECT email FROM customers, orders', null)).toBe('customers r:email w:; orders r:email w:');
    expect(uses('SELECT * FROM customers', null)).toBe('customers r:? w:');
    expect(uses('INSERT INTO customers VALUES (1)', null)).toBe('customers r: w:?');
  });

  it('are not known where the relation is not', () => {
    const both = catalogOf({ tables: { customers: {}, other: { schema: 'b' } } });
    const found = analysed('SELECT id FROM customers', both, { searchPath: null, tempPossible: false });
    expect(found.statements[0]?.relations[0]?.columns).toEqual({ read: ['id'], written: [] });
    const twice = {
      ...both,
      relationsNamed: () => [...both.relationsNamed('customers'), ...both.relationsNamed('other')],
    };
    const open = analysed('SELECT id FROM customers', twice, { searchPath: null, tempPossible: false });
    expect(open.statements[0]?.relations.map(({ columns }) => columns)).toEqual([
      { read: null, written: null },
      { read: null, written: null },
    ]);
  });
});

describe('functions', () => {
  const named = (sql: string) =>
    last(sql).functions.map((f) => [f.schema, f.name, f.builtin, f.oid, f.volatility, f.securityDefiner]);

  it.each<[string, unknown[][]]>([
    ['SELECT now()', [['pg_catalog', 'now', true, null, 'stable', false]]],
    ['SELECT random()', [['pg_catalog', 'random', true, null, 'volatile', false]]],
    ['SELECT safe()', [['public', 'safe', false, 20_000, 'stable', false]]],
    [
      'SELECT max(owner_runs()) FROM orders',
      [
        ['public', 'owner_runs', false, 20_000, 'immutable', true],
        ['pg_catalog', 'max', true, null, 'immutable', false],
      ],
    ],
    ['SELECT upper(name) FROM customers', [[null, 'upper', false, null, 'volatile', false]]],
    ['SELECT nobody.knows()', [['nobody', 'knows', false, null, null, null]]],
    ['CALL safe()', [['public', 'safe', false, 20_000, 'stable', false]]],
    ['SELECT safe(), safe()', [['public', 'safe', false, 20_000, 'stable', false]]],
    ['SELECT * FROM safe()', [['public', 'safe', false, 20_000, 'stable', false]]],
    [
      'SELECT 1 FROM orders WHERE total = safe() ORDER BY now()',
      [
        ['public', 'safe', false, 20_000, 'stable', false],
        ['pg_catalog', 'now', true, null, 'stable', false],
      ],
    ],
    ['SELECT int4(1)', [['pg_catalog', 'int4', true, null, 'immutable', false]]],
  ])('%s', (sql, expected) => {
    expect(named(sql)).toEqual(expected);
  });
});

describe('operators, types and casts that are not built in', () => {
  it.each<[string, Partial<StatementAnalysis>]>([
    ['SELECT 1 + 1::int4', { operators: [], types: [], casts: [] }],
    ['SELECT 1 %% 2', { operators: ['%%'] }],
    ['SELECT 1 OPERATOR(public.%%) 2', { operators: ['public.%%'] }],
    ["SELECT 'x'::mood", { types: ['mood'], casts: ['to mood'] }],
    ["SELECT 'x'::public.mood", { types: ['public.mood'], casts: ['to public.mood'] }],
    ['CREATE TABLE t (m mood)', { types: ['mood'], casts: [] }],
  ])('%s', (sql, expected) => {
    expect(last(sql)).toMatchObject(expected);
  });
});

describe('settings', () => {
  it.each<[string, unknown[]]>([
    ["SET work_mem = '4MB'", [{ name: 'work_mem', value: '4MB', action: 'set' }]],
    ['SET search_path = a, b', [{ name: 'search_path', value: 'a, b', action: 'set' }]],
    ["SET TIME ZONE INTERVAL '1' HOUR", [{ name: 'timezone', value: '1', action: 'set' }]],
    ['RESET Work_Mem', [{ name: 'work_mem', value: null, action: 'reset' }]],
    ['SET work_mem TO DEFAULT', [{ name: 'work_mem', value: null, action: 'reset' }]],
    ['RESET ALL', [{ name: 'all', value: null, action: 'reset' }]],
    ['SHOW work_mem', [{ name: 'work_mem', value: null, action: 'show' }]],
    ["SELECT current_setting('work_mem')", [{ name: 'work_mem', value: null, action: 'show' }]],
    ["SELECT set_config('Work_Mem', '4MB', false)", [{ name: 'work_mem', value: '4MB', action: 'set' }]],
    [
      "SELECT set_config('work_mem', name, false) FROM customers",
      [{ name: 'work_mem', value: null, action: 'set' }],
    ],
    ["ALTER ROLE a SET work_mem = '4MB'", [{ name: 'work_mem', value: '4MB', action: 'set' }]],
    ['ALTER DATABASE d RESET work_mem', [{ name: 'work_mem', value: null, action: 'reset' }]],
    [
      "ALTER SYSTEM SET primary_conninfo = 'password=x'",
      [{ name: 'primary_conninfo', value: null, action: 'set' }],
    ],
    ['SET TRANSACTION READ ONLY', [{ name: 'transaction_read_only', value: '1', action: 'set' }]],
    ['SELECT 1', []],
  ])('%s', (sql, expected) => {
    expect(last(sql).settings).toEqual(expected);
  });
});

describe('roles', () => {
  it.each<[string, string[]]>([
    ['SET ROLE boss', ['boss']],
    ['SET SESSION AUTHORIZATION boss', ['boss']],
    ["SELECT set_config('role', 'boss', true)", ['boss']],
    ['GRANT a, b TO c, PUBLIC', ['c', 'public', 'a', 'b']],
    ['GRANT SELECT ON orders TO a', ['a']],
    ['CREATE ROLE a IN ROLE b', ['b', 'a']],
    ['ALTER ROLE a SUPERUSER', ['a']],
    ['DROP ROLE a, b', ['a', 'b']],
    ['ALTER ROLE a RENAME TO b', ['a', 'b']],
    ['ALTER TABLE orders OWNER TO a', ['a']],
    ['REASSIGN OWNED BY a TO CURRENT_USER', ['a', 'current_user']],
    ['RESET ROLE', []],
  ])('%s: %j', (sql, expected) => {
    expect(last(sql).roles).toEqual(expected);
  });
});

describe('boundaries', () => {
  it.each<[string, string[]]>([
    ['SELECT * FROM orders', []],
    ['SET ROLE boss', ['role']],
    ['RESET ROLE', ['role']],
    ['SHOW role', []],
    ['SELECT owner_runs()', ['role']],
    ['CREATE DATABASE d', ['database']],
    ['ALTER DATABASE d SET work_mem = 1', ['database']],
    ["SELECT pg_read_file('/etc/passwd')", ['server_files']],
    ["CREATE VIEW v AS SELECT pg_read_file('/etc/passwd')", []],
    ["COPY orders TO '/tmp/x'", ['server_files']],
    ["COPY orders TO PROGRAM 'cat'", ['program']],
    ['COPY orders TO STDOUT', []],
    ["LOAD 'x'", ['server_files']],
    ["ALTER SYSTEM SET work_mem = '4MB'", ['server_files']],
    ["CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'x'", ['server_files']],
    ["SELECT dblink_exec('c', 'DELETE')", ['another_server']],
    ['SELECT * FROM remote', ['another_server']],
    ["CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p", ['another_server']],
    ['IMPORT FOREIGN SCHEMA a FROM SERVER s INTO b', ['another_server']],
    ["SELECT net.http_post('x')", ['network']],
    ['SELECT * FROM pg_hba_file_rules', ['server_files']],
  ])('%s: %j', (sql, expected) => {
    const systems = catalogOf({
      tables: { ...TABLES, pg_hba_file_rules: { schema: 'pg_catalog', kind: 'view' } },
      functions: { 'public.owner_runs': { securityDefiner: true, effects: [] } },
    });
    expect(analysed(sql, systems).statements[0]?.boundary).toEqual(expected);
  });
});

describe('what bounds the rows', () => {
  it.each<[string, number | null, string | null]>([
    ['SELECT * FROM orders', 100_000, 'table size'],
    ['SELECT * FROM orders LIMIT 10', 10, 'limit'],
    ['SELECT * FROM orders WHERE id = 1', 1, 'unique key'],
    ['SELECT * FROM orders WHERE id = 1 LIMIT 10', 1, 'unique key'],
    ['SELECT count(*) FROM orders', 1, 'aggregate'],
    ['SELECT 1', 1, 'values'],
    ['VALUES (1), (2)', 2, 'values'],
    ['SELECT * FROM orders WHERE false', 0, 'condition'],
    ['SELECT * FROM (SELECT * FROM orders LIMIT 3) x', 3, 'limit'],
    ['SELECT * FROM generate_series(1, 4)', 4, 'values'],
    ['UPDATE orders SET total = 1 WHERE id = 1 RETURNING *', 1, 'unique key'],
    ['FETCH 5 FROM c', 5, 'fetch'],
    ['SELECT generate_series(1, total) FROM orders', null, 'nothing'],
    ['DROP TABLE orders', null, null],
  ])('%s: %s by %s', (sql, rowBound, rowBoundBy) => {
    expect(last(sql)).toMatchObject({ rowBound, rowBoundBy });
  });
});

describe('the cause', () => {
  const cause = (sql: string) => {
    const found = last(sql).cause;
    return found === null
      ? null
      : [found.position, Buffer.from(sql).subarray(found.start, found.end).toString()];
  };

  it.each<[string, unknown]>([
    ['SELECT 1', null],
    ['SELECT * FROM orders LIMIT 1', null],
    ['SELECT * FROM orders', [15, 'orders']],
    ['SELECT * FROM public."orders"', [15, 'public."orders"']],
    ["SELECT 1, pg_read_file('x') FROM orders", [11, 'pg_read_file']],
    ["SELECT 'é', pg_read_file('x')", [13, 'pg_read_file']],
    ['SELECT 1 %% 2', [10, '%%']],
    ['SELECT a FROM nowhere.table_x', [15, 'nowhere.table_x']],
    [' /* ; */ DROP TABLE orders ; ', [10, 'DROP TABLE orders']],
    ['SELECT 1; -- é\n DELETE FROM orders', [17, 'DELETE FROM orders']],
    ['EXPLAIN ANALYZE SELECT pg_reload_conf()', [24, 'pg_reload_conf']],
    ['PREPARE p AS SELECT pg_reload_conf()', [21, 'pg_reload_conf']],
  ])('of %s: %j', (sql, expected) => {
    expect(cause(sql)).toEqual(expected);
  });

  it('is not shown in another text than its own', () => {
    expect(analysed('EXECUTE p', CATALOG, PUBLIC).statements[0]?.cause).toMatchObject({ position: 1 });
  });
});
