import type { Tree } from './tree.ts';

/** What the parser made of a text. The trees are libpg-query's JSON, as they come: attacker-controlled in size and depth. */
export type ParseResult =
  | { readonly kind: 'tree'; readonly sql: Buffer; readonly statements: readonly RawStatement[] }
  | {
      readonly kind: 'error';
      readonly sql: Buffer;
      readonly cause: ParseFailure;
      readonly message: string;
      /** 1-based character position (code points), null where unknown. */
      readonly position: number | null;
    };

/**
 * `syntax`: the grammar rejects it, the server will say the same, if it is as old or older. All others mean that
 * nobody looked: NUL or invalid UTF-8, comments too deep, text too long, too many nodes, out of time,
 * the parser broke, or the server reads the text under other settings than a parser does.
 */
export type ParseFailure =
  | 'syntax'
  | 'nul'
  | 'encoding'
  | 'comment_depth'
  | 'size'
  | 'nodes'
  | 'timeout'
  | 'fault'
  | 'settings';

/** One statement: its wrapped node, and its bytes `[start, end)` in the text, without the semicolon. */
export type RawStatement = { readonly node: Tree; readonly start: number; readonly end: number };

/** What PL/pgSQL's own parser made of a CREATE FUNCTION: libpg-query's JSON, and the body's tokens without comments. */
export type PlpgsqlParse =
  | { readonly kind: 'tree'; readonly functions: readonly unknown[]; readonly tokens: readonly string[] }
  | { readonly kind: 'error'; readonly message: string };
