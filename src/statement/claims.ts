import { endOfComment, endOfLine } from './tokens.ts';
import { showText } from './visible.ts';

/**
 * What an agent says about a statement in a comment, in the form of sqlcommenter: `key='value'` pairs, URL-encoded,
 * separated by commas (https://google.github.io/sqlcommenter/spec/). All of it is attacker-controlled: it is shown to
 * people as the agent's own words, and nothing is decided by it.
 */
export type Claim = { readonly key: string; readonly value: string };

/** Characters as they are shown; what is longer ends with `…`. */
export const CLAIM_KEY_CHARACTERS = 60;
export const CLAIM_VALUE_CHARACTERS = 300;
/** Of one string; more are not shown. */
export const MOST_CLAIMS = 16;
/** Comments of one string that are looked into, and bytes of each. */
const MOST_COMMENTS = 64;
const COMMENT_BYTES = 8_192;

/** The claims of every comment that is one list of pairs and nothing else, in their order; each key's first. */
export function claimsOf(sql: Buffer): readonly Claim[] {
  const found = new Map<string, string>();
  for (const comment of comments(sql)) {
    for (const { key, value } of pairsOf(comment) ?? []) {
      const shownKey = bounded(showText(key), CLAIM_KEY_CHARACTERS);
      if (!found.has(shownKey) && found.size < MOST_CLAIMS)
        found.set(shownKey, bounded(showText(value), CLAIM_VALUE_CHARACTERS));
    }
  }
  return [...found].map(([key, value]) => ({ key, value }));
}

/**
 * The run that a statement's comment names: the `traceparent` of W3C Trace Context
 * (https://www.w3.org/TR/trace-context/#traceparent-header). Null: there is none, or it is not of that form.
 */
export function traceparentOf(sql: Buffer): string | null {
  if (!sql.includes('traceparent')) return null;
  const value = claimsOf(sql).find(({ key }) => key === 'traceparent')?.value ?? '';
  return TRACEPARENT.test(value) ? value : null;
}

/** Version (not ff), trace id, parent id (neither all zeros), flags; lower case. */
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The reason that an `application_name` gives: `reason=…`, alone or behind a name, URL-encoded or not. Null: none. */
export function reasonIn(applicationName: string): string | null {
  const text = /(?:^|[\s,;(])reason=(.+)$/is.exec(applicationName)?.[1]?.trim() ?? '';
  const quoted = /^'([^']*)'/.exec(text)?.[1];
  const shown = bounded(showText(decoded(quoted ?? text) ?? text), CLAIM_VALUE_CHARACTERS);
  return shown.trim() === '' ? null : shown;
}

/** What a client says of itself at start-up: made visible, and cut. */
export function shownClaim(text: string): string {
  return bounded(showText(text), CLAIM_VALUE_CHARACTERS);
}

/** Null: the text is not of that form. Keys and values decoded, of any length, as they are. */
export function pairsOf(comment: string): readonly Claim[] | null {
  const claims: Claim[] = [];
  let rest = comment.trim();
  while (rest !== '') {
    const match = PAIR.exec(rest);
    if (match === null) return null;
    const key = decoded(match[1] ?? '');
    const value = decoded(match[2] ?? '');
    if (key === null || value === null || key === '') return null;
    claims.push({ key, value });
    rest = rest.slice(match[0].length);
    // A comma is followed by another pair.
    if (match[3] === ',' && rest === '') return null;
  }
  return claims.length === 0 ? null : claims;
}

/** A quote within a value is escaped by a backslash, where it is not URL-encoded. */
const PAIR = /^([^\s=',]+)\s*=\s*'((?:[^'\\]|\\.)*)'\s*(,\s*|$)/s;

/** The spec's order: escapes first, then URL decoding. Null: no URL encoding of UTF-8. */
function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text.replace(/\\(.)/gs, '$1'));
  } catch {
    return null;
  }
}

function bounded(text: string, most: number): string {
  const characters = [...text];
  return characters.length <= most ? text : `${characters.slice(0, most - 1).join('')}…`;
}

const [QUOTE, DOUBLE_QUOTE, DOLLAR, DASH, SLASH, STAR, BACKSLASH] = [
  0x27, 0x22, 0x24, 0x2d, 0x2f, 0x2a, 0x5c,
];

/** The inner texts of block comments that stand where the server sees comments: not in strings or names. */
function comments(sql: Buffer): readonly string[] {
  const found: string[] = [];
  for (let at = 0; at < sql.length && found.length < MOST_COMMENTS; ) {
    const byte = sql[at];
    if (byte === DASH && sql[at + 1] === DASH) at = endOfLine(sql, at, sql.length);
    else if (byte === SLASH && sql[at + 1] === STAR) {
      const end = endOfComment(sql, at, sql.length);
      if (end - at <= COMMENT_BYTES) found.push(sql.toString('utf8', at + 2, end - 2));
      at = end;
    } else if (byte === QUOTE) at = endOfString(sql, at, escapesBefore(sql, at));
    else if (byte === DOUBLE_QUOTE) at = endOfQuoted(sql, at, DOUBLE_QUOTE);
    else if (byte === DOLLAR && !inWord(sql, at)) at = endOfDollarString(sql, at);
    else at++;
  }
  return found;
}

/** Whether a string is E'…', where a backslash escapes; standard_conforming_strings is pinned. */
function escapesBefore(sql: Buffer, at: number): boolean {
  const before = sql[at - 1];
  return (before === 0x65 || before === 0x45) && !isWord(sql[at - 2]);
}

function endOfString(sql: Buffer, at: number, escapes: boolean): number {
  if (!escapes) return endOfQuoted(sql, at, QUOTE);
  for (let i = at + 1; i < sql.length; i++) {
    if (sql[i] === BACKSLASH) i++;
    else if (sql[i] === QUOTE) return i + 1;
  }
  return sql.length;
}

/** A doubled quote begins the next string at once, which comes to the same. */
function endOfQuoted(sql: Buffer, at: number, quote: number): number {
  const end = sql.indexOf(quote, at + 1);
  return end === -1 ? sql.length : end + 1;
}

function endOfDollarString(sql: Buffer, at: number): number {
  let end = at + 1;
  while (isWord(sql[end])) end++;
  const first = sql[at + 1] ?? 0;
  if (sql[end] !== DOLLAR || (first >= 0x30 && first <= 0x39)) return at + 1;
  const tag = sql.subarray(at, end + 1);
  const close = sql.indexOf(tag, end + 1);
  return close === -1 ? sql.length : close + tag.length;
}

function inWord(sql: Buffer, at: number): boolean {
  return isWord(sql[at - 1]) || sql[at - 1] === DOLLAR;
}

function isWord(byte = 0): boolean {
  return (
    (byte >= 0x30 && byte <= 0x39) ||
    (byte >= 0x41 && byte <= 0x5a) ||
    (byte >= 0x61 && byte <= 0x7a) ||
    byte === 0x5f ||
    byte >= 0x80
  );
}
