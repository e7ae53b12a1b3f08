import { describe, expect, it } from 'vitest';
import { LINE_COLUMNS, markPart } from '../../src/cli/caret.ts';

/** Marks what stands between the two `¦` of the text. */
function marked(text: string, secrets: readonly string[] = []) {
  const [before = '', part = '', after = ''] = text.split('¦');
  const sql = Buffer.from(before + part + after);
  const start = Buffer.byteLength(before);
  const ranges = secrets.map((secret): [number, number] => {
    const at = sql.indexOf(secret);
    return [at, at + Buffer.byteLength(secret)];
  });
  return markPart(sql, [start, start + Buffer.byteLength(part)], ranges);
}

describe('the mark', () => {
  it.each([
    ['at the beginning', '¦DROP¦ TABLE t', 'DROP TABLE t', '^~~~', [1, 1]],
    ['at the end', 'SELECT ¦f¦', 'SELECT f', '       ^', [1, 8]],
    ['behind the end', 'SELECT ¦¦', 'SELECT ', '       ^', [1, 8]],
    ['in a later line', 'SELECT a,\n  ¦f(b)¦\nFROM t', '  f(b)', '  ^~~~', [2, 3]],
    ['behind two bytes for one character', "SELECT 'é', ¦f¦()", "SELECT 'é', f()", '            ^', [1, 13]],
    ['behind wide characters', "SELECT '日本', ¦f¦()", "SELECT '日本', f()", `${' '.repeat(15)}^`, [1, 14]],
    ['under wide characters', 'SELECT ¦日本¦()', 'SELECT 日本()', '       ^~~~', [1, 8]],
    ['behind a picture', "SELECT '😀', ¦f¦()", "SELECT '😀', f()", `${' '.repeat(13)}^`, [1, 13]],
    [
      'behind what combines',
      "SELECT 'e\u0301', ¦f¦()",
      "SELECT 'e\u0301', f()",
      `${' '.repeat(12)}^`,
      [1, 14],
    ],
    ['behind tabs', '\tSELECT\t¦f¦()', '        SELECT  f()', `${' '.repeat(16)}^`, [1, 9]],
    ['under a tab', 'SELECT¦\tf¦()', 'SELECT  f()', `${' '.repeat(6)}^~~`, [1, 7]],
    [
      'behind what is not seen',
      'SELECT "a\u202eb", ¦f¦()',
      'SELECT "a‹U+202E›b", f()',
      `${' '.repeat(21)}^`,
      [1, 15],
    ],
    ['behind a carriage return', 'SELECT 1,\r¦f¦()', 'SELECT 1,‹U+000D›f()', `${' '.repeat(17)}^`, [1, 11]],
    ['under what ends in the next line', 'SELECT ¦f(\n1)¦', 'SELECT f(', '       ^~', [1, 8]],
  ])('%s', (_, text, shown, marks, [line, column]) => {
    expect(marked(text)).toMatchObject({ shown, marks, line, column });
  });

  it('says over how many lines the part goes on', () => {
    expect(marked('¦DROP TABLE\n t,\n u¦')).toMatchObject({ marks: '^~~~~~~~~~', more: 2 });
    expect(marked('¦DROP¦ TABLE\n t').more).toBe(0);
  });

  it('stands behind bytes that are no UTF-8', () => {
    const sql = Buffer.concat([Buffer.from('SELECT '), Buffer.from([0xff]), Buffer.from(' f()')]);
    expect(markPart(sql, [9, 10], [])).toMatchObject({
      shown: 'SELECT ‹0xFF› f()',
      marks: `${' '.repeat(14)}^`,
    });
  });
});

describe('a long line', () => {
  const far = (before: number, after: number, part = 'f') =>
    marked(`${'a'.repeat(before)}¦${part}¦${'b'.repeat(after)}`);
  const under = ({ shown, marks }: { shown: string; marks: string }) =>
    shown.slice(marks.indexOf('^'), marks.length);

  it.each([
    [0, 500],
    [40, 500],
    [250, 250],
    [500, 3],
    [500, 0],
  ])('with %s characters before and %s behind is cut around the part', (before, after) => {
    const cut = far(before, after);
    expect(cut.shown.length).toBeLessThanOrEqual(LINE_COLUMNS + 4);
    expect(under(cut)).toBe('f');
    expect(cut.shown.startsWith('… ')).toBe(before > 50);
    expect(cut.shown.endsWith(' …')).toBe(after > 50);
  });

  it('with a part that is long itself shows its beginning', () => {
    const cut = far(300, 300, 'f'.repeat(400));
    expect(under(cut)).toBe('f'.repeat(LINE_COLUMNS));
    expect(cut.shown).toBe(`… ${'f'.repeat(LINE_COLUMNS)} …`);
  });
});

describe('a secret', () => {
  it.each([
    ["PASSWORD '¦hun¦ter2' x"],
    ["¦PASSWORD 'hun¦ter2' x"],
    ["PASSWORD 'hunter¦2' x¦"],
    ["PASSWORD ¦'hunter2'¦ x"],
    ["PASSWORD 'hunter2' ¦x¦"],
    ["¦PASSWORD¦ 'hunter2' x"],
  ])('is never shown, nor half of it: %s', (text) => {
    const { shown, marks } = marked(text, ["'hunter2'"]);
    expect(shown).toBe('PASSWORD ‹secret, 9 bytes› x');
    const part = shown.slice(marks.indexOf('^'), marks.length);
    expect(part.includes('secret')).toBe(part.startsWith('P') ? part.length > 8 : part !== 'x');
    expect(part.includes('‹')).toBe(part.includes('›'));
  });

  it('over several lines is one mark', () => {
    const { shown, marks, more } = marked('PASSWORD $$a\nb¦c$$ x\ny¦', ['$$a\nbc$$']);
    expect({ shown, marks, more }).toEqual({
      shown: 'PASSWORD ‹secret, 8 bytes› x',
      marks: `${' '.repeat(9)}^${'~'.repeat(18)}`,
      more: 1,
    });
  });
});
