import type { Cause } from './details.ts';
import { firstToken } from './tokens.ts';

/**
 * The part of a statement that starts at byte `at`: a name (with its qualifiers), an operator, or, where that is the
 * beginning of the statement `[start, end)`, all of it.
 */
export function causeAt(sql: Buffer, at: number, start: number, end: number): Cause {
  const first = firstToken(sql, start, end);
  const from = at > first && at < end ? at : first;
  return {
    start: from,
    end: from === first ? lastToken(sql, from, end) : endOfToken(sql, from, end),
    position: charactersBefore(sql, from) + 1,
  };
}

/** Code points in the first `end` bytes: every byte that does not continue one begins one. */
function charactersBefore(sql: Buffer, end: number): number {
  let count = 0;
  for (let at = 0; at < end; at++) if (((sql[at] ?? 0) & 0xc0) !== 0x80) count++;
  return count;
}

function lastToken(sql: Buffer, from: number, end: number): number {
  let at = end;
  while (at > from + 1 && (sql[at - 1] ?? 0) <= 0x20) at--;
  return at;
}

const QUOTE = 0x22;
const DOT = 0x2e;
const OPERATOR = new Set([...'+-*/<>=~!@#%^&|`?'].map((character) => character.charCodeAt(0)));

function endOfToken(sql: Buffer, from: number, end: number): number {
  const first = sql[from] ?? 0;
  let at = from;
  if (OPERATOR.has(first)) {
    while (at < end && OPERATOR.has(sql[at] ?? 0)) at++;
    return at;
  }
  while (at < end) {
    const byte = sql[at] ?? 0;
    if (byte === QUOTE) {
      const close = sql.indexOf(QUOTE, at + 1);
      at = close < 0 || close >= end ? end : close + 1;
    } else if (byte === DOT || isWord(byte)) at++;
    else break;
  }
  return Math.max(at, from + 1);
}

function isWord(byte: number): boolean {
  return (
    byte >= 0x80 ||
    byte === 0x5f ||
    byte === 0x24 ||
    (byte >= 0x30 && byte <= 0x39) ||
    ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a)
  );
}
