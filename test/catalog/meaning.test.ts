import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { clarify } from '../../src/catalog/clarify.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import { readQueryTrees } from '../../src/catalog/query-tree.ts';
import { openSideConnection, type SideConnection } from '../../src/catalog/side.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';
import type { Analysis } from '../../src/statement/analysis.ts';
import type { Answers } from '../../src/statement/answers.ts';
import type { Catalog } from '../../src/statement/catalog.ts';
import { superuser, type TestDatabase, withClient } from '../support/postgres.ts';
import { createCorpusDatabase } from './corpus-database.ts';
import { QUERY_KINDS } from './query-kinds.ts';

/** Innocent look-alikes of built-ins, and traps that the corpus' schema does not have. */
const MORE = `
CREATE FUNCTION app.lower(n integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.audit_trail; RETURN n; END $$;
CREATE AGGREGATE app.sum(app.token) (SFUNC = app.sum_tokens, STYPE = bigint, INITCOND = '0');
CREATE FUNCTION app.plain_note(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT t';
CREATE TYPE app.mood AS ENUM ('sad', 'glad');
CREATE TABLE app.holder (id integer PRIMARY KEY, r app.token, a integer[], m app.mood, d app.voucher_code, j jsonb, x xml);
CREATE TABLE app.filled (id integer PRIMARY KEY, n integer DEFAULT 3, made integer GENERATED ALWAYS AS IDENTITY);
CREATE VIEW app.checked_view AS SELECT id, body FROM app.feedback WHERE id < 10 WITH CHECK OPTION;
CREATE FUNCTION app.harmless_op(a text, b text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR app.~~> (LEFTARG = text, RIGHTARG = text, FUNCTION = app.harmless_op);
CREATE FUNCTION public.evil_equal(a app.mood, b app.mood) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.audit_trail; RETURN true; END $$;
CREATE OPERATOR public.= (LEFTARG = app.mood, RIGHTARG = app.mood, FUNCTION = public.evil_equal);
`;
const FIRST = `
CREATE FUNCTION app.sum_tokens(n bigint, t app.token) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.audit_trail; RETURN n; END $$;`;

let database: TestDatabase;
let side: SideConnection;
let catalog: Catalog;
let analyser: Analyser;
const path = ['public', 'app'];
const { major } = inject('postgres');

beforeAll(async () => {
  database = await createCorpusDatabase('cat_meaning', FIRST + MORE);
  analyser = await loadAnalyser(DEFAULT_LIMITS);
  catalog = await withClient(superuser(database.name), (client) => loadCatalog(client));
  side = openSideConnection({
    connect: async () => {
      const client = new pg.Client(superuser(database.name));
      await client.connect();
      return client;
    },
    limits: { probeMs: 20_000 },
  });
}, 120_000);
afterAll(async () => {
  await side?.close();
  await database?.drop();
});

function analysed(sql: string, answers: Answers = [], searchPath = path): Analysis {
  const parse = analyser.parse(Buffer.from(sql));
  return analyse(parse, catalog, { searchPath, tempPossible: false }, DEFAULT_LIMITS, null, answers);
}

/** As the proxy does it. */
async function asked(sql: string, searchPath = path): Promise<Analysis> {
  const first = analysed(sql, [], searchPath);
  const again = (answers: Answers) => Promise.resolve(analysed(sql, answers, searchPath));
  const failed = (error: unknown) => {
    throw error;
  };
  return (await clarify(Buffer.from(sql), first, null, side, again, failed)) ?? first;
}

const meaning = async (sql: string, types: readonly number[] = []) =>
  await side.meaning(Buffer.from(sql), path, types);
const oid = async (expression: string) =>
  Number((await database.query(`SELECT ${expression}::oid AS oid`)).rows[0].oid);

