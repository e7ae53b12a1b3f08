import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';

let analyser: Analyser;
beforeAll(async () => {
  analyser = await loadAnalyser(DEFAULT_LIMITS);
});
afterAll(() => analyser.close());

const classOf = (sql: string) =>
  analyse(
    analyser.parse(Buffer.from(sql)),
    null,
    { searchPath: ['public'], tempPossible: false },
    DEFAULT_LIMITS,
  ).class;

describe('the connection strings of subscriptions', () => {
  it.each([
    'SELECT count(*) FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())',
    'SELECT subname, subenabled FROM pg_catalog.pg_subscription s ORDER BY 1',
    'SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid',
    'EXPLAIN SELECT subname FROM pg_subscription',
  ])('are not read by %s', (sql) => {
    expect(classOf(sql)).toBe('read');
  });

  it.each([
    'SELECT subconninfo FROM pg_subscription',
    'SELECT * FROM pg_subscription',
    'TABLE pg_subscription',
    'SELECT s.* FROM pg_subscription s',
    'SELECT s FROM pg_subscription s',
    'SELECT pg_subscription FROM pg_subscription',
    'SELECT (s).subconninfo FROM pg_subscription s',
    'SELECT row_to_json(s) FROM pg_subscription AS s',
    'SELECT e FROM pg_subscription AS s(a, b, c, d, e)',
    'SELECT e FROM (pg_subscription CROSS JOIN (SELECT 1) z) AS j(a, b, c, d, e)',
    'SELECT j FROM (pg_subscription CROSS JOIN (SELECT 1) z) AS j',
    'SELECT 1 FROM pg_subscription NATURAL JOIN pg_database',
    'SELECT 1 FROM pg_subscription JOIN (SELECT 1 AS subconninfo) z USING (subconninfo)',
    'SELECT subname FROM pg_subscription ORDER BY "subconninfo"',
    'SELECT (SELECT max(subconninfo) FROM pg_subscription)',
    'WITH s AS (SELECT * FROM pg_subscription) SELECT subname FROM s',
    'SELECT subname FROM pg_subscription UNION SELECT U&"subconnin\\0066o" FROM pg_subscription',
    'COPY pg_subscription TO STDOUT',
    'COPY (SELECT subconninfo FROM pg_subscription) TO STDOUT',
    'PREPARE p AS SELECT subconninfo FROM pg_subscription',
    'DECLARE c CURSOR FOR SELECT subconninfo FROM pg_subscription',
  ])('are secret: %s', (sql) => {
    expect(classOf(sql)).toBe('privilege');
  });
});
