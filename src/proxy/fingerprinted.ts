import type { Analysis, StatementAnalysis } from '../statement/analysis.ts';
import { fingerprintOf } from '../statement/fingerprint.ts';
import type { ParseResult } from '../statement/parse-result.ts';
import type { Tree } from '../statement/tree.ts';

/** Fingerprints of the queries of one program; those of texts that differ in numbers alone are kept. */
export class Fingerprints {
  readonly #known = new Map<string, string | null>();

  /**
   * The analysis with the fingerprints of its queries. Other statements have none: a password or a comment would change
   * it, and could be guessed from it.
   */
  into(parse: ParseResult, analysis: Analysis): Analysis {
    if (parse.kind !== 'tree' || parse.sql.length > LONGEST || !analysis.statements.some(isQuery))
      return analysis;
    const nodes = new Map(parse.statements.map(({ node, start }) => [start, node]));
    const alone = parse.statements.length === 1;
    return {
      ...analysis,
      statements: analysis.statements.map((statement) => {
        const { start, end } = statement;
        const node = nodes.get(start);
        if (node === undefined || !isQuery(statement)) return statement;
        const found = this.#of(alone ? parse.sql : parse.sql.subarray(start, end), node);
        return found === null ? statement : { ...statement, fingerprint: found };
      }),
    };
  }

  #of(sql: Buffer, node: Tree): string | null {
    // Most programs send the same few statements with other numbers in them: those cost a look into a table.
    const key = sql.length <= LONGEST_KEPT ? masked(sql.toString('latin1')) : null;
    const known = key === null ? undefined : this.#known.get(key);
    if (known !== undefined) return known;
    const found = fingerprintOf(node);
    if (key === null) return found;
    if (this.#known.size >= MOST_KEPT) this.#known.clear();
    this.#known.set(key, found);
    return found;
  }
}

function isQuery({ command, secrets }: StatementAnalysis): boolean {
  return QUERIES.has(command) && secrets.length === 0;
}

const QUERIES: ReadonlySet<string> = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE']);

/**
 * The text with its whole numbers masked, where it is so plain that a run of digits can be nothing but a constant; null:
 * it is not. FETCH and types count their numbers.
 */
function masked(text: string): string | null {
  return PLAIN.test(text) ? text.replace(NUMBER, '0') : null;
}

/** A query without quotes, casts, comments, dollar tags, escapes: words, numbers and their separators. */
const PLAIN = /^\s*(?:SELECT|INSERT|UPDATE|DELETE)\s[A-Za-z0-9_ ,.;()=<>*\t\r\n]*$/i;
const NUMBER = /(?<![A-Za-z0-9_.])[0-9]{1,9}(?![A-Za-z0-9_.])/g;

/** Bytes of the longest text that gets one, and that is kept; how many are kept. */
const LONGEST = 65_536;
const LONGEST_KEPT = 1_024;
const MOST_KEPT = 2_048;
