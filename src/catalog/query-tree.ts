import type { Meaning } from '../statement/answers.ts';
import { type FieldMeaning, NODE_FIELDS } from './query-tree-fields.ts';
import { FIRST_USER_OID } from './rows.ts';

/**
 * Reads the rewritten query tree that `debug_print_rewritten` shows (outfuncs.c, print.c). The tree is the server's, but
 * names and aliases in it are the agent's: a name such as `:funcid 12` or `{FUNCEXPR` must not pass for a part of it.
 *
 * Blanks, parentheses, braces and backslashes in a name are escaped with a backslash, and constants are bytes in numbers,
 * so that a name is always one token. A field's value follows its name directly, so whatever stands there is the
 * value. What the printer does to lines is undone, or refused, in `hasBrokenToken`.
 */

/** Characters; a tree that is larger is not read. */
export const LARGEST_TREE = 4_000_000;
const DEEPEST_TREE = 1_000;

/** Null: it is not certain what the tree says. */
export function readQueryTrees(printed: string): Meaning | null {
  if (printed.length > LARGEST_TREE || hasBrokenToken(printed)) return null;
  try {
    const reader = new Reader(printed);
    reader.queries();
    return reader.meaning;
  } catch (error) {
    if (error instanceof Unreadable) return null;
    throw error;
  }
}

/**
 * Lines are broken at a blank where there is one (it is left out, and so stands for the line's end, escaped or not). A
 * line of 78 bytes without any is cut in the middle of a token, which could make two tokens of a name, or part it from
 * its backslash. So: any line but the last without a blank behind its first character. Rare, as this takes a very long
 * name.
 */
function hasBrokenToken(printed: string): boolean {
  const lines = printed.split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.slice(0, -1).some((line) => line.indexOf(' ', 1) < 0);
}

class Unreadable extends Error {}

class Reader {
  readonly #text: string;
  #at = 0;
  #depth = 0;
  readonly meaning = {
    functions: new Set<number>(),
    operators: new Set<number>(),
    relations: new Set<number>(),
    flowing: new Set<number>(),
    made: new Set<number>(),
    json: false,
  };

  constructor(text: string) {
    this.#text = text;
  }

  /** `({QUERY …} {QUERY …})`, at least one. */
  queries(): void {
    this.#expect('(');
    do this.#node('QUERY');
    while (this.#peek() === '{');
    this.#expect(')');
    if (this.#peek() !== '') throw new Unreadable();
  }

  #node(wanted: string | null): void {
    if (++this.#depth > DEEPEST_TREE) throw new Unreadable();
    this.#expect('{');
    const name = this.#next();
    const fields = NODE_FIELDS.get(name);
    if (fields === undefined || (wanted !== null && name !== wanted)) throw new Unreadable();
    if (name.startsWith('JSON')) this.meaning.json = true;
    const seen = new Set<string>();
    while (this.#peek() !== '}') {
      const field = this.#next();
      const kind = field.startsWith(':') ? fields.get(field.slice(1)) : undefined;
      if (kind === undefined || seen.has(field)) throw new Unreadable();
      seen.add(field);
      this.#value(kind);
    }
    this.#expect('}');
    this.#depth--;
  }

  #value(kind: FieldMeaning): void {
    const { functions, operators, relations, flowing, made } = this.meaning;
    switch (kind) {
      case 'function':
        return this.#oid(functions);
      case 'operator':
        return this.#oid(operators);
      case 'operators':
        return this.#oids(operators);
      case 'relation':
        return this.#oid(relations);
      case 'flows':
        return this.#oid(flowing);
      case 'flows*':
        return this.#oids(flowing);
      case 'made':
        return this.#oid(made);
      case 'made*':
        return this.#oids(made);
      case 'builtin':
        if (numberIn(this.#next()) >= FIRST_USER_OID) throw new Unreadable();
        return;
      case 'plain':
        return this.#plain();
      case 'nodes':
        return this.#nodes();
      case 'datum':
        return this.#datum();
      case 'nothing':
        return this.#expect('<>');
    }
  }

  #oid(into: Set<number>): void {
    const oid = numberIn(this.#next());
    if (oid !== 0) into.add(oid);
  }

  /** `(o 23 25)`, or `<>`. */
  #oids(into: Set<number>): void {
    if (this.#next() === '<>') return;
    this.#back();
    this.#expect('(');
    this.#expect('o');
    while (this.#peek() !== ')') this.#oid(into);
    this.#expect(')');
  }

  /** One token, or a list of tokens. */
  #plain(): void {
    if (this.#peek() !== '(') {
      this.#token();
      return;
    }
    this.#expect('(');
    while (this.#peek() !== ')') this.#token();
    this.#expect(')');
  }

  /** A node, `<>`, or a list of nodes, of lists, or of tokens (names, numbers). */
  #nodes(): void {
    const first = this.#peek();
    if (first === '{') return this.#node(null);
    if (first !== '(') return this.#expect('<>');
    if (++this.#depth > DEEPEST_TREE) throw new Unreadable();
    this.#expect('(');
    while (this.#peek() !== ')') {
      if (this.#peek() === '{' || this.#peek() === '(') this.#nodes();
      else this.#token();
    }
    this.#expect(')');
    this.#depth--;
  }

  /** `4 [ 1 0 0 0 ]`: a length, and bytes in numbers; or `<>`. */
  #datum(): void {
    if (this.#next() === '<>') return;
    this.#expect('[');
    while (this.#peek() !== ']') if (!/^-?\d+$/.test(this.#next())) throw new Unreadable();
    this.#expect(']');
  }

  #expect(wanted: string): void {
    if (this.#next() !== wanted) throw new Unreadable();
  }

  #token(): void {
    if (/^[(){}]?$/.test(this.#next())) throw new Unreadable();
  }

  #start = 0;

  #back(): void {
    this.#at = this.#start;
  }

  #peek(): string {
    const token = this.#next();
    this.#back();
    return token;
  }

  /** As pg_strtok (read.c): separated by blanks, braces and parentheses being tokens of their own; empty at the end. */
  #next(): string {
    const text = this.#text;
    let at = this.#at;
    while (isBlank(text[at])) at++;
    this.#start = at;
    const begin = at;
    if (isBracket(text[at])) at++;
    else
      while (at < text.length && !isBlank(text[at]) && !isBracket(text[at])) {
        if (text[at] === '\\') at++;
        at++;
      }
    if (at > text.length) throw new Unreadable();
    this.#at = at;
    return text.slice(begin, at);
  }
}

function isBlank(char: string | undefined): boolean {
  return char === ' ' || char === '\n' || char === '\t';
}

function isBracket(char: string | undefined): boolean {
  return char === '(' || char === ')' || char === '{' || char === '}';
}

function numberIn(token: string): number {
  if (!/^\d{1,10}$/.test(token)) throw new Unreadable();
  return Number(token);
}
