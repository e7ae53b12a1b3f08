import { describe, expect, it } from 'vitest';
import { analysed, catalogOf, classOf, PUBLIC } from './support.ts';

const catalog = catalogOf({
  tables: {
    big: { rows: 100_000, columns: ['id', 'a', 'b', 'small_id'], keys: [['id'], ['a', 'b']] },
    other: { rows: 50_000, columns: ['id', 'big_id'], keys: [['id']] },
    small: { rows: 50, columns: ['id', 'name'], keys: [['id']] },
    empty: { rows: 0, columns: ['id'] },
    unknown: { rows: null, columns: ['id', 'x'], keys: [['id']] },
    pg_class: { schema: 'pg_catalog', rows: 400, columns: ['oid', 'relname'], keys: [['oid']] },
    trapped: { effects: { read: ['a policy calls f'], insert: ['a trigger calls f'] } },
    elsewhere: { kind: 'foreign' },
  },
});

describe('a read whose rows are bounded', () => {
  it.each([
    'SELECT * FROM big LIMIT 10',
    'SELECT * FROM big LIMIT 5 * 20',
    'SELECT * FROM big WHERE id = 1',
    'SELECT * FROM big WHERE 1 = id',
    'SELECT * FROM big WHERE id = $1',
    'SELECT * FROM big WHERE id = (SELECT max(id) FROM big)',
    'SELECT * FROM big WHERE a = 1 AND b = 2',
    'SELECT * FROM big WHERE (a, b) = (1, 2)',
    'SELECT * FROM big WHERE (a, b) IN ((1, 2), (3, 4))',
    'SELECT * FROM big WHERE id IN (1, 2, 3)',
    'SELECT * FROM big WHERE id = 1 OR id = 2',
    'SELECT * FROM big WHERE id BETWEEN 10 AND 20',
    'SELECT * FROM big WHERE id >= 10 AND id < 20',
    "SELECT * FROM big WHERE id = ANY ('{1,2,3}')",
    'SELECT * FROM big WHERE id IN (SELECT id FROM small)',
    'SELECT * FROM big WHERE false',
    'SELECT * FROM small',
    'SELECT * FROM small JOIN big ON big.id = small.id',
    'SELECT * FROM big b JOIN other o ON o.id = b.a WHERE b.id = 7',
    'SELECT * FROM big LEFT JOIN other ON other.id = big.a WHERE big.id = 7',
    'SELECT * FROM (VALUES (1), (2)) v(x) JOIN big ON big.id = v.x',
    'SELECT * FROM generate_series(1, 100) g(x) JOIN big ON big.id = g.x',
    'SELECT count(*) FROM big',
    'SELECT count(*), max(a) FROM big JOIN other USING (id)',
    'SELECT * FROM pg_class',
    'SELECT x FROM generate_series(1, 1000000) x',
    'WITH c AS (SELECT * FROM big WHERE id = 1) SELECT * FROM c',
    'SELECT * FROM small UNION ALL SELECT id, name FROM small',
    'SELECT json_agg(s) FROM small s',
    'SELECT a IS NULL, count(*) FROM big GROUP BY 1',
    "SELECT date_trunc('month', now() - a * interval '1 day'), count(*) FROM big GROUP BY 1",
  ])('%s', (sql) => {
    expect([sql, classOf(sql, catalog)]).toEqual([sql, 'read']);
  });
});

describe('rows that earlier statements of the same string add', () => {
  const bound = (sql: string) => analysed(sql, catalog).statements.at(-1)?.rowBound;

  it.each([
    ['INSERT INTO other (id) VALUES (1), (2); SELECT * FROM small', 52],
    ['INSERT INTO empty SELECT id FROM small; SELECT * FROM empty', 50],
    ['INSERT INTO empty VALUES (1); INSERT INTO empty VALUES (2); SELECT * FROM empty', 2],
    ['WITH w AS (INSERT INTO empty VALUES (1) RETURNING id) SELECT * FROM w; SELECT id FROM empty', 1],
    ['INSERT INTO empty VALUES (1); SELECT * FROM small WHERE id = 7', 1],
    ['SELECT * FROM small; SELECT * FROM small', 50],
    ['COPY empty FROM STDIN; SELECT * FROM empty', null],
    ['INSERT INTO trapped VALUES (1); SELECT * FROM empty', null],
    ['CALL public.tidy(); SELECT * FROM empty', null],
    ['DROP TABLE big; SELECT * FROM small', 50],
  ])('%s: %s', (sql, rows) => {
    expect([sql, bound(sql)]).toEqual([sql, rows]);
  });
});

