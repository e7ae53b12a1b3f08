/** What is known of a text that nobody could read: nothing, so it is `unparsed`. */
import type { Analysis } from './analysis.ts';
import { Facts } from './facts.ts';
import { stringLiterals } from './literals.ts';
import type { ParseResult } from './parse-result.ts';

/** Words after which a text that cannot be parsed may hold a secret. */
const SECRET_WORDS = /\b(?:password|connection|options|dblink\w*|conninfo)\b/i;

export function unreadable(parse: Omit<Extract<ParseResult, { kind: 'error' }>, 'kind'>): Analysis {
  const { sql, cause, message, position } = parse;
  // Near a literal the message repeats it, and it could be a secret.
  const near = /["'$].*['$]/s.test(message.slice(message.indexOf('near')));
  const told = near ? message.replace(/ at or near .*/s, ' at or near a literal') : message;
  const reason = cause === 'syntax' ? `the grammar does not read it: ${told}` : told;
  const suspect = sql.length <= 1024 * 1024 && SECRET_WORDS.test(sql.toString('latin1'));
  const facts = new Facts();
  facts.raise('unparsed', reason);
  if (suspect) facts.secrets.push(...stringLiterals(sql, 0, sql.length));
  const statement = facts.finish(null, 0, sql.length);
  return {
    statements: [statement],
    class: 'unparsed',
    reasons: statement.reasons,
    changesPinned: false,
    syntaxError: { message: told, position, cause },
  };
}
