import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../src/approval/canonical-json.ts';
import { attachKey, bindingDigest, bindingOf, bindingText, statementKey } from '../../src/approval/digest.ts';
import type { BoundParameter, Question } from '../../src/approval/port.ts';
import { question } from './support.ts';

describe('canonical JSON (RFC 8785)', () => {
  it('sorts by UTF-16 code units and writes strings as section 3.2.2.2 says', () => {
    // The example of section 3.2.3.
    const value = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\ud83d\ude00': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    };
    const order = ['Carriage Return', 'One', 'Control', 'Latin', 'Euro', 'Emoji', 'Hebrew'];
    const text = canonicalJson(value);
    expect([...text.matchAll(/:"([A-Z][a-z]+(?: Return)?)/g)].map(([, name]) => name)).toEqual(order);
    expect(canonicalJson('\u20ac$\u000f\nA\'B"\\"/')).toBe('"€$\\u000f\\nA\'B\\"\\\\\\"/"');
    expect(canonicalJson({ b: [1, -0, null, true], a: {} })).toBe('{"a":{},"b":[1,0,null,true]}');
  });

  it('refuses what has no one form here', () => {
    for (const value of [0.5, Number.NaN, 2 ** 53, '\ud800'])
      expect(() => canonicalJson(value)).toThrow(TypeError);
  });

  it('says the same whatever the order of keys, and parses to the same value', () => {
    const plain = fc.letrec<{ value: never }>((tie) => ({
      value: fc.oneof(
        fc.constant(null),
        fc.boolean(),
        fc.maxSafeInteger(),
        fc.string({ unit: 'grapheme' }),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(
          fc.string({ unit: 'grapheme' }).filter((key) => key !== '__proto__'),
          tie('value'),
          { maxKeys: 4 },
        ),
      ) as fc.Arbitrary<never>,
    })).value;
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.string().filter((key) => key !== '__proto__'),
          plain,
        ),
        (value) => {
          const text = canonicalJson(value);
          const reversed = Object.fromEntries(Object.entries(value).reverse());
          expect(canonicalJson(reversed)).toBe(text);
          expect(canonicalJson(JSON.parse(text))).toBe(text);
        },
      ),
    );
  });
});

const parameter: BoundParameter = { typeOid: 23, format: 0, value: Buffer.from('1'), shown: '1' };
const BASE = question({ parameters: [parameter, parameter] });

/** Every part of what is bound, changed alone. `attach`: whether the statement is another one for attaching too. */
const CHANGES: readonly (readonly [string, Partial<Question>, boolean])[] = [
  ['statement bytes', { sqlBytes: Buffer.from('DROP TABLE orders ') }, true],
  ['shown statement', { sql: 'SELECT 1' }, true],
  ['parameter value', { parameters: [parameter, { ...parameter, value: Buffer.from('2') }] }, true],
  ['parameter null', { parameters: [parameter, { ...parameter, value: null }] }, true],
  ['parameter empty', { parameters: [parameter, { ...parameter, value: Buffer.alloc(0) }] }, true],
  ['parameter type', { parameters: [parameter, { ...parameter, typeOid: 20 }] }, true],
  ['parameter format', { parameters: [parameter, { ...parameter, format: 1 }] }, true],
  ['shown parameter', { parameters: [parameter, { ...parameter, shown: 'one' }] }, true],
  ['number of parameters', { parameters: [parameter] }, true],
  ['no parameters', { parameters: [] }, true],
  ['simple protocol', { parameters: null }, true],
  ['result formats', { resultFormats: [1] }, true],
  ['agent', { session: { ...BASE.session, agent: 'b' } }, true],
  ['owner', { session: { ...BASE.session, owner: 'reviewer' } }, true],
  ['person acted for', { session: { ...BASE.session, onBehalfOf: 'principal' } }, true],
  ['run', { session: { ...BASE.session, run: 'run-2' } }, false],
  ['database', { session: { ...BASE.session, database: 'b' } }, true],
  ['role', { session: { ...BASE.session, role: 'b' } }, true],
  ['search_path', { searchPath: 'b' }, true],
  ['relation', { relations: [{ name: 'public.b', oid: 16_400, mode: 'write' }] }, true],
  ['relation OID', { relations: [{ name: 'public.orders', oid: 16_401, mode: 'write' }] }, true],
  ['call', { calls: ['public.f() OID 16500 00'] }, true],
  ['policy', { policyDigest: 'b' }, true],
  ['quorum', { demand: { ...BASE.demand, quorum: 2 } }, true],
  ['limits', { limits: { rows: 10, bytes: null } }, true],
];

describe('the binding', () => {
  it.each(CHANGES)('binds the %s', (_part, change, attach) => {
    const before = bindingOf(BASE, 'n', 1);
    const after = bindingOf({ ...BASE, ...change }, 'n', 1);
    expect(bindingDigest(after)).not.toBe(bindingDigest(before));
    expect(attachKey(after) !== attachKey(before)).toBe(attach);
  });

  it('binds nonce and expiry, which attaching does not look at', () => {
    const [a, b, c] = [bindingOf(BASE, 'n', 1), bindingOf(BASE, 'm', 1), bindingOf(BASE, 'n', 2)];
    expect(new Set([a, b, c].map(bindingDigest)).size).toBe(3);
    expect(new Set([a, b, c].map(attachKey)).size).toBe(1);
  });

  it('binds what people were told, which attaching does not look at', () => {
    const context = { claims: [], boundary: [], relations: [], findings: [], sent: null };
    const sent = { ...context, sent: { rows: '1', bytes: '2' } };
    const told = [
      BASE,
      { ...BASE, reasons: ['other'] },
      { ...BASE, class: 'other' },
      { ...BASE, rule: 'other' },
      { ...BASE, command: 'OTHER' },
      { ...BASE, inTransaction: !BASE.inTransaction },
      { ...BASE, context },
      { ...BASE, context: sent },
    ].map((question) => bindingOf(question, 'n', 1));
    expect(new Set(told.map(bindingDigest)).size).toBe(told.length);
    expect(new Set(told.map(attachKey)).size).toBe(1);
  });

  it('is the same for the order of relations and approvers, and for what is not about the statement', () => {
    const relations = [
      { name: 'a.b', oid: 1, mode: 'read' as const },
      { name: 'a.a', oid: null, mode: 'write' as const },
    ];
    const same = {
      ...BASE,
      relations,
      session: { ...BASE.session, sessionId: 's2', tls: true },
    };
    const turned = { ...BASE, relations: [...relations].reverse() };
    expect(bindingDigest(bindingOf(same, 'n', 1))).toBe(bindingDigest(bindingOf(turned, 'n', 1)));
  });

  it('recognises the same statement under another policy', () => {
    const other = bindingOf({ ...BASE, policyDigest: 'b', relations: [] }, 'n', 1);
    expect(statementKey(other)).toBe(statementKey(bindingOf(BASE, 'm', 2)));
  });

  it('keeps no statement and no parameter in its stored form', () => {
    const secret = question({
      sqlBytes: Buffer.from("ALTER ROLE a PASSWORD 'hunter2'"),
      sql: 'ALTER ROLE a PASSWORD ‹secret, 7 bytes›',
    });
    expect(bindingText(bindingOf(secret, 'n', 1))).not.toContain('hunter2');
  });
});