describe('a read that nothing bounds', () => {
  it.each([
    'SELECT * FROM big',
    'SELECT * FROM unknown',
    'SELECT * FROM big LIMIT 5000',
    'SELECT * FROM big LIMIT ALL',
    'SELECT * FROM big LIMIT NULL',
    'SELECT * FROM big OFFSET 5',
    'SELECT * FROM big LIMIT (SELECT count(*) FROM small)',
    'SELECT * FROM big WHERE a = 1',
    'SELECT * FROM big WHERE id = id',
    'SELECT * FROM big WHERE id = a',
    'SELECT * FROM big WHERE id = 1 OR a = 2',
    'SELECT * FROM big WHERE id <> 1',
    'SELECT * FROM big WHERE id::text = $1',
    'SELECT * FROM big WHERE id = random()',
    'SELECT * FROM big WHERE id IN (SELECT big_id FROM other)',
    'SELECT * FROM big WHERE id IN (SELECT big.id FROM small)',
    'SELECT * FROM big WHERE NOT id = 1',
    'SELECT * FROM big ORDER BY a FETCH FIRST 1 ROW WITH TIES',
    'SELECT * FROM small a, small b',
    'SELECT * FROM big LEFT JOIN small ON small.id = big.id AND big.id = 1',
    'SELECT * FROM small FULL JOIN big ON big.id = small.id AND big.id = 1',
    'SELECT * FROM big LEFT JOIN empty ON empty.id = big.id',
    'SELECT * FROM (big b JOIN small s ON s.id = b.small_id) AS j WHERE j.id = 1',
    'SELECT * FROM generate_series(1, 100000) g(x) JOIN big ON big.id = g.x',
    'SELECT big.* FROM small, unnest(string_to_array(small.name, $$,$$)::int[]) u(x) JOIN big ON big.id = u.x',
    'SELECT * FROM small UNION ALL SELECT id, a FROM big',
    '(SELECT id FROM big LIMIT 10) UNION ALL SELECT id FROM big',
    'SELECT a, count(*) FROM big GROUP BY a',
    'SELECT DISTINCT a FROM big',
    'SELECT json_agg(b) FROM big b',
    'SELECT (SELECT json_agg(b) FROM big b)',
    'SELECT ARRAY(SELECT a FROM big)',
    'SELECT (SELECT string_agg(b.a::text, $$,$$)) FROM big b',
    'SELECT string_agg(a::text, $$,$$) OVER () FROM big LIMIT 1',
    'SELECT s.id, ARRAY(SELECT x.id FROM small x) FROM small s',
    'WITH RECURSIVE r AS (SELECT 1 AS n, a FROM big WHERE id = 1 UNION ALL SELECT n + 1, big.a FROM r JOIN big ON big.id = n + 1) SELECT * FROM r LIMIT 1',
    'WITH c AS (SELECT * FROM big) SELECT * FROM c',
    'DECLARE c CURSOR FOR SELECT * FROM big',
    'INSERT INTO small SELECT id, a FROM big RETURNING *',
  ])('%s', (sql) => {
    expect([sql, classOf(sql, catalog)]).toEqual([sql, 'export']);
  });
});

describe('writes', () => {
  it.each([
    ['write', 'DELETE FROM big WHERE id = 1'],
    ['write', 'DELETE FROM big WHERE id IN (SELECT id FROM small)'],
    ['write', 'UPDATE small SET name = $$x$$ WHERE name = $$y$$'],
    ['write', 'INSERT INTO small SELECT id, a FROM big'],
    ['write', 'DELETE FROM big USING small WHERE big.id = small.id'],
    [
      'write',
      'MERGE INTO big USING small ON big.id = small.id WHEN MATCHED THEN UPDATE SET a = 1 WHEN NOT MATCHED THEN DO NOTHING',
    ],
    ['bulk_write', 'DELETE FROM big WHERE a = 1'],
    ['bulk_write', 'DELETE FROM small'],
    ['bulk_write', 'DELETE FROM big USING other WHERE big.id = other.big_id'],
    ['bulk_write', 'MERGE INTO big USING other ON big.id = other.big_id WHEN MATCHED THEN DELETE'],
    ['bulk_write', 'MERGE INTO big USING small ON big.id = small.id WHEN NOT MATCHED BY SOURCE THEN DELETE'],
    [
      'bulk_write',
      'INSERT INTO small SELECT id, a FROM big ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name',
    ],
  ])('%s: %s', (expected, sql) => {
    expect(classOf(sql, catalog)).toBe(expected);
  });
});

