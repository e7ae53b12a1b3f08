import { expect, it } from 'vitest';
import { paintFor } from '../../src/cli/paint.ts';

const RED = '\u001b[31mx\u001b[39m';

it.each([
  ['a terminal', {}, true, RED],
  ['a pipe', {}, undefined, 'x'],
  ['a terminal that can do nothing', { TERM: 'dumb' }, true, 'x'],
  ['a terminal, where NO_COLOR says so', { NO_COLOR: '1' }, true, 'x'],
  ['a terminal, where NO_COLOR is empty', { NO_COLOR: '' }, true, RED],
  ['a pipe, where FORCE_COLOR says so', { FORCE_COLOR: '1' }, undefined, RED],
  ['a pipe, where FORCE_COLOR is empty', { FORCE_COLOR: '' }, undefined, RED],
  ['a terminal, where FORCE_COLOR says none', { FORCE_COLOR: '0' }, true, 'x'],
  ['a terminal, where FORCE_COLOR is false', { FORCE_COLOR: 'false' }, true, 'x'],
  ['a pipe, where both are set', { FORCE_COLOR: '1', NO_COLOR: '1' }, undefined, RED],
])('%s', (_, env: Readonly<Record<string, string>>, isTTY, painted) => {
  expect(paintFor(env, isTTY === undefined ? {} : { isTTY })('red', 'x')).toBe(painted);
});
