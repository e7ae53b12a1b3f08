import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';
import { createLaboratory, type Laboratory } from './laboratory.ts';
import { flows } from './verdict.ts';

let analyser: Analyser;
let laboratory: Laboratory;

function judged(sql: string) {
  const scope = { searchPath: ['lab'], tempPossible: false };
  return analyse(analyser.parse(Buffer.from(sql)), laboratory.catalog, scope, DEFAULT_LIMITS);
}

/** What the oracle found: each of these flowed, or had a bound that the server went beyond. */
describe.skipIf(inject('postgres').major < 18)('found by the oracle', () => {
  beforeAll(async () => {
    analyser = await loadAnalyser(DEFAULT_LIMITS);
    laboratory = await createLaboratory('oracle_found', 'oracle-schema.sql', analyser);
  });
  afterAll(async () => {
    await laboratory?.drop();
    await analyser?.close();
  });

  test.each([
    ['ANALYZE evaluates the expressions of an index', 'ANALYZE lab.idx'],
    ['ANALYZE evaluates what statistics are over', 'ANALYZE lab.checked'],
    ['ANALYZE without a table works on every table', 'ANALYZE'],
    ['the declared type of a parameter is a domain', "PREPARE s (lab.trip_dom) AS SELECT 1; EXECUTE s ('x')"],
    [
      'a set-returning function of a user, once for each row',
      'SELECT lab.ok_page(id * 400) FROM lab.owner_of',
    ],
    ['the same in FROM', 'SELECT mark FROM generate_series(0, 2) g, lab.ok_k(g)'],
    ['the same side by side', 'SELECT lab.ok_k(1), lab.ok_k(2)'],
    ['a body that is stored as a tree was not measured', 'SELECT mark FROM lab.ok_all() LIMIT 1001'],
    ['nor what such a body folds', 'SELECT lab.ok_fold()'],
    [
      'the type of a row is made from JSON',
      `SELECT (jsonb_populate_recordset(d, '[{"v": "q"}]')).* FROM lab.domained d`,
    ],
    [
      'grouped by an alias in a sub-query',
      'SELECT * FROM (SELECT mark t, count(*) FROM lab.large GROUP BY t) s',
    ],
    ['an alias that hides a column', 'SELECT DISTINCT ON (k) mark AS k FROM lab.large'],
    ['the same in a sub-query', 'SELECT * FROM (SELECT DISTINCT ON (t) mark t FROM lab.large) s'],
    ['a literal beside an array of a domain', "SELECT arr || 'x' FROM lab.domrow"],
    ['a literal compared with one', "SELECT 1 FROM lab.domrow WHERE arr = '{x}'"],
    [
      'a value is cast by what is stored in WITH',
      'WITH x AS (INSERT INTO lab.small (id, qty) SELECT id + 500, b FROM lab.badged) SELECT 1',
    ],
    ['a value under another name', 'SELECT z + 1 FROM (SELECT b AS z FROM lab.badged) s'],
    ['the same twice', 'SELECT y + 1 FROM (SELECT z AS y FROM (SELECT b AS z FROM lab.badged) s) t'],
    ['the same by a list of names', 'WITH c (i, z) AS (SELECT * FROM lab.badged) SELECT z + 1 FROM c'],
    ['a value as a subscript', 'SELECT (ARRAY[1, 2])[b] FROM lab.badged'],
    ['a value as a limit', 'SELECT 1 FROM lab.badged x, LATERAL (SELECT 1 LIMIT x.b) y'],
    ['a value in a row of VALUES', 'SELECT 1 FROM lab.badged x, LATERAL (VALUES (x.b), (1)) y'],
    [
      'an aggregate of the query around, beside rows of a large table',
      'SELECT ARRAY(SELECT max(o.id)::text || l.mark FROM lab.large l) FROM lab.owner_of o',
    ],
    [
      'the same behind a query',
      'SELECT ARRAY(SELECT max((SELECT o.id))::text || l.mark FROM lab.large l) FROM lab.owner_of o',
    ],
  ])('held: %s', (_, sql) => {
    expect(flows(judged(sql))).toBe(false);
  });

  test.each([
    ['ANALYZE of a table without user code', 'ANALYZE lab.plain'],
    ['one call of a proved function', 'SELECT * FROM lab.ok_rows(3)'],
    ['a domain whose check is built in', 'SELECT o + 1 FROM lab.ordered WHERE o = 3'],
    ['a limited read of such a body', 'SELECT mark FROM lab.ok_all() LIMIT 5'],
    ['a value that stays as it is', 'SELECT b AS z FROM lab.badged WHERE b IS NOT NULL ORDER BY b'],
    ['a declared type without a check', 'PREPARE s (lab.mood) AS SELECT $1; EXECUTE s (NULL)'],
  ])('not held: %s', (_, sql) => {
    expect(flows(judged(sql))).toBe(true);
  });

  test.each([
    ['unfolded values', 'SELECT jsonb_array_elements(j) FROM lab.arrays', null],
    ['unfolded in FROM', 'SELECT e FROM lab.arrays a, unnest(a.marks) e', null],
    [
      'a document as a table',
      "SELECT x.y FROM lab.arrays, JSON_TABLE(j, '$[*]' COLUMNS (y text PATH '$')) x",
      null,
    ],
    ['below a sub-query', 'SELECT * FROM (SELECT unnest(marks) FROM lab.arrays) s', null],
    ['with a limit', 'SELECT unnest(marks) FROM lab.arrays LIMIT 7', 7],
    [
      'grouped',
      "SELECT zz FROM (SELECT a1.v t, JSON_OBJECTAGG('a' VALUE a1.id) FROM lab.parent a1 GROUP BY t) zz LIMIT 10",
      10,
    ],
    ['counted', 'SELECT count(*) FROM (SELECT unnest(marks) FROM lab.arrays) s', 1],
    ["an aggregate of a user's, of no rows", 'SELECT lab.ok_prod(1) FROM lab.excluded', 1],
    ['the same where nothing can be true', 'SELECT lab.ok_prod(id) FROM lab.small WHERE false', 1],
    [
      'an aggregate of the query around, of no rows',
      'SELECT (SELECT max(a.s) FROM lab.owner_of o LIMIT 1) FROM lab.excluded a',
      1,
    ],
  ])('rows are bounded by nothing but a limit: %s', (_, sql, bound) => {
    expect(judged(sql)).toMatchObject({ class: 'read', statements: [{ rowBound: bound }] });
  });
});
