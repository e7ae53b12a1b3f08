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
  ])('held: %s', (_, sql) => {
    expect(flows(judged(sql))).toBe(false);
  });

  test.each([
    ['ANALYZE of a table without user code', 'ANALYZE lab.plain'],
    ['one call of a proved function', 'SELECT * FROM lab.ok_rows(3)'],
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
    ['counted', 'SELECT count(*) FROM (SELECT unnest(marks) FROM lab.arrays) s', 1],
  ])('rows are bounded by nothing but a limit: %s', (_, sql, bound) => {
    expect(judged(sql)).toMatchObject({ class: 'read', statements: [{ rowBound: bound }] });
  });
});
