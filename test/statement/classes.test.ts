import { describe, expect, it } from 'vitest';
import { analyse } from '../../src/statement/analyse.ts';
import { BUILTIN_OPERATOR_NAMES, builtinFunction } from '../../src/statement/builtins.ts';
import { FIXED, TAGS } from '../../src/statement/commands.ts';
import { SHAPES } from '../../src/statement/grammar.ts';
import type { Tree } from '../../src/statement/tree.ts';
import { analysed, catalogOf, classOf, PUBLIC } from './support.ts';

const LIMITS = { exportRows: 1_000, bulkWriteRows: 1_000, catalogRows: 100_000 };

function classOfTree(node: Tree): string {
  const sql = Buffer.from('SELECT 1');
  return analyse({ kind: 'tree', sql, statements: [{ node, start: 0, end: 8 }] }, null, PUBLIC, LIMITS).class;
}

const column = (extra: object = {}) => ({ ColumnRef: { fields: [{ String: { sval: 'a' } }], ...extra } });
const select = (target: unknown, extra: object = {}) => ({
  SelectStmt: {
    targetList: [{ ResTarget: { val: target } }],
    op: 'SETOP_NONE',
    limitOption: 'LIMIT_OPTION_DEFAULT',
    ...extra,
  },
});

describe('what the grammar may bring in later is unparsed', () => {
  it('knows the tree that it is shown here', () => {
    expect(classOfTree(select(column()))).toBe('read');
  });

  it.each([
    ['a statement', { ShinyStmt: {} }],
    ['an expression', select({ ShinyExpr: { arg: column() } })],
    ['an option of a query', select(column(), { shiny: true })],
    ['an option of an expression', select(column({ shiny: 1 }))],
    [
      'an option of an expression that is only walked through',
      select({ CoalesceExpr: { args: [], shiny: 1 } }),
    ],
    ['a kind of set operation', select(column(), { op: 'SETOP_SHINY' })],
    ['a kind of operator', select({ A_Expr: { kind: 'AEXPR_SHINY', name: [], lexpr: column() } })],
    ['a FROM item', select(column(), { fromClause: [{ ShinyRange: {} }] })],
    [
      'a sub-query that is no SELECT',
      select({ SubLink: { subLinkType: 'EXPR_SUBLINK', subselect: { CallStmt: {} } } }),
    ],
    ['a transaction command', { TransactionStmt: { kind: 'TRANS_STMT_SHINY' } }],
    ['something that is no node', select(column(), { fromClause: { length: 1 } })],
    [
      'an EXPLAIN option',
      { ExplainStmt: { query: select(column()), options: [{ DefElem: { defname: 'shiny' } }] } },
    ],
    [
      'a MERGE action',
      {
        MergeStmt: {
          relation: { relname: 't' },
          sourceRelation: { RangeVar: { relname: 's' } },
          joinCondition: column(),
          mergeWhenClauses: [{ MergeWhenClause: { commandType: 'CMD_SHINY' } }],
        },
      },
    ],
    ['a part of a definition', { CreateStmt: { relation: { relname: 't' }, tableElts: [{ ShinyDef: {} }] } }],
  ])('%s', (_name, node) => {
    expect(classOfTree(node as unknown as Tree)).toBe('unparsed');
  });

  it('every statement that the grammar knows is judged by a list, or named here', () => {
    const statements = [...SHAPES.keys()].filter((type) => type.endsWith('Stmt'));
    const unjudged = statements.filter((type) => !(type in FIXED) && !(type in TAGS));
    // Only inside of others: function bodies, ALTER TABLE, column definitions.
    expect(unjudged.sort()).toEqual(['ReplicaIdentityStmt', 'ReturnStmt']);
  });
});

describe('the reviewed list of built-in functions', () => {
  it('knows operators', () => {
    expect(BUILTIN_OPERATOR_NAMES.has('=')).toBe(true);
  });

  it.each([
    ['now', null],
    ['pg_read_file', 'admin'],
    ['nextval', 'write'],
    ['table_to_xml', 'export'],
    ['ts_stat', 'opaque'],
    ['pg_reload_conf', 'admin'],
    ['lo_unlink', 'opaque'],
  ])('%s', (name, expected) => {
    expect(builtinFunction(name)?.effect?.class ?? null).toBe(expected);
  });
});

