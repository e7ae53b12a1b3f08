import { describe, expect, it } from 'vitest';
import type { NameScope, StatementAnalysis } from '../../src/statement/analysis.ts';
import type { Estimate } from '../../src/statement/answers.ts';
import type { Catalog } from '../../src/statement/catalog.ts';
import { analysed, catalogOf, PUBLIC } from './support.ts';

const catalog = catalogOf({
  tables: {
    big: { rows: 100_000, columns: ['id', 'a', 'b'] },
    small: { rows: 50 },
    trapped: { rows: 100_000, effects: { read: ['a policy calls f'] } },
  },
  functions: { 'public.f': {} },
});

function judged(
  sql: string,
  estimate: Estimate | null = null,
  scope: NameScope = PUBLIC,
  known: Catalog | null = catalog,
): StatementAnalysis {
  const [first] = analysed(sql, known, scope, null, [{ meaning: null, estimate }]).statements;
  if (first === undefined) throw new Error('there is no statement');
  return first;
}

const rows = (n: number, folded = 0): Estimate => ({ rows: n, foldedRows: folded });
const SOME = 'SELECT * FROM big WHERE a > 5';

describe('a doubt about size', () => {
  it.each([
    SOME,
    'TABLE big',
    'WITH x AS (SELECT * FROM big WHERE a > 5) SELECT * FROM x ORDER BY b',
    'SELECT * FROM big WHERE a > 5 UNION SELECT * FROM big WHERE b = 2',
    'SELECT json_agg(big) FROM big WHERE a = 7',
    'SELECT ARRAY(SELECT id FROM big WHERE a = 7)',
    'SELECT * FROM big WHERE a > 5 FOR UPDATE',
    'SELECT * FROM big WHERE a > $1',
  ])('is there for %s', (sql) => {
    const { doubt, class: found, measured } = judged(sql);
    expect([found, measured]).toEqual(['export', null]);
    expect(doubt).toEqual({ names: false, size: true, searchPath: ['public'] });
  });

  it.each([
    'SELECT * FROM big WHERE id = 1',
    'SELECT * FROM small',
    'COPY (SELECT * FROM big WHERE a > 5) TO STDOUT',
    'COPY big TO STDOUT',
    'DECLARE c CURSOR WITH HOLD FOR SELECT * FROM big WHERE a > 5',
    'CREATE TABLE t AS SELECT * FROM big WHERE a > 5',
    'SELECT * INTO t FROM big WHERE a > 5',
    'SELECT f(id) FROM big WHERE a > 5',
    'SELECT * FROM trapped',
    'SELECT * FROM nowhere',
    'SELECT * FROM pg_temp.big',
    "SELECT query_to_xml('SELECT * FROM big', true, true, '')",
    'SELECT lo_get(id) FROM big WHERE a > 5',
    "SELECT nextval('s') FROM big WHERE a > 5",
    'INSERT INTO small SELECT * FROM big WHERE a > 5 RETURNING *',
    'UPDATE big SET a = 1 WHERE a > 5 RETURNING *',
    'DELETE FROM big WHERE a > 5',
    'WITH d AS (DELETE FROM small RETURNING *) SELECT * FROM big WHERE a > 5',
    'WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT r.n + 1 FROM r JOIN big ON big.a = r.n) SELECT * FROM r',
  ])('is not there for %s', (sql) => {
    expect(judged(sql).doubt?.size ?? false).toBe(false);
    // An answer that nobody asked for changes nothing.
    expect(judged(sql, rows(1, 1)).class).toBe(judged(sql).class);
    expect(judged(sql, rows(1, 1)).measured).toBe(null);
  });

  it('is not there where names are not certain, nor without a catalog', () => {
    expect(judged(SOME, null, { searchPath: null, tempPossible: false }).doubt).toBeNull();
    expect(judged(SOME, null, { searchPath: ['public'], tempPossible: true }).doubt).toBeNull();
    expect(judged(SOME, null, PUBLIC, null).doubt).toBeNull();
    const temp = { searchPath: ['public'], tempPossible: true };
    expect(judged(SOME, rows(1), temp).class).not.toBe('read');
  });

  it('names the search_path where the statement stands', () => {
    const { statements } = analysed(`SET search_path = public, other; ${SOME}`, catalog);
    expect(statements[1]?.doubt?.searchPath).toEqual(['public', 'other']);
  });

  it('belongs to one statement of a string, and so does the answer', () => {
    const answer = { meaning: null, estimate: rows(10) };
    const judge = (sql: string) =>
      analysed(sql, catalog, PUBLIC, null, [null, answer]).statements.map((s) => [
        s.class,
        s.measured,
        s.doubt !== null,
      ]);
    const plain = ['read', null, false];
    expect(judge(`SELECT 1; ${SOME}`)).toEqual([plain, ['read', 'export', false]]);
    expect(judge(`${SOME}; SELECT 1`)).toEqual([['export', null, true], plain]);
  });
});

