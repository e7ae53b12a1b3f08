import { describe, expect, it } from 'vitest';
import { levenshtein, nearest } from '../../src/config/nearest.ts';

describe('the nearest word', () => {
  it.each([
    ['poeple', ['policy', 'people', 'upstream'], 'people'],
    ['PublicURL', ['publicUrl', 'address'], 'publicUrl'],
    ['user', ['users', 'owner'], 'users'],
    ['zzzzzzzz', ['address', 'tls'], null],
    ['x', [], null],
  ])('to %s in %j is %s', (word, candidates, expected) => {
    expect(nearest(word, candidates)).toBe(expected);
  });

  it('counts edits', () => {
    expect(levenshtein('kitten', 'sitting')).toBe(3);
    expect(levenshtein('', 'abc')).toBe(3);
    expect(levenshtein('same', 'same')).toBe(0);
  });
});
