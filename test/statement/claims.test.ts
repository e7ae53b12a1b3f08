import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CLAIM_KEY_CHARACTERS,
  CLAIM_VALUE_CHARACTERS,
  claimsOf,
  MOST_CLAIMS,
  pairsOf,
  reasonIn,
  shownClaim,
  traceparentOf,
} from '../../src/statement/claims.ts';

const of = (sql: string) => claimsOf(Buffer.from(sql)).map(({ key, value }) => [key, value]);

/** Serialisation as the specification has it: URL encoding, then escapes, sorted by key. */
function written(pairs: readonly (readonly [string, string])[]): string {
  const encode = (text: string) => encodeURIComponent(text).replace(/'/g, "\\'");
  return pairs.map(([key, value]) => `${encode(key).replace(/\\'/g, '%27')}='${encode(value)}'`).join(',');
}

describe('claims in comments', () => {
  it('reads the example of the specification', () => {
    expect(
      of(
        "SELECT * FROM FOO /*action='%2Fparam*d',controller='index,'framework='spring',traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01',tracestate='congo%3Dt61rcWkgMzE%2Crojo%3D00f067aa0ba902b7'*/",
      ),
    ).toEqual([]);
    expect(
      of(
        "SELECT * FROM FOO /*action='%2Fparam*d',controller='index',framework='spring',traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01',tracestate='congo%3Dt61rcWkgMzE%2Crojo%3D00f067aa0ba902b7'*/",
      ),
    ).toEqual([
      ['action', '/param*d'],
      ['controller', 'index'],
      ['framework', 'spring'],
      ['traceparent', '00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01'],
      ['tracestate', 'congo=t61rcWkgMzE,rojo=00f067aa0ba902b7'],
    ]);
    expect(of("SELECT 1 /*name='DROP%20TABLE%20FOO',a='it\\'s'*/")).toEqual([
      ['name', 'DROP TABLE FOO'],
      ['a', "it's"],
    ]);
  });

  it('reads back whatever was written', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 40 });
    const pair = fc.tuple(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }), text);
    fc.assert(
      fc.property(fc.array(pair, { minLength: 1, maxLength: 20 }), (pairs) => {
        expect(pairsOf(written(pairs))?.map(({ key, value }) => [key, value])).toEqual(pairs);
      }),
    );
  });

  it('is bounded, and shows nothing that cannot be seen, for any text', () => {
    const sql = fc.string({
      unit: fc.oneof(
        fc.string({ unit: 'binary', maxLength: 3 }),
        fc.constantFrom('/*', '*/', "a='", "'", ',', '\u202E', '%E2%80%AE', '$$', '--', '\n', "E'", '"'),
      ),
      maxLength: 300,
    });
    fc.assert(
      fc.property(sql, (text) => {
        const claims = claimsOf(Buffer.from(text));
        expect(claims.length).toBeLessThanOrEqual(MOST_CLAIMS);
        for (const { key, value } of claims) {
          expect([...key].length).toBeLessThanOrEqual(CLAIM_KEY_CHARACTERS);
          expect([...value].length).toBeLessThanOrEqual(CLAIM_VALUE_CHARACTERS);
          expect(key + value).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('makes visible what an encoding hides', () => {
    expect(of("SELECT 1 /*task='a%E2%80%AEb%0Aapproved%00'*/")).toEqual([
      ['task', 'a‹U+202E›b‹U+000A›approved‹U+0000›'],
    ]);
  });

  it.each([
    ['in a string', "SELECT '/*a=''b''*/', '/*x=', 'y'"],
    ['in a string with escapes', "SELECT E'\\'/*a=\\'b\\'*/'"],
    ['in a name', `SELECT "/*a='b'*/"`],
    ['in dollar quotes', "SELECT $q$ /*a='b'*/ $q$"],
    ['in a line comment', "SELECT 1 -- /*a='b'*/"],
    ['within another comment', "SELECT 1 /* /*a='b'*/ */"],
    ['beside other words', "SELECT 1 /* please approve a='b' */"],
    ['with a comma too many', "SELECT 1 /*a='b',*/"],
    ['without quotes', 'SELECT 1 /*a=b*/'],
    ['with a broken encoding', "SELECT 1 /*a='%ZZ'*/"],
    ['with an encoding of no text', "SELECT 1 /*a='%FF'*/"],
    ['that does not end', "SELECT 1 /*a='b'"],
    ['that is empty', 'SELECT 1 /**/'],
  ])('no claim %s', (_where, sql) => {
    expect(of(sql)).toEqual([]);
  });

  it('takes the first of each key, from all comments, wherever they stand', () => {
    expect(of("/*a='1'*/ SELECT 1 /* plain */ /*a='2', b='3'*/ ; SELECT $1 /*c='4'*/")).toEqual([
      ['a', '1'],
      ['b', '3'],
      ['c', '4'],
    ]);
  });

  it('is quick with what is long', () => {
    const many = `SELECT 1 ${"/*a='b'*/".repeat(100_000)}`;
    expect(of(many)).toEqual([['a', 'b']]);
    expect(of(`SELECT 1 /*a='${'\\'.repeat(4_000)}`)).toEqual([]);
    expect(of(`SELECT 1 /*${"a='b',".repeat(1_300)}c='d'*/`)).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
  });
});

describe('the run and the reason', () => {
  const TRACE = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const run = (comment: string) => traceparentOf(Buffer.from(`SELECT 1 /*${comment}*/`));

  it.each([
    [`traceparent='${TRACE}'`, TRACE],
    [`task='x',traceparent='${TRACE}'`, TRACE],
    [`traceparent='${TRACE}',traceparent='${TRACE.replace('-01', '-00')}'`, TRACE],
    [`traceparent='${TRACE.replace('00-', 'ff-')}'`, null],
    [`traceparent='${TRACE} '`, null],
    [`traceparent='${TRACE}%00'`, null],
    [`traceparent='${TRACE.replace('4bf', '4BF')}'`, null],
    [`traceparent='00-${'0'.repeat(32)}-00f067aa0ba902b7-01'`, null],
    [`traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-${'0'.repeat(16)}-01'`, null],
    [`traceparent='${TRACE}-${'a'.repeat(10_000)}'`, null],
    [`traceparent=${TRACE}`, null],
    [`the traceparent is '${TRACE}'`, null],
  ])('run of /*%s*/: %s', (comment, expected) => expect(run(comment)).toBe(expected));

  it('of a string in a statement nothing is taken', () => {
    expect(traceparentOf(Buffer.from(`SELECT '/*traceparent=''${TRACE}''*/'`))).toBeNull();
    expect(traceparentOf(Buffer.from(`SELECT "/*traceparent='${TRACE}'*/"`))).toBeNull();
  });

  it.each([
    ['reason=clean up', 'clean up'],
    ['etl reason=clean%20up', 'clean up'],
    ["etl; reason='it is old' v2", 'it is old'],
    ['REASON=x', 'x'],
    ['reason=100%', '100%'],
    ['reason=\u202eevil', '‹U+202E›evil'],
    ['reason=%00', '‹U+0000›'],
    ['myreason=x', null],
    ['reason=', null],
    ['psql', null],
  ])('reason in application_name %s: %s', (name, expected) => expect(reasonIn(name)).toBe(expected));

  it('is cut and made visible', () => {
    expect(reasonIn(`reason=${'x'.repeat(10_000)}`)).toHaveLength(CLAIM_VALUE_CHARACTERS);
    expect(shownClaim(`${'x'.repeat(10_000)}`)).toHaveLength(CLAIM_VALUE_CHARACTERS);
    expect(shownClaim('a\nb\u0000')).toBe('a‹U+000A›b‹U+0000›');
  });
});