describe('what the server says', () => {
  test('functions behind operators, casts, fields, aggregates, policies and overloads', async () => {
    const purge = await oid(`'app.op_purge(integer, integer)'::regprocedure`);
    expect((await meaning('SELECT id + 1 FROM customers'))?.functions).not.toContain(purge);
    expect(
      (await side.meaning(Buffer.from('SELECT id <+> 1 FROM customers'), path, []))?.functions,
    ).toContain(purge);
    const row = await oid(`'public.purge_row(public.customers)'::regprocedure`);
    for (const sql of ['SELECT c.purge_row FROM customers c', 'SELECT (c).purge_row FROM customers c'])
      expect((await meaning(sql))?.functions).toContain(row);
    expect((await meaning('SELECT badge::json FROM members'))?.functions).toContain(
      await oid(`'app.badge_to_json(app.badge)'::regprocedure`),
    );
    expect((await meaning('SELECT sum_of(id) FROM customers'))?.functions).toContain(
      await oid(`'app.sum_of(integer)'::regprocedure`),
    );
  });

  test('relations behind views, and what a rule does instead', async () => {
    const customers = await oid(`'public.customers'::regclass`);
    expect((await meaning('SELECT id FROM order_summary'))?.relations).toContain(customers);
    expect((await meaning("UPDATE app.cancel_queue SET status = 'new'"))?.relations).toContain(
      await oid(`'public.payments'::regclass`),
    );
  });

  test('the types that the client declared decide between overloads', async () => {
    const lower = await oid(`'app.lower(integer)'::regprocedure`);
    expect((await meaning('SELECT lower($1)', [23]))?.functions).toContain(lower);
    expect((await meaning('SELECT lower($1)', [25]))?.functions).not.toContain(lower);
  });

  test('nothing about a text that it rejects, that is a utility command, or that is two', async () => {
    for (const sql of ['SELECT nope FROM customers', 'DROP TABLE customers', 'SELECT 1; SELECT 2', ''])
      expect(await meaning(sql)).toBeNull();
    expect(await side.probe('SELECT 1', path)).toBeNull();
  });

  test('nothing runs', async () => {
    const before = (await database.query('SELECT count(*)::int AS n FROM payments')).rows[0].n;
    await meaning("SELECT purge_sql(), harmless_looking(1), constant_looking(2), 'x'::app.voucher_code");
    expect((await database.query('SELECT count(*)::int AS n FROM payments')).rows[0].n).toBe(before);
  });
});

describe('a tree cannot be lied in', () => {
  const names = [
    ':funcid 12345',
    ':funcid',
    '{FUNCEXPR :funcid 12345}',
    '} :funcid 12345 {',
    ') :relid 12345 (',
    '<>',
    '"',
    '\\',
    '\\ :funcid 12345',
    'a\n:funcid 12345',
    'a\t:funcid',
    '12345',
    '-1',
    '[ 1 ]',
  ];
  test.each(names)('an alias %j', async (name) => {
    const quoted = `"${name.replaceAll('"', '""')}"`;
    const told = await meaning(
      `SELECT x.${quoted} AS ${quoted}, '${name}' FROM (SELECT 1 AS ${quoted}) x, customers ${quoted}`,
    );
    // With a line's end in it, it may pass for one that the printer cut.
    if (name.includes('\n') && told === null) return;
    expect(told?.functions).toEqual(new Set());
    expect([...(told?.relations ?? [])]).toEqual([await oid(`'public.customers'::regclass`)]);
  });

  test('a name that the printer cuts in two, at any place', async () => {
    for (let shift = 0; shift < 80; shift++) {
      const name = `${'('.repeat(40)}:funcid 1234`;
      const told = await meaning(`SELECT 1 AS "${'x'.repeat(shift % 60)}", 2 AS "${name}", length('a')`);
      if (told !== null) expect(told.functions).not.toContain(1234);
      if (told !== null) expect(told.functions.size).toBe(1);
    }
  });

  test('what is not known makes it unreadable', () => {
    const tree =
      '({QUERY :commandType 1 :utilityStmt <> :targetList ({TARGETENTRY :expr {FUNCEXPR :funcid 12} :resname a})})';
    expect(readQueryTrees(tree)?.functions).toEqual(new Set([12]));
    for (const [from, to] of [
      ['FUNCEXPR', 'NEWEXPR'],
      [':funcid', ':newid'],
      [':funcid 12', ':funcid twelve'],
      [':resname a', ':resname'],
      [':resname a', ':resname a b'],
      [':resname a', ':resname a :resname b'],
      [':utilityStmt <>', ':utilityStmt ?'],
      ['})})', '})}'],
      ['})})', '})}) x'],
    ] as const)
      expect(readQueryTrees(tree.replace(from, to))).toBeNull();
    expect(readQueryTrees('<>')).toBeNull();
    expect(readQueryTrees('')).toBeNull();
  });
});

