import { describe, expect, it } from 'vitest';
import { analysed, catalogOf, classOf, PUBLIC } from './support.ts';

const few = { values: 20, share: 0.1 };
const catalog = catalogOf({
  tables: {
    big: { columns: ['id', 'a', 'b', 'kind'], keys: [['id'], ['a', 'b']], statistics: { kind: few } },
    other: { rows: 50_000, columns: ['id', 'big_id', 'x'] },
    small: { rows: 50, columns: ['id', 'name'] },
    parent: { columns: ['id', 'x'] },
    plain: { columns: ['id', 'a', 'b', 'kind'], view: 'SELECT id, a, b, kind FROM public.big' },
    renamed: {
      columns: ['number', 'first', 'sort'],
      view: 'SELECT id AS number, a AS first, kind AS sort FROM public.big WHERE b > 3',
    },
    joined: {
      columns: ['id', 'a', 'x'],
      view: 'SELECT b.id, b.a, o.x FROM (public.big b JOIN public.other o ON ((o.id = b.a)))',
    },
    outer_joined: {
      columns: ['id', 'other_id', 'x'],
      view: 'SELECT b.id, o.id AS other_id, o.x FROM (public.big b LEFT JOIN public.other o ON ((o.id = b.a)))',
    },
    over_view: { columns: ['nr', 'x'], view: 'SELECT j.id AS nr, j.x FROM public.joined j' },
    counted: { columns: ['a', 'n'], view: 'SELECT big.a, count(*) AS n FROM public.big GROUP BY big.a' },
    kinds: { columns: ['kind', 'n'], view: 'SELECT kind, count(*) AS n FROM public.big GROUP BY kind' },
    spread: {
      columns: ['a', 'g'],
      view: 'SELECT a, generate_series(1, 5000) AS g FROM public.big GROUP BY a',
    },
    rolled: { columns: ['a', 'n'], view: 'SELECT a, count(*) AS n FROM public.big GROUP BY ROLLUP (a)' },
    misleading: {
      columns: ['b', 'n'],
      view: 'SELECT a AS b, count(*) AS n FROM public.big GROUP BY b, a, id',
    },
    ten: { columns: ['id', 'a'], view: 'SELECT id, a FROM public.big ORDER BY a LIMIT 10' },
    tied: {
      columns: ['id', 'a'],
      view: 'SELECT id, a FROM public.big ORDER BY a FETCH FIRST 1 ROW WITH TIES',
    },
    union_view: { columns: ['id'], view: 'SELECT id FROM public.big UNION ALL SELECT id FROM public.other' },
    computed: { columns: ['id'], view: 'SELECT id % 10 AS id FROM public.big' },
    tiny: { columns: ['id', 'name'], view: 'SELECT id, name FROM public.small WHERE id > 3' },
    trapped: { columns: ['id'], view: 'SELECT id FROM public.small', effects: { read: ['view x calls f'] } },
    recursive: {
      columns: ['n'],
      view: 'WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT r.n + 1 FROM r, public.big WHERE big.id = r.n) SELECT n FROM r',
    },
    dump: { columns: ['all_of_it'], view: 'SELECT json_agg(b) AS all_of_it FROM public.big b' },
    lists: { columns: ['a', 'ids'], view: 'SELECT a, array_agg(id) AS ids FROM public.big GROUP BY a' },
    arrays: {
      columns: ['id', 'ids'],
      view: 'SELECT s.id, ARRAY(SELECT id FROM public.big) AS ids FROM public.small s',
    },
    over_dump: { columns: ['x'], view: 'SELECT all_of_it AS x FROM public.dump' },
    small_dump: { columns: ['x'], view: 'SELECT json_agg(s) AS x FROM public.small s' },
    unread_dump: { kind: 'view', rows: null, columns: ['x'], keys: [], folds: true },
    over_unread: { columns: ['x'], view: 'SELECT x FROM public.unread_dump' },
    opaque_view: { kind: 'view', rows: null, columns: ['id'], keys: [] },
    parents: {
      columns: ['key', 'x'],
      view: 'SELECT id AS key, x FROM public.parent',
      cascades: {
        delete: [{ schema: 'public', name: 'other', action: 'delete', rows: 50_000 }],
        update: [{ schema: 'public', name: 'other', action: 'update', rows: 50_000 }],
      },
    },
    self: { columns: ['id'], view: 'SELECT a.id FROM public.plain a, public.plain b WHERE a.id = b.id' },
  },
});

