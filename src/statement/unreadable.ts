/** What is known of a text that nobody could read: nothing, so it is `unparsed`. */
import type { Analysis } from './analysis.ts';
import { Facts } from './facts.ts';
import { type Range, stringLiterals } from './literals.ts';
import type { ParseResult } from './parse-result.ts';

/** Words after which a text that cannot be parsed may hold a secret. */
const SECRET_WORDS =
  /\b(?:passw\w*|pwd|identified|connection|options|dblink\w*|conninfo|(?:create|alter)\s+(?:role|user|group|login))\b/i;
/** What may be meant as a password without the quotes of a literal. */
const UNQUOTED =
  /\b(?:passw\w*|pwd|identified[ \t]+by)[ \t]*(?:=[ \t]*)?((?:"(?:[^"]|"")*"?)|[^\s"';,()]+)/gi;

export function unreadable(parse: Omit<Extract<ParseResult, { kind: 'error' }>, 'kind'>): Analysis {
  const { sql, cause, message, position } = parse;
  // Near a literal the message repeats it, and it could be a secret.
  const suspect = sql.length <= 1024 * 1024 && SECRET_WORDS.test(sql.toString('latin1'));
  const near = suspect || /["'$].*['$]/s.test(message.slice(message.indexOf('near')));
  const told = near ? withoutText(message) : message;
  const reason = cause === 'syntax' ? `the grammar does not read it: ${told}` : told;
  const facts = new Facts();
  facts.raise('unparsed', reason);
  if (suspect) facts.secrets.push(...stringLiterals(sql, 0, sql.length), ...unquoted(sql));
  const statement = facts.finish(null, 0, sql.length);
  return {
    statements: [statement],
    class: 'unparsed',
    reasons: statement.reasons,
    changesPinned: false,
    syntaxError: { message: told, position, cause },
  };
}

/** An error message without the part of the statement that it repeats. */
export function withoutText(message: string): string {
  return message.replace(/ at or near .*/s, ' at or near a literal');
}

function unquoted(sql: Buffer): Range[] {
  return [...sql.toString('latin1').matchAll(UNQUOTED)].map((match): Range => {
    const end = match.index + match[0].length;
    return [end - (match[1] ?? '').length, end];
  });
}