describe('statements of every kind can be read', () => {
  test.each(QUERY_KINDS.filter(([since]) => major >= since))('%i: %s', async (_, sql) => {
    expect(await meaning(sql)).not.toBeNull();
  });
});

describe('with the answer', () => {
  const held: readonly (readonly [sql: string, searchPath?: readonly string[]])[] = [
    ['SELECT id <+> 1 FROM customers WHERE id = 1'],
    ['SELECT id OPERATOR(app.+) 1 FROM customers WHERE id = 1'],
    ['SELECT 1 + 1', ['app', 'pg_catalog']],
    ['SELECT initcap(name::varchar) FROM customers WHERE id = 1'],
    ['SELECT app.lower(1)'],
    ['SELECT lower(1)'],
    ['SELECT purge_sql()'],
    ['SELECT harmless_looking(1)'],
    ['SELECT c.purge_row FROM customers c WHERE id = 1'],
    ['SELECT (c).purge_row FROM customers c WHERE id = 1'],
    ['SELECT purge_row(c) FROM customers c WHERE id = 1'],
    ['SELECT badge::json FROM members WHERE id = 1'],
    ['SELECT to_json(badge) FROM members WHERE id = 1'],
    ["SELECT to_json('gold'::app.badge)"],
    ['SELECT json_agg(m) FROM members m WHERE id = 1'],
    ['SELECT name::app.token FROM customers WHERE id = 1'],
    ['INSERT INTO tokens VALUES (7, 8)'],
    ["SELECT 'x'::app.voucher_code"],
    ['SELECT name::app.voucher_code FROM customers WHERE id = 1'],
    ['SELECT ARRAY[name]::app.voucher_code[] FROM customers WHERE id = 1'],
    ["SELECT * FROM json_to_recordset('[]') AS x(c app.voucher_code)"],
    ["SELECT json_populate_record(NULL::app.vouchers, '{}')"],
    ["INSERT INTO vouchers VALUES (1, 'x')"],
    ['SELECT r FROM ranked ORDER BY r'],
    ['SELECT DISTINCT r FROM ranked'],
    ['SELECT r, count(*) FROM ranked GROUP BY r'],
    ['SELECT ROW(1)::app.rank ORDER BY 1'],
    ['SELECT max(x) FROM (SELECT ARRAY[ROW(1)::app.rank] AS x) s'],
    ['SELECT ROW(ROW(1)::app.rank) < ROW(ROW(2)::app.rank)'],
    ['SELECT sum_of(id) FROM customers WHERE id = 1'],
    ["SELECT sum(ROW('a')::app.token)"],
    ['SELECT * FROM guarded'],
    ['SELECT * FROM cleanup_report'],
    ["SELECT 'sad'::mood = 'glad'::mood"],
    ["SELECT id FROM holder WHERE m = 'glad' AND id = 1"],
    ["SELECT id FROM holder WHERE m IN ('glad', 'sad') AND id = 1"],
    ["SELECT CASE m WHEN 'glad' THEN 1 END FROM holder WHERE id = 1"],
    ['SELECT h.id FROM holder h JOIN holder i USING (m) WHERE h.id = 1'],
    ["UPDATE inbox SET body = 'x' WHERE id = 1 + 1"],
    ["UPDATE cancel_queue SET status = 'new' WHERE id = 1 + 1"],
    ["SELECT pg_read_file('x') || lower('A')"],
    ["SELECT set_config('role', lower('x'), false)"],
  ];
  const cases = held.map(([sql, searchPath = path]) => ({ sql, searchPath }));
  test.each(cases)('$sql stays held', async ({ sql, searchPath }) => {
    const { class: found, statements } = await asked(sql, [...searchPath]);
    expect(['opaque', 'admin', 'privilege']).toContain(found);
    expect(statements[0]?.doubt?.names ?? false).toBe(false);
  });

  const flows: readonly (readonly [sql: string, why: string])[] = [
    ['SELECT id + 1 FROM customers WHERE id = 1', 'pg_catalog comes before app'],
    ['SELECT id + 1 AS n FROM orders WHERE id = 1', 'app.+ is for integers, the id a bigint'],
    ["SELECT now() + interval '1 day'", 'app.+ is for integers'],
    ["SELECT 1.5 + 2, date '2025-01-01' + 1", 'app.+ is for integers'],
    ["SELECT lower('A'), lower(name) FROM customers WHERE id = 1", 'app.lower is for integers'],
    ['SELECT sum(total), sum(id) FROM orders WHERE id = 1', 'app.sum is for tokens'],
    ["SELECT initcap('abc')", 'public.initcap is for varchar'],
    ["SELECT 1 WHERE 'a' = 'b' AND 1 IN (1, 2)", 'public.= is for moods'],
    ['SELECT c.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.id = 1', '= again'],
    ['SELECT name::json FROM customers WHERE id = 1', 'the cast to json is for badges'],
    ['SELECT badge::text FROM members WHERE id = 1', 'that is none of its casts'],
    ['SELECT purge FROM (SELECT 1 AS purge) c', 'a column'],
  ];
  test.each(flows)('%s flows: %s', async (sql) => {
    expect(['read', 'session']).toContain((await asked(sql)).class);
  });

  test('calls are named with their bodies, for the binding', async () => {
    const [statement] = (await asked('SELECT purge_sql()')).statements;
    expect(statement?.calls).toEqual([expect.stringMatching(/^app\.purge_sql\(\) OID \d+ [0-9a-f]{32}$/)]);
  });
});

