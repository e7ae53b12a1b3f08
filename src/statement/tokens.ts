/** What the scanner skips (scan.l): white space and comments, which nest. */

/** Where the first token in the range begins: after white space and comments. */
export function firstToken(sql: Buffer, from: number, to: number): number {
  let at = from;
  while (at < to) {
    const byte = sql[at] ?? 0;
    if (byte <= 0x20) at++;
    else if (byte === 0x2d && sql[at + 1] === 0x2d) at = endOfLine(sql, at, to);
    else if (byte === 0x2f && sql[at + 1] === 0x2a) at = endOfComment(sql, at, to);
    else return at;
  }
  return from;
}

export function endOfLine(sql: Buffer, at: number, to: number): number {
  while (at < to && sql[at] !== 0x0a && sql[at] !== 0x0d) at++;
  return at;
}

/** After the comment that begins here; `to` where it does not end. */
export function endOfComment(sql: Buffer, at: number, to: number): number {
  let depth = 0;
  while (at < to) {
    if (sql[at] === 0x2f && sql[at + 1] === 0x2a) {
      depth++;
      at += 2;
    } else if (sql[at] === 0x2a && sql[at + 1] === 0x2f) {
      depth--;
      at += 2;
      if (depth === 0) return at;
    } else at++;
  }
  return to;
}