const bound = (sql: string) => analysed(sql, catalog).statements[0]?.rowBound ?? null;

describe('a view is as large as its query', () => {
  it.each([
    ['SELECT * FROM tiny', 50],
    ['SELECT * FROM kinds', 21],
    ['SELECT * FROM ten', 10],
    ['SELECT * FROM plain WHERE id = 5', 1],
    ['SELECT * FROM public.plain p WHERE p.id IN (1, 2, 3)', 3],
    ['SELECT * FROM plain WHERE a = 1 AND b = 2', 1],
    ['SELECT * FROM plain WHERE id BETWEEN 10 AND 20', 11],
    ['SELECT * FROM plain WHERE id >= 10 AND id < 20', 10],
    ['SELECT * FROM renamed WHERE number = 5', 1],
    ['SELECT x.c FROM renamed AS x (c, d) WHERE c = 5', 1],
    ['SELECT * FROM joined WHERE id = 5', 1],
    ['SELECT * FROM outer_joined WHERE id = 5', 1],
    ['SELECT * FROM over_view WHERE nr = 5', 1],
    ['SELECT * FROM counted WHERE a = 5', 1],
    ['SELECT * FROM small s JOIN over_view v ON v.nr = s.id', 50],
    ['SELECT sort, count(*) FROM renamed GROUP BY sort', 21],
    ['SELECT DISTINCT kind FROM plain', 21],
    ['SELECT * FROM self WHERE id = 5', 1],
    ['WITH v AS (SELECT * FROM over_view) SELECT * FROM v WHERE nr = 7', 1],
    ['WITH v (c) AS (SELECT nr FROM over_view) SELECT * FROM v WHERE c = 7', 1],
  ])('%s', (sql, rows) => {
    expect(bound(sql)).toBe(rows);
    expect(classOf(sql, catalog)).toBe('read');
  });

  it.each([
    'SELECT * FROM plain',
    'SELECT * FROM plain WHERE a = 1',
    'SELECT * FROM renamed WHERE first = 1',
    'SELECT * FROM joined WHERE x = 1',
    'SELECT * FROM outer_joined WHERE other_id = 5',
    'SELECT * FROM tied',
    'SELECT * FROM union_view WHERE id = 1',
    'SELECT * FROM computed WHERE id = 1',
    'SELECT * FROM spread WHERE a = 1',
    'SELECT * FROM misleading WHERE b = 1',
    'SELECT * FROM opaque_view',
    'SELECT * FROM recursive',
    'SELECT * FROM plain p JOIN plain q ON p.id = q.id',
    'SELECT * FROM plain p JOIN plain q ON p.id = q.a WHERE q.kind > 1',
    'SELECT * FROM plain p, plain q WHERE p.id = 1',
    'SELECT json_agg(plain) FROM plain',
    'SELECT x.id FROM plain AS x (a, id) WHERE id = 1',
    'SELECT * FROM big LEFT JOIN plain p ON p.id = big.id AND p.id = 1',
    'SELECT * FROM plain p RIGHT JOIN big ON p.id = big.id AND p.id = 1',
  ])('%s is not bounded', (sql) => {
    expect(classOf(sql, catalog)).toBe('export');
  });

  it('and does what it does beside that', () => {
    expect(classOf('SELECT * FROM trapped WHERE id = 1', catalog)).toBe('opaque');
    expect(analysed('SELECT * FROM recursive', catalog).statements[0]?.doubt).toBeNull();
    expect(analysed('SELECT * FROM plain', catalog).statements[0]?.doubt?.size).toBe(true);
    // What the view reads is not named by the statement.
    const { relations } = analysed('SELECT * FROM over_view WHERE nr = 5', catalog).statements[0] ?? {};
    expect(relations?.map(({ name }) => name)).toEqual(['over_view']);
  });

  it('however often and deeply it is used', () => {
    const views = Object.fromEntries(
      Array.from({ length: 30 }, (_, i) => [
        `v${i + 1}`,
        {
          columns: ['id'],
          view: `SELECT a.id FROM public.v${i} a JOIN public.v${i} b ON a.id = b.id`,
        },
      ]),
    );
    const deep = catalogOf({ tables: { v0: { columns: ['id'] }, ...views } });
    expect(classOf('SELECT * FROM v3 WHERE id = 1', deep)).toBe('read');
    expect(classOf('SELECT * FROM v30 WHERE id = 1', deep)).toBe('export');
  });
});

