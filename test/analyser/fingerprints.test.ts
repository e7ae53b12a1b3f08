import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { Fingerprints } from '../../src/analyser/fingerprints.ts';
import { loadParser, parseHere } from '../../src/analyser/parser.ts';

beforeAll(loadParser);

const of = (sql: string, among = new Fingerprints()) => among.of(Buffer.from(sql));

describe('a fingerprint', () => {
  it('is that of libpg_query, and does not hang on constants, white space and comments', () => {
    expect(of('SELECT a FROM t WHERE id = 17')).toMatch(/^[0-9a-f]{16}$/);
    const same = [
      'SELECT a FROM t WHERE id = 17',
      'select a from t where id = 99999',
      "SELECT a /* b */ FROM t WHERE id = '17'",
      'SELECT a FROM t WHERE id = $1',
    ];
    expect(new Set(same.map((sql) => of(sql))).size).toBe(1);
  });

  it.each([
    ['SELECT a FROM t1 WHERE id = 1', 'SELECT a FROM t2 WHERE id = 1'],
    ['SELECT a1 FROM t', 'SELECT a2 FROM t'],
    ['SELECT a FROM t WHERE id = 1', 'SELECT a FROM t WHERE id > 1'],
    ['FETCH 1 FROM c', 'FETCH 2 FROM c'],
    ['SELECT "b 1" FROM t', 'SELECT "b 2" FROM t'],
    ['SELECT a$1 FROM t', 'SELECT a$2 FROM t'],
  ])('differs, also where the first is known already: %s; %s', (a, b) => {
    const among = new Fingerprints();
    expect(of(a, among)).not.toBe(of(b, among));
    expect(of(b, among)).toBe(of(b));
  });

  it('of the corpus is the same whether one alike was seen before or not, whatever numbers stand in it', () => {
    const lines = readFileSync(
      new URL('../../fixtures/statements/public-corpus.jsonl', import.meta.url),
      'utf8',
    );
    const texts = lines
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { sql: string }).sql)
      .filter((sql) => !sql.includes('\0') && sql.length < 20_000 && reads(sql));
    expect(texts.length).toBeGreaterThan(800);
    const among = new Fingerprints();
    fc.assert(
      fc.property(fc.constantFrom(...texts), fc.integer({ min: 0, max: 1e9 }), (sql, number) => {
        const other = sql.replace(/[0-9]+/g, String(number));
        fc.pre(reads(other));
        expect(of(other, among)).toBe(of(other));
      }),
      { numRuns: 3_000 },
    );
    for (const sql of texts) expect(of(sql, among)).toBe(of(sql));
  });
});

function reads(sql: string): boolean {
  try {
    return parseHere(sql).kind === 'tree';
  } catch {
    return false;
  }
}