describe('an estimate in a string of several statements', () => {
  const answers = [null, { meaning: null, estimate: rows(10) }, null];
  const classes = (sql: string) =>
    analysed(sql, catalog, PUBLIC, null, answers).statements.map((s) => [s.class, s.measured]);

  it('is enough beside reads and settings', () => {
    expect(classes(`SELECT 1; ${SOME}; SET work_mem = '4MB'`)).toEqual([
      ['read', null],
      ['read', 'export'],
      ['session', null],
    ]);
  });

  it.each(['INSERT INTO small VALUES (1)', 'COMMIT', "SELECT nextval('s')"])(
    'is not enough beside %s, which may have run when the result is stopped',
    (other) => {
      expect(classes(`SELECT 1; ${SOME}; ${other}`)[1]).toEqual(['export', null]);
      const { class: found, reasons } = analysed(
        `SELECT 1; ${SOME}; ${other}`,
        catalog,
        PUBLIC,
        null,
        answers,
      );
      expect(found).toBe('export');
      expect(reasons.join()).toContain('too uncertain in one string with');
    },
  );
});

describe('an estimate', () => {
  it('within the limit lets the statement flow, measured', () => {
    expect(judged(SOME, rows(1_000))).toMatchObject({ class: 'read', measured: 'export', doubt: null });
    expect(judged(SOME, rows(0))).toMatchObject({ class: 'read', measured: 'export' });
  });

  it('above it holds, and is the reason', () => {
    expect(judged(SOME, rows(60_000))).toMatchObject({
      class: 'export',
      measured: null,
      doubt: null,
      reasons: ["may return about 60,000 rows by the planner's estimate; the limit is 1,000"],
    });
    expect(judged(SOME, rows(5_001)).class).toBe('export');
    // What is near the limit is measured.
    expect(judged(SOME, rows(5_000))).toMatchObject({ class: 'read', measured: 'export' });
    expect(judged(SOME, rows(Number.NaN)).class).toBe('export');
  });

  it('that does not come in time lets flow what can be measured, and nothing that is folded', () => {
    const late = (sql: string) => {
      const answer = { meaning: null, estimate: null, late: true };
      return analysed(sql, catalog, PUBLIC, null, [answer]).statements[0];
    };
    expect(late(SOME)).toMatchObject({ class: 'read', measured: 'export', doubt: null });
    expect(late('SELECT json_agg(big) FROM big WHERE a > 7')).toMatchObject({
      class: 'export',
      measured: null,
    });
    expect(late('COPY (SELECT * FROM big WHERE a > 5) TO STDOUT')).toMatchObject({ class: 'export' });
    expect(late('DELETE FROM big WHERE a > 5 RETURNING *')?.class).toBe('export');
  });

  it('counts what is folded, where something is', () => {
    const fold = 'SELECT json_agg(big) FROM big WHERE a > 7';
    expect(judged(fold, rows(1, 900))).toMatchObject({ class: 'read', measured: 'export' });
    expect(judged(fold, rows(1, 5_000))).toMatchObject({
      class: 'export',
      reasons: ["folds about 5,000 rows into few values by the planner's estimate; the limit is 1,000"],
    });
    expect(judged('SELECT a, count(*) FROM big GROUP BY a', rows(40, 100_000)).class).toBe('read');
  });

  it('of rows does not count where the text bounds them', () => {
    const fold = 'SELECT b.id, (SELECT json_agg(c) FROM big c WHERE c.a = b.id) FROM big b LIMIT 20';
    expect(judged(fold, rows(100_000, 400)).class).toBe('read');
    expect(judged(fold, rows(100_000, 4_000)).class).toBe('export');
  });
});

describe('a read of system catalogs alone', () => {
  const system = (rows: number | null) =>
    catalogOf({
      tables: {
        pg_class: { schema: 'pg_catalog', rows, columns: ['oid', 'relname'] },
        pg_attribute: { schema: 'pg_catalog', rows: 3_000, columns: ['attrelid', 'attname'] },
        big: { rows: 1_000_000 },
      },
    });
  const measured = (sql: string, rows: number | null = 2_000) => {
    const { class: found, statements } = analysed(sql, system(rows));
    return [found, statements.at(-1)?.measured];
  };

  it.each([
    ['SELECT * FROM pg_class', 200_000],
    ['SELECT * FROM pg_class', null],
    ['SELECT * FROM pg_class, pg_attribute', 2_000],
    ['SELECT * FROM (SELECT relname FROM pg_class) c ORDER BY 1', null],
    ['EXPLAIN ANALYZE SELECT * FROM pg_class', null],
    ['SELECT 1; SELECT * FROM pg_class', null],
    ['CREATE TABLE t (); SELECT * FROM pg_class', null],
  ])('%s flows, or is what the rest makes it, and is measured by its own limit', (sql, rows) => {
    expect(measured(sql, rows)).toEqual([sql.startsWith('CREATE') ? 'ddl' : 'read', 'catalog']);
  });

  it('is not measured where it is known to be small, nor what reads no relation at all', () => {
    expect(measured('SELECT * FROM pg_class')).toEqual(['read', null]);
    expect(measured('SELECT * FROM pg_class LIMIT 10', null)).toEqual(['read', null]);
    expect(measured('SELECT 1')).toEqual(['read', null]);
  });

  it("with a table of users' it is as any other", () => {
    expect(measured('SELECT * FROM pg_class, big')).toEqual(['export', null]);
  });
});
