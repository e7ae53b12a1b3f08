/**
 * Passwords of roles in code that the grammar sees as one string: `DO $$ … CREATE ROLE r PASSWORD 'x' … $$` is how
 * many make a role that may be there already. What is marked must be certain to be a password: whatever is hidden from
 * the approver could be code. So only bodies in SQL and PL/pgSQL are looked through, by Postgres' own lexical rules, and
 * what is not plain is left alone: a backslash, for literals end elsewhere where standard_conforming_strings is off
 * while the code runs, and a literal that is not run just as it is.
 */
import type { Context } from './context.ts';
import { type Range, stringLiterals } from './literals.ts';
import { endOfComment, endOfLine } from './tokens.ts';

const DOLLAR = 0x24;
const QUOTE = 0x27;
const DOUBLE_QUOTE = 0x22;
const SEMICOLON = 0x3b;
const BACKSLASH = 0x5c;
const BLANKS = [0x20, 0x09, 0x0a, 0x0c, 0x0d];

/** What may stand between a role's name and its password. Other words could make an expression of it: a type's name and a value. */
const OPTIONS = `(?:with|encrypted|(?:no)?(?:superuser|createdb|createrole|inherit|login|replication|bypassrls)|connection|limit|valid|until|-?\\d+|'')\\s+`;
const COMMAND = `\\b(?:create|alter)\\s+(?:role|user|group)\\s+(?:""|[\\w$]+)\\s+(?:${OPTIONS})*password\\s+`;
/** A role's command up to its password. Names in quotes, literals and comments were taken out before. */
const ROLE_PASSWORD = new RegExp(`${COMMAND}$`, 'i');
/** The same within a literal, where a quote is written twice; nothing before it that changes how text is read. */
const QUOTED_PASSWORD = new RegExp(`^(?:(?!--|/\\*)[^'"$])*?${COMMAND}''([^'\\n\\r]*)''(?!')`, 'i');

/** Of code that runs right after this, a literal that is run as it is. */
const EXECUTED = /(?:;|\b(?:begin|then|else|loop))\s+execute\s+$/i;

/** Marks passwords in a body, which is the first literal from this byte on. `language`: as the grammar gives it. */
export function markCodeSecrets(context: Context, language: string, from: number, to: number): void {
  const { sql, facts } = context;
  const [start, end] = stringLiterals(sql, from, to, 1)[0] ?? [to, to];
  if ((language !== 'sql' && language !== 'plpgsql') || end - start > MOST_BYTES) return;
  if (sql.subarray(start, end).includes(BACKSLASH)) return;
  if (sql[start] === DOLLAR) {
    const tag = sql.indexOf(DOLLAR, start + 1) + 1 - start;
    facts.secrets.push(...inCode(sql, start + tag, end - tag));
  } else facts.secrets.push(...inLiteral(sql, start, end));
}

/** In code that stands as it is. */
function inCode(sql: Buffer, from: number, to: number): Range[] {
  const found: Range[] = [];
  let before = '; ';
  let at = from;
  for (const literal of [...stringLiterals(sql, from, to), null]) {
    const until = literal?.[0] ?? to;
    before += plainText(sql, at, until);
    if (literal === null) break;
    if (ROLE_PASSWORD.test(before)) found.push(literal);
    else if (EXECUTED.test(before) && isEnd(sql, literal[1], to))
      found.push(...inLiteral(sql, literal[0], literal[1]));
    at = literal[1];
    before = `${before} '' `.slice(-LOOK_BACK);
  }
  return found;
}

/** A semicolon comes next, after blanks. */
function isEnd(sql: Buffer, from: number, to: number): boolean {
  let at = from;
  while (at < to && BLANKS.includes(sql[at] ?? 0)) at++;
  return at < to && sql[at] === SEMICOLON;
}

/** Longer code is not looked through. */
const MOST_BYTES = 1024 * 1024;
/** Characters: longer commands of roles are not looked through. */
const LOOK_BACK = 2_000;

/** Without comments, and with names in quotes as `""`. */
function plainText(sql: Buffer, from: number, to: number): string {
  let text = '';
  for (let at = from; at < to; ) {
    const byte = sql[at] ?? 0;
    if (byte === 0x2d && sql[at + 1] === 0x2d) at = endOfLine(sql, at, to);
    else if (byte === 0x2f && sql[at + 1] === 0x2a) at = endOfComment(sql, at, to);
    else if (byte === DOUBLE_QUOTE) {
      const close = sql.indexOf(DOUBLE_QUOTE, at + 1);
      at = close < 0 ? to : close + 1;
      text += '""';
      continue;
    } else {
      // What is before the end of a statement says nothing of what follows.
      text = byte === SEMICOLON ? '; ' : text + String.fromCharCode(byte);
      at++;
      continue;
    }
    text += ' ';
  }
  return text;
}

/** In a plain '…' literal that holds one command, as EXECUTE takes it. */
function inLiteral(sql: Buffer, start: number, end: number): Range[] {
  if (sql[start] !== QUOTE) return [];
  const match = QUOTED_PASSWORD.exec(sql.toString('latin1', start + 1, end - 1));
  if (match === null) return [];
  const close = start + 1 + match[0].length;
  return [[close - (match[1] ?? '').length - 4, close]];
}
