import { hasSqlDetails, loadModule, parsePlPgSQLSync, parseSync, SqlError, scanSync } from 'libpg-query';
import type { ParseResult, PlpgsqlParse, RawStatement } from '../statement/parse-result.ts';
import type { Tree } from '../statement/tree.ts';

/** The parser's own answer, before it is placed in the text. */
export type RawParse =
  | {
      readonly kind: 'tree';
      readonly tree: RawTree;
      /** From the other thread: lists in the tree that have so many more elements, all of them alike. */
      readonly longer?: readonly {
        readonly items: unknown[];
        readonly like: unknown;
        readonly more: number;
      }[];
    }
  | { readonly kind: 'syntax'; readonly message: string; readonly cursor: number | null };

export type RawTree = {
  readonly stmts?: readonly {
    readonly stmt?: Tree;
    readonly stmt_location?: number;
    readonly stmt_len?: number;
  }[];
};

export async function loadParser(): Promise<void> {
  await loadModule();
}

/**
 * Parses on this thread. Anything thrown means that the instance may be damaged for good and must not be used again
 * (a RangeError leaks; after some of them every later parse fails).
 */
export function parseHere(sql: string): RawParse {
  try {
    return { kind: 'tree', tree: parseSync(sql) as unknown as RawTree };
  } catch (error) {
    if (!(error instanceof SqlError)) throw error;
    const cursor = hasSqlDetails(error) ? (error.sqlDetails?.cursorPosition ?? null) : null;
    return { kind: 'syntax', message: error.message, cursor };
  }
}

/** Puts the answer into our terms: each statement with its byte range. */
export function placed(sql: Buffer, raw: RawParse): ParseResult {
  if (raw.kind === 'syntax') {
    const position = raw.cursor === null ? null : raw.cursor + 1;
    return { kind: 'error', sql, cause: 'syntax', message: raw.message, position };
  }
  for (const { items, like, more } of raw.longer ?? []) lengthen(items, like, more);
  const statements: RawStatement[] = [];
  for (const { stmt, stmt_location: start = 0, stmt_len: length } of raw.tree.stmts ?? []) {
    if (stmt === undefined) continue;
    statements.push({ node: stmt, start, end: length === undefined ? sql.length : start + length });
  }
  return { kind: 'tree', sql, statements };
}

/** Many at once: there may be a million, on the thread that serves sessions. */
function lengthen(items: unknown[], like: unknown, more: number): void {
  const piece = new Array<unknown>(Math.min(more, 10_000)).fill(like);
  let left = more;
  for (; left >= piece.length && left > 0; left -= piece.length) items.push(...piece);
  items.push(...piece.slice(0, left));
}

/**
 * Reads a whole CREATE FUNCTION as PL/pgSQL does, on this thread; `body` is its body, for the tokens. Where it throws,
 * the instance must not be used again, as with `parseHere`.
 */
export function plpgsqlHere(definition: string, body: string): PlpgsqlParse {
  let functions: readonly unknown[];
  try {
    functions =
      (parsePlPgSQLSync(definition) as unknown as { plpgsql_funcs?: unknown[] }).plpgsql_funcs ?? [];
  } catch (error) {
    // Its own answer is a plain Error with the server's message.
    if (!(error instanceof Error) || error.constructor !== Error) throw error;
    return { kind: 'error', message: error.message };
  }
  try {
    const tokens = scanSync(body)
      .tokens.filter(({ tokenName }) => tokenName !== 'C_COMMENT' && tokenName !== 'SQL_COMMENT')
      .map(({ text }) => text);
    return { kind: 'tree', functions, tokens };
  } catch (error) {
    if (error instanceof RangeError) throw error;
    return { kind: 'error', message: 'the text could not be cut into tokens' };
  }
}