describe('a write through a view', () => {
  it.each([
    'UPDATE plain SET a = 1 WHERE id = 3',
    'UPDATE renamed SET first = 1 WHERE number IN (1, 2)',
    'DELETE FROM plain WHERE id = 3',
    'UPDATE tiny SET name = 1 WHERE name = 2',
    'UPDATE parents SET x = 1 WHERE key = 3',
  ])('of few rows is a write: %s', (sql) => {
    expect(classOf(sql, catalog)).toBe('write');
  });

  it.each([
    'UPDATE plain SET a = 1 WHERE a = 3',
    'DELETE FROM renamed WHERE first = 3',
    'UPDATE opaque_view SET id = 1 WHERE id = 3',
    'UPDATE tiny SET name = 1',
    // Foreign keys refer to the table below.
    'UPDATE parents SET key = 1 WHERE key = 3',
    'DELETE FROM parents WHERE key = 3',
  ])('of many is a bulk write: %s', (sql) => {
    expect(classOf(sql, catalog)).toBe('bulk_write');
  });
});

describe('a query in FROM is seen through as a view is', () => {
  it.each([
    ['SELECT * FROM (SELECT id, a FROM big) s WHERE id = 1', 1],
    ['SELECT * FROM (SELECT id AS n FROM big) AS s (m) WHERE m = 1', 1],
    ['SELECT * FROM (SELECT * FROM big ORDER BY a) s WHERE s.id = 1', 1],
    ['SELECT * FROM (SELECT DISTINCT id, a FROM big) s WHERE s.id = 1', 1],
    ['WITH w AS (SELECT * FROM big) SELECT * FROM w x JOIN w y ON x.id = y.id WHERE x.id = 1', 1],
    ['SELECT * FROM small, LATERAL (SELECT * FROM big WHERE big.id = small.id) l', 50],
  ])('%s', (sql, rows) => {
    expect(bound(sql)).toBe(rows);
  });

  it.each([
    // The rows of a LATERAL query hang on its neighbour's, so they do not determine it.
    'SELECT * FROM big t, LATERAL (SELECT * FROM big u WHERE u.id = t.a) l WHERE t.id = l.b',
    'SELECT l.a FROM big t, LATERAL (SELECT * FROM big u WHERE u.id = t.a) l GROUP BY l.a',
    'SELECT DISTINCT l.a FROM big t, LATERAL (SELECT * FROM big u WHERE u.id = t.a) l',
    'WITH w AS (SELECT * FROM big) SELECT * FROM w x JOIN w y ON x.id = y.id',
    'SELECT * FROM (SELECT count(*) AS id, a FROM big GROUP BY a) s WHERE id = 1',
    'SELECT * FROM (SELECT id, generate_series(1, 5000) AS g FROM big) s WHERE id = 1',
    'SELECT * FROM (SELECT * FROM big WHERE id = 1) s RIGHT JOIN other ON other.id = s.id',
  ])('%s is not bounded', (sql) => {
    expect(classOf(sql, catalog)).toBe('export');
  });
});

describe('a view that folds a big table', () => {
  const judged = (sql: string, rows = 1, foldedRows = 0) => {
    const answer = { meaning: null, estimate: { rows, foldedRows } };
    return analysed(sql, catalog, PUBLIC, null, [answer]).class;
  };

  it.each([
    'SELECT * FROM dump',
    'SELECT x FROM over_dump',
    'SELECT * FROM dump LIMIT 1',
    'SELECT max(all_of_it::text) FROM dump',
    'SELECT (SELECT x FROM over_dump)',
    'SELECT * FROM arrays WHERE id = 1',
    'SELECT * FROM unread_dump LIMIT 1',
    'SELECT * FROM over_unread LIMIT 1',
    'WITH d AS (SELECT * FROM dump) SELECT * FROM d',
    'INSERT INTO small (name) SELECT x FROM over_dump RETURNING *',
  ])('is an export: %s', (sql) => {
    expect(classOf(sql, catalog)).toBe('export');
    expect(judged(sql, 1, 100_000)).toBe('export');
  });

  it('is one only where the planner, too, expects many rows to be folded', () => {
    const sql = 'SELECT * FROM lists WHERE a = 3';
    expect(classOf(sql, catalog)).toBe('export');
    expect(judged(sql, 1, 100_000)).toBe('export');
    expect(judged(sql, 1, 20)).toBe('read');
  });

  it('and of a small one it only reads', () => {
    expect(classOf('SELECT * FROM small_dump', catalog)).toBe('read');
  });
});
