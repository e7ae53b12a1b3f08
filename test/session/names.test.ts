import { describe, expect, it } from 'vitest';
import { Names } from '../../src/session/names.ts';

describe('names', () => {
  it('have one confirmed value, and pending ones that count only in their own group', () => {
    const names = new Names<string, object>();
    const [a, b] = [{}, {}];
    names.propose('x', 'one', a, 1);
    expect(names.lookup('x', 1)).toEqual({ kind: 'found', value: 'one' });
    expect(names.lookup('x', 2)).toEqual({ kind: 'settle' });
    names.confirm(a);
    expect(names.lookup('x', 2)).toEqual({ kind: 'found', value: 'one' });
    names.propose('x', null, b, 2);
    expect(names.lookup('x', 2)).toEqual({ kind: 'absent' });
    names.drop(b);
    expect(names.lookup('x', 3)).toEqual({ kind: 'found', value: 'one' });
  });

  it('do not go back to an old value when a later change is dropped', () => {
    const names = new Names<string, object>();
    const [a, b] = [{}, {}];
    names.propose('x', 'one', a, 1);
    names.propose('x', 'two', b, 1);
    names.drop(a);
    names.confirm(b);
    expect(names.lookup('x', 2)).toEqual({ kind: 'found', value: 'two' });
  });
});