describe('each class', () => {
  it.each([
    ['session', 'BEGIN; COMMIT'],
    ['session', 'SET search_path = a, b'],
    ['session', 'DISCARD ALL'],
    ['read', 'SELECT * FROM t WHERE id = 1'],
    ['read', 'SELECT pg_sleep(1)'],
    ['opaque', 'SELECT pg_sleep(100000)'],
    ['read', 'LOCK TABLE t IN ACCESS SHARE MODE'],
    ['write', 'LOCK TABLE t'],
    ['write', 'ANALYZE t'],
    ['write', 'COPY t FROM STDIN'],
    ['write', 'INSERT INTO t SELECT * FROM s'],
    ['write', 'UPDATE t SET a = 1 WHERE b = 2'],
    ['write', 'MERGE INTO t USING (VALUES (1)) s(id) ON t.id = s.id WHEN MATCHED THEN UPDATE SET a = 1'],
    ['bulk_write', 'DELETE FROM t'],
    ['bulk_write', 'TRUNCATE t'],
    ['export', 'COPY t TO STDOUT'],
    ['export', 'DECLARE c CURSOR WITH HOLD FOR SELECT 1'],
    ['ddl', 'CREATE TABLE t (a int DEFAULT pg_backend_pid())'],
    ['ddl', 'SELECT 1 INTO t'],
    ['privilege', 'GRANT SELECT ON t TO r'],
    ['privilege', 'ALTER TABLE t ADD COLUMN x int, OWNER TO r'],
    ['privilege', 'CREATE SCHEMA s CREATE TABLE t (a int) GRANT SELECT ON t TO PUBLIC'],
    ['privilege', 'ALTER POLICY p ON t RENAME TO q'],
    ['privilege', 'WITH x AS (TABLE pg_shadow) SELECT count(*) FROM x'],
    ['opaque', 'DO $$ BEGIN END $$'],
    ['opaque', 'SELECT nobody_knows(1)'],
    ['admin', 'ALTER SYSTEM SET work_mem = 1'],
    ['admin', 'SET shared_preload_libraries = 1'],
    ['admin', 'CREATE TABLE t AS SELECT pg_ls_dir($$.$$)'],
    ['unparsed', 'SELEC 1'],
  ])('%s: %s', (expected, sql) => {
    expect(classOf(sql)).toBe(expected);
  });
});

describe('WHERE that restricts nothing', () => {
  it.each([
    'true',
    '1 = 1',
    "'t'::bool",
    'NOT false',
    'id = 5 OR true',
    'id = id',
    'id IS NOT DISTINCT FROM id',
    'id IS NULL OR id IS NOT NULL',
    'id = 5 OR id <> 5',
    'id < 5 OR id >= 5',
    'NOT (a) OR a',
    "name LIKE '%'",
    "name ~ ''",
    'EXISTS (SELECT 1)',
    'EXISTS (SELECT 1 FROM s WHERE s.id = s.id)',
    'now() > $$2020-01-01$$',
    'random() < 2',
    '1 IN (1, 2)',
    '1 BETWEEN 0 AND 2',
    'NULL IS NULL',
    'coalesce(true, id = 1)',
    '$1',
    'length($$a$$) = 1',
  ])('DELETE … WHERE %s', (where) => {
    expect(classOf(`DELETE FROM t WHERE ${where}`)).toBe('bulk_write');
    expect(classOf(`UPDATE t SET a = 1 WHERE ${where}`)).toBe('bulk_write');
  });

  it.each([
    'id = 5',
    'id = $1',
    'active',
    'NOT active',
    'false',
    '1 = 0',
    'NULL',
    'id = 5 AND true',
    'id = 5 OR false',
    "name LIKE 'a%'",
    'EXISTS (SELECT 1 FROM s WHERE s.id = t.id)',
    'id IN (SELECT id FROM s WHERE a = 1)',
    '(id, a) = (1, 2)',
    'CURRENT OF c',
  ])('but not WHERE %s', (where) => {
    expect(classOf(`DELETE FROM t WHERE ${where}`)).toBe('write');
  });
});

