import { fingerprintSync } from 'libpg-query';

/**
 * Fingerprints of statements (libpg_query's: 16 hexadecimal digits, equal for statements that differ in constants,
 * white space and comments alone), for the audit log. They decide nothing. In statements that are no queries constants
 * may count, secrets among them: those should have none.
 */
export class Fingerprints {
  readonly #known = new Map<string, string>();

  /** Throws what the parser throws: then the instance must not be used again. The text must be one that it reads. */
  of(sql: Buffer): string {
    // Most programs send the same few statements with other numbers in them: those cost a look into a table.
    const key = sql.length <= LONGEST ? masked(sql.toString('latin1')) : null;
    const known = key === null ? undefined : this.#known.get(key);
    if (known !== undefined) return known;
    const found = fingerprintSync(sql.toString('utf8'));
    if (key === null) return found;
    if (this.#known.size >= MOST) this.#known.clear();
    this.#known.set(key, found);
    return found;
  }
}

/**
 * The text with its whole numbers masked, where it is so plain that a run of digits can be nothing else, and a query, of
 * which constants do not count (in a FETCH they do); null: it is not.
 */
function masked(text: string): string | null {
  return PLAIN.test(text) ? text.replace(NUMBER, '0') : null;
}

/** A query without quotes, comments, dollar tags, escapes: words, numbers and their separators. */
const PLAIN = /^\s*(?:SELECT|INSERT|UPDATE|DELETE)\s[A-Za-z0-9_ ,.;()=<>*\t\r\n]*$/i;
const NUMBER = /(?<![A-Za-z0-9_.])[0-9]{1,9}(?![A-Za-z0-9_.])/g;

/** Bytes of the longest text that is kept, and how many are. */
const LONGEST = 1_024;
const MOST = 2_048;