describe('what names mean', () => {
  const names = catalogOf({
    tables: { t: {}, hidden: { schema: 'app' } },
    functions: {
      'app.f': {},
      'public.lower': {},
      'public.pure': { effects: [] },
      'public.computed': { takesRow: true },
      'public.one': { minArgs: 1, maxArgs: 1 },
    },
    operators: ['public.<+>', 'app.+'],
    types: { 'public.mood': [], 'public.voucher': ['a domain whose check calls f'] },
  });
  it.each([
    ['opaque', 'SELECT app.f()', PUBLIC],
    ['opaque', 'SELECT lower($$A$$)', PUBLIC],
    ['read', 'SELECT pg_catalog.lower($$A$$)', PUBLIC],
    ['read', 'SELECT pure()', PUBLIC],
    ['opaque', 'SELECT one(1)', PUBLIC],
    ['opaque', 'SELECT t.computed FROM t WHERE id = 1', PUBLIC],
    ['opaque', 'SELECT (t).computed FROM t WHERE id = 1', PUBLIC],
    ['opaque', 'SELECT 1 <+> 2', PUBLIC],
    ['read', 'SELECT 1 + 2', PUBLIC],
    ['opaque', 'SELECT 1 + 2', { searchPath: ['app', 'public'], tempPossible: false }],
    ['opaque', 'SELECT 1 + 2', { searchPath: null, tempPossible: false }],
    ['opaque', 'SELECT 1 OPERATOR(app.+) 2', PUBLIC],
    ['read', 'SELECT $$a$$::mood', PUBLIC],
    ['opaque', 'SELECT $$a$$::voucher', PUBLIC],
    ['opaque', 'SELECT voucher($$a$$)', PUBLIC],
    ['opaque', 'SELECT * FROM json_to_record($1) AS r(v voucher)', PUBLIC],
    ['opaque', 'SELECT $$a$$::no_such_type', PUBLIC],
    ['opaque', 'SELECT pg_input_is_valid($$a$$, $$public.voucher$$)', PUBLIC],
    ['read', 'SELECT pg_input_is_valid($$1$$, $$integer$$)', PUBLIC],
    ['read', 'SELECT * FROM t WHERE id = 1', PUBLIC],
    ['opaque', 'SELECT * FROM hidden WHERE id = 1', PUBLIC],
    ['read', 'SELECT * FROM app.hidden WHERE id = 1', PUBLIC],
    ['read', 'SELECT * FROM hidden WHERE id = 1', { searchPath: null, tempPossible: false }],
    ['opaque', 'SELECT * FROM t WHERE id = 1', { searchPath: ['public'], tempPossible: true }],
    ['read', 'SELECT * FROM public.t WHERE id = 1', { searchPath: ['public'], tempPossible: true }],
    ['opaque', 'SELECT * FROM pg_temp.t', PUBLIC],
    ['opaque', 'SET search_path = app; SELECT 1 + 2', PUBLIC],
    ['opaque', 'SELECT set_config($$search_path$$, $1, false); SELECT 1 + 2', PUBLIC],
    ['read', 'WITH hidden AS (SELECT 1) SELECT * FROM hidden', PUBLIC],
    ['opaque', 'WITH hidden AS (SELECT 1) SELECT * FROM app.nothing', PUBLIC],
  ])('%s: %s', (expected, sql, scope) => {
    expect(classOf(sql, names, scope)).toBe(expected);
  });

  it('effects of a relation count by what is done to it', () => {
    expect(classOf('SELECT * FROM trapped WHERE id = 1', catalog)).toBe('opaque');
    expect(analysed('INSERT INTO trapped (id) VALUES (1)', catalog).reasons.join()).toContain(
      'a trigger calls f',
    );
    expect(classOf('SELECT * FROM elsewhere LIMIT 1', catalog)).toBe('opaque');
  });
});

describe('parameters that decide', () => {
  it('LIMIT and arrays: the worst until they are known', () => {
    const limit = 'SELECT * FROM big LIMIT $1';
    expect(analysed(limit, catalog).statements[0]).toMatchObject({
      class: 'export',
      dependsOnParameters: [1],
    });
    expect(analysed(limit, catalog, PUBLIC, ['20']).statements[0]).toMatchObject({
      class: 'read',
      rowBound: 20,
    });
    expect(analysed(limit, catalog, PUBLIC, ['20000']).class).toBe('export');
    expect(analysed(limit, catalog, PUBLIC, [null]).class).toBe('export');
    const any = 'SELECT * FROM big WHERE id = ANY ($1)';
    expect(analysed(any, catalog).class).toBe('export');
    expect(analysed(any, catalog, PUBLIC, ['{1,2,3}']).statements[0]).toMatchObject({
      class: 'read',
      rowBound: 3,
    });
    expect(analysed(any, catalog, PUBLIC, [`{${Array(2000).fill('1').join(',')}}`]).class).toBe('export');
    // int4[] {7, 8} in binary: dimensions, flags, type, length, lower bound, elements.
    const header = [1, 0, 23, 2, 1].map((n) => {
      const word = Buffer.alloc(4);
      word.writeInt32BE(n);
      return word;
    });
    expect(analysed(any, catalog, PUBLIC, [Buffer.concat(header)]).statements[0]?.rowBound).toBe(2);
  });

  it('a key by parameter needs no value', () => {
    const statement = analysed('SELECT * FROM big WHERE id = $1', catalog).statements[0];
    expect(statement).toMatchObject({ class: 'read', rowBound: 1, dependsOnParameters: [] });
  });
});
