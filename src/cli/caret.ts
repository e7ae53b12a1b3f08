/** A line of SQL with a mark under the part that matters, for terminals and pipes. */
import { showSql } from '../statement/visible.ts';

type Range = readonly [number, number];

export type Marked = {
  /** 1-based; the column in characters (code points). */
  readonly line: number;
  readonly column: number;
  /** The line as it is shown, and what stands below it. No tabs, no line breaks, nothing invisible. */
  readonly shown: string;
  readonly marks: string;
  /** Lines that the part goes on over, below the one that is shown. */
  readonly more: number;
};

/** What a line of the statement may take, in columns of a terminal; the rest is cut off around the part. */
export const LINE_COLUMNS = 100;

/**
 * The line of `sql` in which the part `[start, end)` begins (bytes). Of a secret nothing but its mark is shown, whole:
 * the text is rendered in one piece, and a part that begins or ends inside of a secret is widened to all of it.
 */
export function markPart(sql: Buffer, [start, end]: Range, secrets: readonly Range[]): Marked {
  const [from, to] = widened(start, end, secrets);
  const whole = showSql(sql, secrets);
  const first = shownLength(sql, from, secrets);
  const last = Math.max(first, shownLength(sql, to, secrets));
  const lineStart = first === 0 ? 0 : whole.lastIndexOf('\n', first - 1) + 1;
  const newline = whole.indexOf('\n', first);
  const lineEnd = newline < 0 ? whole.length : newline;
  return {
    ...placeOf(sql, from),
    ...drawn(
      cellsOf(whole.slice(lineStart, lineEnd)),
      first - lineStart,
      Math.min(last, lineEnd) - lineStart,
    ),
    more: count(whole.slice(first, last), '\n'),
  };
}

/** Over every secret that it touches, and those that overlap with these. */
function widened(start: number, end: number, secrets: readonly Range[]): Range {
  let [from, to] = [start, end];
  for (const [a, b] of [...secrets].sort((one, other) => one[0] - other[0]))
    if (a < to && b > from) [from, to] = [Math.min(from, a), Math.max(to, b)];
  return from === start && to === end ? [from, to] : widened(from, to, secrets);
}

/** Where the byte is shown: the text before it is shown alike, for no secret begins before it and ends behind it. */
function shownLength(sql: Buffer, at: number, secrets: readonly Range[]): number {
  return showSql(
    sql.subarray(0, at),
    secrets.filter(([from]) => from < at),
  ).length;
}

function placeOf(sql: Buffer, at: number): { readonly line: number; readonly column: number } {
  const lineStart = at === 0 ? 0 : sql.lastIndexOf(0x0a, at - 1) + 1;
  let line = 1;
  for (let found = sql.indexOf(0x0a); found >= 0 && found < at; found = sql.indexOf(0x0a, found + 1))
    line += 1;
  return { line, column: [...sql.toString('utf8', lineStart, at)].length + 1 };
}

function count(text: string, character: string): number {
  let found = 0;
  for (let at = text.indexOf(character); at >= 0; at = text.indexOf(character, at + 1)) found += 1;
  return found;
}

/** What is drawn in one piece: a character with what combines with it, or one `‹…›` that stands for something. */
type Cell = { readonly text: string; readonly at: number; readonly column: number; readonly width: number };

const TAB_STOP = 8;
const PIECE = /‹[^›]*›|\P{M}\p{M}*|\p{M}+/gu;

function cellsOf(line: string): Cell[] {
  const cells: Cell[] = [];
  let column = 0;
  for (const { 0: piece, index } of line.matchAll(PIECE)) {
    const width = piece === '\t' ? TAB_STOP - (column % TAB_STOP) : widthOf(piece);
    cells.push({ text: piece === '\t' ? ' '.repeat(width) : piece, at: index, column, width });
    column += width;
  }
  return cells;
}

/** Columns of a terminal: two for what East Asian scripts and pictures take, one for each other character. */
function widthOf(piece: string): number {
  if (piece.startsWith('‹')) return piece.length;
  return WIDE.test(piece) ? 2 : 1;
}

const WIDE =
  /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3001-\u303e\uff01-\uff60\uffe0-\uffe6]/u;

/** As much of the line as has room, with the part in it, and the mark below. */
function drawn(cells: readonly Cell[], first: number, last: number): { shown: string; marks: string } {
  const end = cells.at(-1);
  const total = end === undefined ? 0 : end.column + end.width;
  const from = cells.find(({ at }) => at >= first)?.column ?? total;
  const to = Math.max(from + 1, cells.find(({ at }) => at >= last)?.column ?? total);
  if (total <= LINE_COLUMNS)
    return { shown: cells.map(({ text }) => text).join(''), marks: underline(from, to) };
  // A part that is long itself is shown from its beginning on.
  const lead = Math.max(0, Math.floor((LINE_COLUMNS - Math.min(to - from, LINE_COLUMNS)) / 2));
  const left = Math.max(0, Math.min(from - lead, total - LINE_COLUMNS));
  const kept = cells.filter(({ column, width }) => column >= left && column + width <= left + LINE_COLUMNS);
  const begin = kept[0]?.column ?? 0;
  const stop = (kept.at(-1)?.column ?? 0) + (kept.at(-1)?.width ?? 0);
  const before = begin > 0 ? '… ' : '';
  const offset = before.length - begin;
  return {
    shown: `${before}${kept.map(({ text }) => text).join('')}${stop < total ? ' …' : ''}`,
    marks: underline(from + offset, Math.max(from + 1, Math.min(to, stop)) + offset),
  };
}

function underline(from: number, to: number): string {
  return `${' '.repeat(from)}^${'~'.repeat(Math.max(0, to - from - 1))}`;
}