describe('a query in a command', () => {
  const within: readonly ((query: string) => string)[] = [
    (query) => `EXPLAIN ${query}`,
    (query) => `EXPLAIN (ANALYZE, COSTS off) ${query}`,
    (query) => `PREPARE p AS ${query}`,
    (query) => `PREPARE p (int, text) AS ${query}`,
    (query) => `DECLARE c CURSOR FOR ${query}`,
  ];

  test.each(within.map((command) => [command('…'), command] as const))('%s', async (_, command) => {
    expect(analysed(command("SELECT lower('A')")).class).toBe('opaque');
    expect((await asked(command("SELECT lower('A')"))).class).toBe('read');
    expect((await asked(command('SELECT lower(1)'))).class).toBe('opaque');
    expect((await asked(command('SELECT lower(id) FROM customers WHERE id = 1'))).class).toBe('opaque');
  });

  test('with parameters of the types that PREPARE says', async () => {
    expect((await asked('PREPARE p (text) AS SELECT lower($1)')).class).toBe('read');
    expect((await asked('PREPARE p (int) AS SELECT lower($1)')).class).toBe('opaque');
    expect((await asked('PREPARE p (int, varchar) AS SELECT lower($2)')).class).toBe('read');
  });
});

describe('the server is not asked', () => {
  test.each([
    ['SELECT id FROM customers WHERE id < 3'],
    ['CREATE TABLE t AS SELECT lower(name) FROM customers'],
    ['EXPLAIN /* */ SELECT 1 <+> 1'],
    ['DO $$ BEGIN PERFORM app.lower(1); END $$'],
    ["SELECT dblink_connect('host=x password=secret'), lower('A')"],
  ])('%s', (sql) => {
    expect(analysed(sql, [], ['public']).statements[0]?.doubt?.names ?? false).toBe(false);
  });

  test('in an unknown path, or where a temporary object may be meant', () => {
    const parse = analyser.parse(Buffer.from("SELECT lower('A')"));
    for (const scope of [
      { searchPath: null, tempPossible: false },
      { searchPath: path, tempPossible: true },
    ])
      expect(analyse(parse, catalog, scope, DEFAULT_LIMITS).statements[0]?.doubt ?? null).toBeNull();
    expect(analysed("SELECT lower('A')").statements[0]?.doubt).toEqual({
      names: true,
      size: false,
      searchPath: path,
    });
  });
});
