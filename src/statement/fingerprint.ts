import { createHash } from 'node:crypto';
import type { Tree } from './tree.ts';

/**
 * 16 hexadecimal digits, equal for queries that differ in constants, parameters, white space and comments alone, and in
 * how many constants a list has. For counting in the audit log; it decides nothing. `node`: a query's wrapped node,
 * attacker-controlled in size and depth; null: too deep. Of other statements there should be none: what they say in
 * plain strings (passwords, comments) would count.
 */
export function fingerprintOf(node: Tree): string | null {
  try {
    return createHash('sha256').update(shapeOf(node)).digest('hex').slice(0, 16);
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

/** The tree as text, without what does not count. */
function shapeOf(node: unknown): string {
  if (typeof node !== 'object' || node === null) return JSON.stringify(node) ?? '';
  if (Array.isArray(node)) return listShape(node);
  let text = '{';
  for (const [key, value] of Object.entries(node)) {
    if (key === 'A_Const' || key === 'ParamRef') return '?';
    if (!PLACES.has(key)) text += `${key}:${shapeOf(value)},`;
  }
  return `${text}}`;
}

/** Constants, and rows of constants, that follow one another count once. */
function listShape(items: readonly unknown[]): string {
  let text = '[';
  let before = '';
  for (const item of items) {
    const shape = shapeOf(item);
    if (shape === before && !/[a-zA-Z]/.test(shape.replace(LIST_NAMES, ''))) continue;
    text += `${shape},`;
    before = shape;
  }
  return `${text}]`;
}

/** What a row of constants has beside them. */
const LIST_NAMES = /List|items/g;

/** Where something stands in the text. */
const PLACES: ReadonlySet<string> = new Set([
  'location',
  'stmt_location',
  'stmt_len',
  'list_start',
  'list_end',
  'rexpr_list_start',
  'rexpr_list_end',
]);
