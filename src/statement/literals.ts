import type { Context } from './context.ts';
import { endOfComment, endOfLine } from './tokens.ts';

/** Byte range `[start, end)`. */
export type Range = readonly [number, number];

const QUOTE = 0x27;
const DOUBLE_QUOTE = 0x22;
const DOLLAR = 0x24;
const BACKSLASH = 0x5c;

/** Marks the string literal that starts at this byte; all that follows in the statement, should none start there. */
export function markLiteral(context: Context, at: number): void {
  const literal = stringLiterals(context.sql, at, context.sql.length, 1)[0];
  context.facts.secrets.push(literal !== undefined && literal[0] === at ? literal : [at, context.sql.length]);
}

/** Marks the first string literal from this byte on (PASSWORD 'x'); everything, should there be none. */
export function markNextLiteral(context: Context, from: number, to: number): void {
  const literal = stringLiterals(context.sql, from, to, 1)[0];
  if (literal !== undefined) context.facts.secrets.push(literal);
}

/** Marks every string literal in the range. */
export function markAllLiterals(context: Context, from: number, to: number): void {
  context.facts.secrets.push(...stringLiterals(context.sql, from, to));
}

/**
 * The string literals in a range of SQL: '…', E'…', U&'…', B'…', N'…', $tag$…$tag$, with standard-conforming strings,
 * as Postgres' scanner finds them (parts that only white space with a newline separates are one literal). One that does
 * not end reaches to the end of the range.
 */
export function stringLiterals(
  sql: Buffer,
  from: number,
  to: number,
  most = Number.POSITIVE_INFINITY,
): Range[] {
  const found: Range[] = [];
  let at = from;
  while (at < to && found.length < most) {
    const byte = sql[at] ?? 0;
    if (byte === 0x2d && sql[at + 1] === 0x2d) at = endOfLine(sql, at, to);
    else if (byte === 0x2f && sql[at + 1] === 0x2a) at = endOfComment(sql, at, to);
    else if (byte === DOUBLE_QUOTE) at = endOfQuoted(sql, at + 1, to, DOUBLE_QUOTE, false);
    else if (byte === QUOTE) {
      const end = endOfQuoted(sql, at + 1, to, QUOTE, false);
      found.push([at, end]);
      at = end;
    } else if (byte === DOLLAR) {
      const end = endOfDollarQuoted(sql, at, to);
      if (end > 0) found.push([at, end]);
      at = end > 0 ? end : at + 1;
    } else if (isIdentifierStart(byte)) {
      const end = endOfWord(sql, at, to);
      const quote = quoteAfterPrefix(sql, at, end, to);
      if (quote === 0) at = end;
      else if (sql[quote] === DOUBLE_QUOTE) at = endOfQuoted(sql, quote + 1, to, DOUBLE_QUOTE, false);
      else {
        const literal = endOfQuoted(sql, quote + 1, to, QUOTE, (sql[at] ?? 0) === 0x45 || sql[at] === 0x65);
        found.push([at, literal]);
        at = literal;
      }
    } else at++;
  }
  return found;
}

/** Where the quote of E'…', B'…', X'…', N'…', U&'…' stands, if the word is such a prefix; else 0. */
function quoteAfterPrefix(sql: Buffer, start: number, end: number, to: number): number {
  if (end - start !== 1 || end >= to) return 0;
  const letter = String.fromCharCode(sql[start] ?? 0).toLowerCase();
  if ('ebxn'.includes(letter) && sql[end] === QUOTE) return end;
  const quoted = sql[end + 1] === QUOTE || sql[end + 1] === DOUBLE_QUOTE;
  return letter === 'u' && sql[end] === 0x26 && quoted ? end + 1 : 0;
}

function endOfQuoted(sql: Buffer, at: number, to: number, quote: number, escapes: boolean): number {
  while (at < to) {
    if (escapes && sql[at] === BACKSLASH) at += 2;
    else if (sql[at] !== quote) at++;
    else if (sql[at + 1] === quote) at += 2;
    else {
      // 'a' <newline> 'b' goes on, in the same mode.
      const next = quote === QUOTE ? continuation(sql, at + 1, to) : 0;
      if (next === 0) return at + 1;
      at = next;
    }
  }
  return to;
}

/** After the next quote, if only white space (and `--` comments) with a newline is between; else 0. */
function continuation(sql: Buffer, at: number, to: number): number {
  let newline = false;
  while (at < to) {
    const byte = sql[at] ?? 0;
    if (byte === 0x0a || byte === 0x0d) newline = true;
    else if (newline && byte === 0x2d && sql[at + 1] === 0x2d) {
      at = endOfLine(sql, at, to);
      continue;
    } else if (byte === QUOTE) return newline ? at + 1 : 0;
    else if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0c && byte !== 0x0b) return 0;
    at++;
  }
  return 0;
}

/** The end of $tag$…$tag$; 0 where the dollar starts none. */
function endOfDollarQuoted(sql: Buffer, at: number, to: number): number {
  let end = at + 1;
  if (isIdentifierStart(sql[end] ?? 0)) {
    while (end < to && sql[end] !== DOLLAR && isIdentifierPart(sql[end] ?? 0)) end++;
  }
  if (sql[end] !== DOLLAR) return 0;
  const tag = sql.subarray(at, end + 1);
  const close = sql.indexOf(tag, end + 1);
  return close < 0 || close + tag.length > to ? to : close + tag.length;
}

function endOfWord(sql: Buffer, at: number, to: number): number {
  while (at < to && (isIdentifierPart(sql[at] ?? 0) || sql[at] === DOLLAR)) at++;
  return at;
}

function isIdentifierStart(byte: number): boolean {
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a) || byte === 0x5f || byte >= 0x80;
}

function isIdentifierPart(byte: number): boolean {
  return isIdentifierStart(byte) || (byte >= 0x30 && byte <= 0x39);
}
