/** Reading libpg-query's JSON: a *wrapped* node is an object with one key, the node's type, whose value is its body. */

export type Tree = { readonly [key: string]: unknown };

const NOTHING: readonly unknown[] = [];

/** The type of a wrapped node; the empty string where there is none. */
export function typeOf(node: unknown): string {
  if (typeof node === 'object' && node !== null) for (const key in node) return key;
  return '';
}

/** The body of a wrapped node if it is of that type, else null. */
export function bodyOf(node: unknown, type: string): Tree | null {
  return child(node, type);
}

/** A struct below a key; null where it is left out. */
export function child(node: unknown, key: string): Tree | null {
  if (typeof node !== 'object' || node === null) return null;
  const value = (node as Tree)[key];
  return typeof value === 'object' && value !== null ? (value as Tree) : null;
}

/** A list below a key; empty where it is left out. */
export function list(node: unknown, key: string): readonly unknown[] {
  const value = child(node, key);
  return Array.isArray(value) ? value : NOTHING;
}

/** A string below a key; empty where it is left out. */
export function text(node: unknown, key: string): string {
  if (typeof node !== 'object' || node === null) return '';
  const value = (node as Tree)[key];
  return typeof value === 'string' ? value : '';
}

/** A number below a key; zero where it is left out, as libpg-query does. */
export function integer(node: unknown, key: string): number {
  if (typeof node !== 'object' || node === null) return 0;
  const value = (node as Tree)[key];
  return typeof value === 'number' ? value : 0;
}

export function flag(node: unknown, key: string): boolean {
  return typeof node === 'object' && node !== null && (node as Tree)[key] === true;
}

/** The parts of a possibly qualified name (a list of String nodes); `*` for A_Star, empty for anything else. */
export function nameParts(names: readonly unknown[]): string[] {
  return names.map((part) => {
    const named = bodyOf(part, 'String');
    if (named !== null) return text(named, 'sval');
    return bodyOf(part, 'A_Star') === null ? '' : '*';
  });
}

export type Constant =
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'null' };

/** The value of an A_Const node (wrapped), null for anything else. Numbers beyond 2^53 are rounded. */
export function constantOf(node: unknown): Constant | null {
  const body = bodyOf(node, 'A_Const');
  if (body === null) return null;
  if (flag(body, 'isnull')) return { kind: 'null' };
  const string = child(body, 'sval');
  if (string !== null) return { kind: 'string', value: text(string, 'sval') };
  const whole = child(body, 'ival');
  if (whole !== null) return { kind: 'number', value: integer(whole, 'ival') };
  const decimal = child(body, 'fval');
  if (decimal !== null) return { kind: 'number', value: Number(text(decimal, 'fval').replaceAll('_', '')) };
  const bool = child(body, 'boolval');
  if (bool !== null) return { kind: 'boolean', value: flag(bool, 'boolval') };
  return null;
}

/** A constant string, also behind casts to a built-in text-like type or unknown; null for anything else. */
export function constantString(node: unknown): string | null {
  const cast = bodyOf(node, 'TypeCast');
  if (cast !== null) {
    const parts = nameParts(list(child(cast, 'typeName'), 'names'));
    return ['text', 'varchar', 'name', 'unknown'].includes(parts.at(-1) ?? '') &&
      (parts.length === 1 || parts[0] === 'pg_catalog') &&
      list(child(cast, 'typeName'), 'typmods').length === 0
      ? constantString(child(cast, 'arg'))
      : null;
  }
  const constant = constantOf(node);
  return constant?.kind === 'string' ? constant.value : null;
}
