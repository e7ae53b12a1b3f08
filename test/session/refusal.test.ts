import { describe, expect, it } from 'vitest';
import { decodeErrorFields } from '../../src/protocol/backend.ts';
import { type Refusal, rewriteError } from '../../src/session/refusal.ts';
import { B, F, rejection, TestSession } from './harness.ts';

const REFUSAL: Refusal = {
  marker: 'cs:test:7',
  fields: { C: '42501', M: 'denied', D: 'why', H: 'what now' },
  first: false,
  position: 'query',
};
const server = (code: string, message: string) => B.error(code, message);

describe('the answer to a substitute', () => {
  it('gets our fields, and none of those that name the place of the error', () => {
    const frame = rewriteError(server('42703', 'column "cs:test:7" does not exist'), REFUSAL);
    expect(decodeErrorFields(frame ?? Buffer.alloc(5))).toEqual({
      S: 'ERROR',
      V: 'ERROR',
      ...REFUSAL.fields,
    });
  });

  it.each([
    ['25P02', 'current transaction is aborted'],
    ['57014', 'canceling statement due to user request'],
    ['42703', 'column "cs:test:8" does not exist'],
    ['42P01', 'relation "cs:test:7" does not exist'],
  ])('is left as it is where it is another error: %s %s', (code, message) => {
    expect(rewriteError(server(code, message), REFUSAL)).toBeNull();
  });

  it.each([
    ['1', B.parseComplete()],
    ['2', B.bindComplete()],
    ['T', B.rowDescription()],
    ['C', B.complete('SELECT 1')],
    ['D', B.dataRow()],
  ])('ends the session where the server accepts it: %s', (_type, frame) => {
    for (const sent of [[F.query('deny x')], [F.parse('deny x', 'n'), F.sync(), F.bind('n'), F.sync()]]) {
      const s = new TestSession().f(...sent);
      if (sent.length > 1) s.b(B.parseComplete(), B.ready());
      s.b(frame);
      expect(s.kinds()).toContain('close');
      expect(s.client.at(-1) ?? '').not.toMatch(/^[12TCD]/);
    }
  });

  it('that is fatal goes on, and is not taken for a fault of ours', () => {
    const s = new TestSession().f(F.query('deny x'));
    s.b(B.error('57P01', 'terminating connection', 'FATAL'));
    expect(s.client.at(-1)).toBe('E:57P01 terminating connection');
    expect(s.kinds()).not.toContain('close');
  });
});

describe('markers', () => {
  it('are identifiers that the server does not cut, and no two are the same', () => {
    const s = new TestSession({ markerPrefix: 'c'.repeat(40) });
    const seen = new Set<string>();
    for (let i = 0; i < 50; i++) {
      s.f(F.query('deny x'));
      const sent = s.sent();
      const marker = /"([^"]+)"/.exec(sent[0] ?? '')?.[1] ?? '';
      expect(Buffer.byteLength(marker)).toBeLessThanOrEqual(63);
      seen.add(marker);
      s.b(B.error('42703', `column "${marker}" does not exist`), B.ready());
    }
    expect(seen.size).toBe(50);
  });

  it('of refusals that are skipped never come back, and nobody waits for them', () => {
    const s = new TestSession().f(F.parse('deny x', 'n'), F.sync()).b(B.parseComplete(), B.ready());
    s.sent();
    s.f(F.bind('n'), F.bind('n'), F.bind('n'), F.sync());
    const sent = s.sent();
    expect(sent.filter((one) => one.includes('cs:'))).toHaveLength(3);
    s.b(B.closeComplete(), B.parseComplete(), rejection(sent.slice(0, 3)), B.ready());
    // What the first one has left is taken away behind the Sync.
    s.b(B.closeComplete());
    expect(s.session.idle).toBe(true);
    s.f(F.query('read 1')).b(B.complete('SELECT 1'), B.ready());
    expect(s.client.slice(-2)).toEqual(['C', 'Z:I']);
  });
});
