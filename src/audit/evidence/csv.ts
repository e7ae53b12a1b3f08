/** CSV as RFC 4180 has it: commas, CRLF, quotes where they are needed. NULL is an empty cell, empty text is `""`. */

/** One line. `texts`: which cells hold text that others chose; left out: none does. */
export function csvLine(values: readonly (string | null)[], texts?: readonly boolean[]): string {
  return `${values.map((value, i) => csvCell(value, texts?.[i] === true)).join(',')}\r\n`;
}

/**
 * A cell. Statement texts are attacker-controlled, and spreadsheets take a cell for a formula that begins with one of
 * `= + - @` (in their wide forms, too), also after blanks and control characters. Text like that gets an apostrophe
 * before it, and so does text that begins with one: taking one apostrophe off the beginning gives the text back.
 */
export function csvCell(value: string | null, isText: boolean): string {
  if (value === null) return '';
  const shown = isText && FORMULA.test(value) ? `'${value}` : value;
  return shown === '' || SPECIAL.test(shown) ? `"${shown.replaceAll('"', '""')}"` : shown;
}

/** The text that a cell of text stands for. */
export function textOfCell(shown: string): string {
  return shown.startsWith("'") ? shown.slice(1) : shown;
}

/** The records of a CSV text: cells that were not quoted and empty are null. For tests and for reading evidence back. */
export function parseCsv(text: string): (string | null)[][] {
  const records: (string | null)[][] = [];
  let record: (string | null)[] = [];
  const cell = /(?:"((?:[^"]|"")*)"|([^,\r\n"]*))(,|\r\n|$)/y;
  while (cell.lastIndex < text.length) {
    const [, quoted, plain = '', end] = cell.exec(text) ?? [];
    if (end === undefined) throw new RangeError('not the CSV of RFC 4180');
    record.push(quoted === undefined ? (plain === '' ? null : plain) : quoted.replaceAll('""', '"'));
    if (end === ',') continue;
    records.push(record);
    record = [];
  }
  return records;
}

const SPECIAL = /[",\r\n]|^\s|\s$/;
const FORMULA = /^[\s\u0000-\u001f\u200b\ufeff]*[=+\-@＝＋－＠']|^[\t\r\n\u0000]/;
