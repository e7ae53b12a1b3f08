import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { B, F, TestSession } from './harness.ts';

const long = 'a secret '.repeat(500);

describe('the text of an error', () => {
  it('passes where as much of the result would', () => {
    const s = new TestSession().f(F.query('measured 1'));
    s.b(B.error('22P02', long), B.ready());
    expect(s.client.join()).toContain('a secret');
  });

  it('is left out where it is longer than what may pass, and what kind of error it is stays', () => {
    const s = new TestSession({ limits: { ...DEFAULT_LIMITS, exportBytes: 2_000 } }).f(F.query('measured 1'));
    s.b(B.error('22P02', long), B.ready());
    expect(s.client[0]).toMatch(/^E:22P02 countersign: the server's message of 4\d{3} bytes was left out/);
    expect(s.client.join()).not.toContain('a secret');
    expect(s.client.at(-1)).toBe('Z:I');
    expect(s.outcomes()).toEqual(['1 failed']);
  });

  it('passes where it is short', () => {
    const s = new TestSession({ limits: { ...DEFAULT_LIMITS, exportBytes: 1 } }).f(F.query('measured 1'));
    s.b(B.error('22P02', 'a secret'), B.ready());
    expect(s.client[0]).toContain('a secret');
  });
});
