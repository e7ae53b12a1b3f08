import { describe, expect, it } from 'vitest';
import { analysed, catalogOf, PUBLIC } from './support.ts';

const catalog = catalogOf({
  tables: { big: {}, small: { rows: 10 } },
  functions: { 'public.lower': {} },
  types: { 'public.odd': ['its check calls f'] },
});

/** The text that the server would be asked about, with its doubts; null: none. */
function asked(sql: string) {
  const doubt = analysed(sql, catalog).statements.at(-1)?.doubt ?? null;
  if (doubt === null) return null;
  const [from, to] = doubt.part ?? [0, 0];
  const text = Buffer.from(sql).toString('utf8', from, to);
  return { text, names: doubt.names, size: doubt.size, ...(doubt.types ? { types: doubt.types } : {}) };
}

const Q = "SELECT lower('A')";
const BIG = 'SELECT * FROM big WHERE a > 3';

describe('the query within', () => {
  it.each([
    [`EXPLAIN ${Q}`, Q],
    [`explain\n${Q}`, Q],
    [`EXPLAIN ANALYZE VERBOSE ${Q}`, Q],
    [`EXPLAIN (ANALYZE, FORMAT json) ${Q}`, Q],
    [`EXPLAIN (${Q})`, `(${Q})`],
    [`EXPLAIN (COSTS off) (${Q})`, `(${Q})`],
    [`EXPLAIN(COSTS off)${Q}`, Q],
    [`EXPLAIN (SELECT) UNION ${Q}`, `(SELECT) UNION ${Q}`],
    [`EXPLAIN WITH x AS (${Q}) SELECT * FROM x`, `WITH x AS (${Q}) SELECT * FROM x`],
    [`EXPLAIN INSERT INTO small SELECT length(lower('A'))`, `INSERT INTO small SELECT length(lower('A'))`],
    [`PREPARE p AS WITH x AS (${Q}) SELECT * FROM x`, `WITH x AS (${Q}) SELECT * FROM x`],
    [`EXPLAIN VALUES (lower('A'))`, `VALUES (lower('A'))`],
    [`PREPARE p AS ${Q}`, Q],
    [`PREPARE "p as select" AS ${Q}`, Q],
    [`PREPARE p(text)AS ${Q}`, Q],
    [`DECLARE c CURSOR FOR ${Q}`, Q],
    [`DECLARE "c é" BINARY NO SCROLL CURSOR WITHOUT HOLD FOR ${Q}`, Q],
    [`DECLARE c CURSOR WITH HOLD FOR ${Q}`, Q],
    [`SELECT 'é';  EXPLAIN ${Q}`, Q],
  ])('%s', (sql, text) => {
    expect(asked(sql)).toMatchObject({ text, names: true });
  });

  it('is asked about with the types that PREPARE declares', () => {
    expect(asked('PREPARE p (int, text, varchar(10), timestamptz) AS SELECT lower($2)')).toMatchObject({
      types: [23, 25, 1043, 1184],
    });
    expect(asked('PREPARE p AS SELECT lower($1)')).toMatchObject({ types: [] });
  });

  it('is asked for its size, where that can make a difference', () => {
    expect(asked(`PREPARE p AS ${BIG}`)).toEqual({ text: BIG, names: false, size: true, types: [] });
    expect(asked(`DECLARE c CURSOR FOR ${BIG}`)).toEqual({ text: BIG, names: false, size: true });
    expect(asked(`EXPLAIN ANALYZE ${BIG}`)).toEqual({ text: BIG, names: false, size: true });
    expect(asked(`EXPLAIN ${BIG}`)).toBeNull();
    expect(asked(`DECLARE c CURSOR WITH HOLD FOR ${BIG}`)).toBeNull();
    expect(asked('PREPARE p (int) AS SELECT * FROM big WHERE a > $1')).toBeNull();
  });
});

it.each([
  `EXPLAIN /* SELECT 1; */ ${Q}`,
  `EXPLAIN -- SELECT\n${Q}`,
  `PREPARE p/**/AS ${Q}`,
  `PREPARE pä AS ${Q}`,
  `PREPARE p (odd) AS ${Q}`,
  `PREPARE p (int[]) AS ${Q}`,
  `PREPARE p (public.text) AS ${Q}`,
  `EXPLAIN CREATE TABLE x AS ${Q}`,
  `EXPLAIN DECLARE c CURSOR FOR ${Q}`,
])('nobody asks where it is not certain: %s', (sql) => {
  expect(asked(sql)).toBeNull();
  expect(['opaque', 'unparsed']).toContain(analysed(sql, catalog).class);
});

describe('with the answer', () => {
  const none = new Set<number>();
  const meaning = {
    functions: none,
    operators: none,
    relations: new Set([30_000]),
    flowing: none,
    made: none,
    json: false,
  };
  const judged = (sql: string) =>
    analysed(sql, catalog, PUBLIC, null, [{ meaning, estimate: { rows: 20, foldedRows: 0 } }]);

  it.each([
    [`EXPLAIN ${Q}`, 'read'],
    [`EXPLAIN ANALYZE ${Q}`, 'read'],
    [`PREPARE p AS ${Q}`, 'read'],
    [`PREPARE p (text) AS SELECT lower($1)`, 'read'],
    [`DECLARE c CURSOR FOR ${Q}`, 'read'],
    [`PREPARE p AS ${BIG}`, 'read'],
    [`DECLARE c CURSOR FOR ${BIG}`, 'read'],
    [`DECLARE c CURSOR WITH HOLD FOR ${Q}`, 'export'],
    // What is around the query was not asked about.
    [`PREPARE p (odd) AS ${Q}`, 'opaque'],
    [`EXPLAIN EXECUTE p(lower('A'))`, 'opaque'],
    [`EXPLAIN CREATE TABLE x AS ${Q}`, 'opaque'],
  ])('%s is %s', (sql, found) => {
    expect(judged(sql).class).toBe(found);
  });

  it('what is known by name is what the answer made of it', () => {
    const [prepared] = judged(`PREPARE p AS ${BIG}`).statements;
    expect(prepared?.symbols).toMatchObject([
      { kind: 'prepare', body: { class: 'read', measured: 'export', doubt: null } },
    ]);
    const [declared] = judged(`DECLARE c CURSOR FOR ${BIG}`).statements;
    expect(declared).toMatchObject({
      measured: 'export',
      symbols: [{ body: { class: 'read', measured: 'export' } }],
    });
  });
});
