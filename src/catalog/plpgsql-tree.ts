/**
 * What PL/pgSQL's parser leaves for us to find out: libpg-query's JSON has a node as `{ PLpgSQL_stmt_if: { … } }`, and
 * leaves out some things that run.
 */

/** Why a body is not proved. Never leaves `provePlpgsql`. */
export class Unproved extends Error {}

export type Node = { readonly [key: string]: unknown };

export type Datums = {
  readonly names: ReadonlySet<string>;
  readonly qualifiers: ReadonlySet<string>;
  /** Declared record variables, whose initial values the tree does not have. */
  readonly records: readonly string[];
};

/** The type and body of a wrapped node; null for anything else. */
export function unwrap(wrapped: unknown): { readonly type: string; readonly body: Node } | null {
  if (typeof wrapped !== 'object' || wrapped === null) return null;
  const [entry, ...others] = Object.entries(wrapped);
  if (entry === undefined || others.length > 0) return null;
  const [type, body] = entry;
  return typeof body === 'object' && body !== null ? { type, body: body as Node } : null;
}

/** PL/pgSQL's kinds of texts (RawParseMode in parser.h). */
export const MODES = { statement: 0, expression: 2, assignments: [3, 4, 5] } as const;

export function expressionOf(wrapped: unknown): { readonly query: string; readonly mode: number } | null {
  const expression = unwrap(wrapped);
  if (expression?.type !== 'PLpgSQL_expr') return null;
  const { query, parseMode } = expression.body;
  return typeof query === 'string' && typeof parseMode === 'number' ? { query, mode: parseMode } : null;
}

const NAME = '(?:"(?:[^"]|"")*"|[A-Za-z_\\u0080-\\uffff][\\w$\\u0080-\\uffff]*)';
// Nothing in it may be a comment: `--` in a subscript would hide another end of the target from us.
const SUBSCRIPT = '\\[\\s*\\w+(?:\\s*[+-]\\s*\\w+)*\\s*\\]';
const TARGET = new RegExp(`^${NAME}(?:\\.${NAME}|${SUBSCRIPT})*\\s*(?::=|=)`);

/** The value of `target := value`, where the target is made of plain names and subscripts that call nothing. */
export function assignedValue(text: string): string | null {
  const target = TARGET.exec(text);
  return target === null ? null : text.slice(target[0].length);
}

/**
 * The parser does not tell the initial values of record variables. Null: none of the variables has one; else why that
 * is not certain. `tokens`: of the whole body, without comments.
 */
export function hiddenInitialValue(tokens: readonly string[], records: readonly string[]): string | null {
  for (const name of records) {
    let declared = false;
    for (const [at, token] of tokens.entries()) {
      if (identifier(token) !== name || !DECLARES.has(tokens[at - 1]?.toLowerCase() ?? '')) continue;
      if (NO_DECLARATION.has(tokens[at + 1] ?? ';')) continue;
      declared = true;
      const end = tokens.indexOf(';', at);
      const rest = tokens.slice(at, end === -1 ? undefined : end);
      if (rest.some((part) => INITIAL.has(part.toLowerCase())))
        return `the record ${name} has an initial value`;
    }
    if (!declared) return `the declaration of the record ${name} was not found`;
  }
  return null;
}

const DECLARES = new Set(['declare', ';', '>>']);
/** After a name at the start of a statement: an assignment. */
const NO_DECLARATION = new Set([':=', '=', '.', '[', ';']);
const INITIAL = new Set([':=', '=', 'default']);

function identifier(token: string): string {
  return token.startsWith('"') ? token.slice(1, -1).replaceAll('""', '"') : token.toLowerCase();
}

/** The text of an expression that PL/pgSQL reads in one of these modes. */
export function text(wrapped: unknown, modes: readonly number[]): string {
  const expression = expressionOf(wrapped);
  if (expression === null || !modes.includes(expression.mode))
    throw new Unproved('a part of its body has an unknown form');
  return expression.query;
}

export function list(node: Node, field: string): readonly unknown[] {
  const value = node[field] ?? [];
  if (!Array.isArray(value)) throw new Unproved('a part of its body has an unknown form');
  return value;
}

/** Throws where a node has a field that nobody has looked at. */
export function only(node: Node, fields: readonly string[]): void {
  for (const key in node)
    if (!fields.includes(key)) throw new Unproved(`its body has a part (${key}) that is not known`);
}
