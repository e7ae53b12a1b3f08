import { describe, expect, it } from 'vitest';
import { Allowance, Allowances } from '../../src/proxy/allowance.ts';

const taken = (count: number, take: () => boolean) =>
  Array.from({ length: count }, take).filter(Boolean).length;

describe('an allowance', () => {
  it('is four seconds full at first, and fills again as time goes by', () => {
    const allowance = new Allowance(5);
    expect(taken(100, () => allowance.take(0))).toBe(20);
    expect(taken(100, () => allowance.take(1_000))).toBe(5);
    expect(taken(100, () => allowance.take(1_100))).toBe(0);
    expect(taken(100, () => allowance.take(100_000))).toBe(20);
  });

  it('is not filled by a clock that goes back', () => {
    const allowance = new Allowance(5);
    expect(taken(100, () => allowance.take(10_000))).toBe(20);
    expect(taken(100, () => allowance.take(0))).toBe(0);
  });
});

describe('allowances by address', () => {
  it('leave others theirs, up to what all have together', () => {
    const allowances = new Allowances(2, 1);
    expect(taken(100, () => allowances.take('10.0.0.1', 0))).toBe(4);
    expect(taken(100, () => allowances.take('10.0.0.2', 0))).toBe(4);
    expect(taken(100, () => allowances.take('10.0.0.3', 0))).toBe(0);
  });

  it('do not use up what all have together with what is refused to one', () => {
    const allowances = new Allowances(2, 1);
    taken(1_000, () => allowances.take('10.0.0.1', 0));
    expect(taken(100, () => allowances.take('10.0.0.2', 0))).toBe(4);
  });
});