describe('settings', () => {
  it.each([
    ['SET client_encoding = BIG5', true],
    ["SET NAMES 'latin1'", true],
    ['SET standard_conforming_strings = off', true],
    ["SELECT set_config('client_encoding', 'SJIS', false)", true],
    ["SELECT set_config('standard_conforming_strings', x, false) FROM (VALUES ('on')) v(x)", true],
    ["PREPARE p AS SELECT set_config('client_encoding', 'SJIS', false)", true],
    ["SET client_encoding = 'utf-8'", false],
    ['SET NAMES UTF8', false],
    ['SET standard_conforming_strings = true', false],
    ['RESET client_encoding', false],
  ])('%s: changes a pinned one: %s', (sql, expected) => {
    expect(analysed(sql).changesPinned).toBe(expected);
  });

  it.each([
    ["SELECT set_config('role', 'x', true)", 'privilege'],
    ["SELECT set_config('ro' || 'le', 'x', true)", 'opaque'],
    ["SELECT set_config('app.user', 'x', true)", 'read'],
    ["SELECT set_config('plperl.on_init', 'x', true)", 'admin'],
    [
      "SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'",
      'read',
    ],
    ["SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'role'", 'privilege'],
    ["SELECT set_config(name, 'x', false) FROM pg_settings WHERE name = 'timezone' OR true", 'opaque'],
    ['SET search_path = x', 'session'],
    ['SET session_replication_role = replica', 'privilege'],
    ['RESET ALL', 'session'],
  ])('%s', (sql, expected) => {
    expect(classOf(sql)).toBe(expected);
  });

  it('a name that a parameter gives is judged by its value', () => {
    const sql = 'SELECT set_config($1, $2, false)';
    expect(analysed(sql).statements[0]?.dependsOnParameters).toEqual([1, 2]);
    expect(analysed(sql).class).toBe('opaque');
    expect(analysed(sql, null, PUBLIC, ['app.x', '1']).class).toBe('read');
    expect(analysed(sql, null, PUBLIC, ['role', 'postgres']).class).toBe('privilege');
    expect(analysed(sql, null, PUBLIC, ['client_encoding', 'BIG5']).changesPinned).toBe(true);
  });
});

describe('several statements', () => {
  it('take the highest class, and keep their own', () => {
    const analysis = analysed('SELECT 1; DROP TABLE t; BEGIN');
    expect(analysis.class).toBe('ddl');
    expect(analysis.statements.map((s) => [s.class, s.command, s.start, s.end])).toEqual([
      ['read', 'SELECT', 0, 8],
      ['ddl', 'DROP TABLE', 10, 22],
      ['session', 'BEGIN', 24, 29],
    ]);
  });

  it('positions are bytes, also behind multi-byte characters', () => {
    const sql = "SELECT 'ééé'; ALTER ROLE r PASSWORD 'päss'";
    const [, role] = analysed(sql).statements;
    expect(Buffer.from(sql).toString('utf8', role?.start, role?.end).trim()).toBe(
      "ALTER ROLE r PASSWORD 'päss'",
    );
    expect(role?.secrets.map(([from, to]) => Buffer.from(sql).toString('utf8', from, to))).toEqual([
      "'päss'",
    ]);
  });

  it('an empty string is a session matter without statements', () => {
    expect(analysed('')).toMatchObject({ statements: [], class: 'session', syntaxError: null });
  });
});

describe('unknown code may do anything to the session', () => {
  it.each(['DO $$ BEGIN END $$', 'SELEC 1', 'SELECT nobody_knows()', 'EXECUTE unseen'])('%s', (sql) => {
    expect(analysed(sql).statements[0]).toMatchObject({
      makesTemp: true,
      changesSearchPath: true,
      changesCatalog: true,
    });
  });

  it.each([
    ['CREATE TEMP TABLE t (a int)', true],
    ['CREATE TABLE pg_temp.t (a int)', true],
    ['CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$', true],
    ['CREATE DOMAIN pg_temp.d AS int', true],
    ['SELECT 1 AS a INTO TEMP t', true],
    ['CREATE TEMP TABLE t AS SELECT 1', true],
    ['CREATE TABLE t (a int)', false],
  ])('%s: makes a temporary object: %s', (sql, expected) => {
    expect(analysed(sql).statements[0]?.makesTemp).toBe(expected);
  });

  const SETS = "SELECT set_config('search_path', 'shadow', false)";
  it.each([
    [`EXPLAIN ANALYZE ${SETS}`, [true]],
    [`EXPLAIN ${SETS}`, [false]],
    [`PREPARE p AS ${SETS}; EXECUTE p`, [false, true]],
    [`PREPARE p AS ${SETS}; EXPLAIN ANALYZE EXECUTE p`, [false, true]],
    [`DECLARE c CURSOR FOR ${SETS}; FETCH c`, [false, true]],
    [`DECLARE c CURSOR FOR ${SETS}; MOVE c`, [false, true]],
  ])('%s: what runs within another statement changes the search_path', (sql, expected) => {
    expect(analysed(sql).statements.map((statement) => statement.changesSearchPath)).toEqual(expected);
  });

  it('what runs within another statement makes temporary objects', () => {
    const [first] = analysed('EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1').statements;
    expect(first).toMatchObject({ makesTemp: true, changesCatalog: true });
  });

  it('ambient effects are part of everything that is more than a session command', () => {
    const catalog = catalogOf({ tables: { t: {} }, ambient: ['a cast between built-in types calls x.f'] });
    expect(classOf('SELECT 1', catalog)).toBe('opaque');
    expect(classOf('BEGIN', catalog)).toBe('session');
  });
});
