import { afterEach, describe, expect, it, vi } from 'vitest';
import { ConfigError } from '../../src/config/errors.ts';
import { keepPolicy, problemsOf } from '../../src/config/policy-keeper.ts';
import type { Policy } from '../../src/policy/rule.ts';

const policy = (digest: string): Policy => ({ digest, rules: [] });

afterEach(() => vi.useRealTimers());

/** A keeper whose file holds, look by look, what is listed; the last stays. */
function keeperOf(found: readonly (string | Error)[]) {
  vi.useFakeTimers();
  let look = 0;
  const told: string[] = [];
  const keeper = keepPolicy({
    initial: policy('a'),
    load: async () => {
      const now = found[Math.min(look++, found.length - 1)] ?? '';
      if (now instanceof Error) throw now;
      return policy(now);
    },
    pollMs: 1_000,
    changed: (now, was) => told.push(`${was.digest} -> ${now.digest}`),
    failed: (error, kept) => told.push(`${error.message}; kept ${kept.digest}`),
  });
  return { keeper, told };
}

describe('a policy file', () => {
  it('that is being written counts when it has stayed the same for a while', async () => {
    const { keeper, told } = keeperOf(['half', 'nearly', 'whole', 'whole']);
    await vi.advanceTimersByTimeAsync(1_150);
    expect(keeper.current().digest).toBe('a');
    await vi.advanceTimersByTimeAsync(300);
    expect(keeper.current().digest).toBe('whole');
    expect(told).toEqual(['a -> whole']);
    keeper.close();
  });

  it('that cannot be used is told of once, until it is another problem', async () => {
    const { keeper, told } = keeperOf([
      new Error('one'),
      new Error('one'),
      new Error('half written'),
      new Error('two'),
      new Error('two'),
      'a',
      'a',
      'b',
    ]);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(told).toEqual(['one; kept a', 'two; kept a', 'a -> b']);
    keeper.close();
  });

  it('is not looked at after the end', async () => {
    const { keeper, told } = keeperOf(['b']);
    keeper.close();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(told).toEqual([]);
  });
});

it('a policy without a file never changes', async () => {
  const unexpected = () => {
    throw new Error('told of something');
  };
  const keeper = keepPolicy({
    initial: policy('a'),
    load: null,
    pollMs: 1,
    changed: unexpected,
    failed: unexpected,
  });
  await keeper.reload();
  expect(keeper.current().digest).toBe('a');
  keeper.close();
});

it('problems are told with file and line where there are some', () => {
  const error = new ConfigError({ code: 'config_syntax', file: 'p.yaml', line: 3, key: '', problem: 'bad' });
  expect(problemsOf(error)).toBe('p.yaml:3: bad');
  expect(problemsOf(new Error('no memory'))).toBe('the policy could not be read: no memory');
});
