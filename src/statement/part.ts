import type { Context } from './context.ts';
import { child, list, nameParts, type Tree, typeOf } from './tree.ts';

/**
 * Where the query stands that EXPLAIN, PREPARE or DECLARE contains, so that the server can be asked about it alone. The
 * tree does not say; but it says where the first name or constant of the query is, and what stands before that is short.
 * Only where it is exactly as the grammar has it, without comments, is the place certain: otherwise nobody asks.
 */
export type Part = {
  /** Bytes of the whole string. */
  readonly part: readonly [number, number];
  /** Types of `$1` and so on, where PREPARE declares them; 0: it does not. Null: those of the message. */
  readonly types: readonly number[] | null;
};

const NAME = '(?:[a-z_][a-z0-9_]*|"[^"]*")';
/** How a query begins. */
const QUERY = String.raw`(?=\(*\s*(?:select|with|values|table|insert|update|delete|merge)\b)`;
const HEADS: Readonly<Record<string, readonly RegExp[]>> = {
  ExplainStmt: [
    new RegExp(String.raw`^explain\s*\([^()'"]*\)\s*${QUERY}`, 'i'),
    new RegExp(String.raw`^explain(?:\s+(?:analyze|analyse|verbose))*\s*${QUERY}`, 'i'),
  ],
  PrepareStmt: [
    new RegExp(String.raw`^prepare\s+${NAME}\s*(?:\([a-z0-9_,.\s()[\]]*\))?\s*as\s*${QUERY}`, 'i'),
  ],
  DeclareCursorStmt: [
    new RegExp(
      String.raw`^declare\s+${NAME}\s+(?:(?:binary|insensitive|asensitive|no\s+scroll|scroll)\s+)*cursor\s+(?:(?:with|without)\s+hold\s+)?for\s*${QUERY}`,
      'i',
    ),
  ],
};

/** Longest beginning that is looked at. */
const LONGEST_HEAD = 2_000;

/** Null: it is not certain where it stands, or it cannot be asked about. `[start, end)`: the statement around it. */
export function partOf(
  context: Context,
  type: string,
  node: Tree,
  query: unknown,
  start: number,
  end: number,
): Part | null {
  const heads = HEADS[type];
  const types = type === 'PrepareStmt' ? typesOf(node, context.path) : null;
  if (heads === undefined || (type === 'PrepareStmt' && types === null)) return null;
  const first = firstLocation(query, start);
  if (first === null || first > end || first - start > LONGEST_HEAD) return null;
  // WITH has a location of its own, and stands behind it.
  const text = context.sql.toString('latin1', start, Math.min(first + 'with '.length, end));
  const lead = /^\s*/.exec(text)?.[0].length ?? 0;
  for (const [place, head] of heads.entries()) {
    // Options in parentheses, only where the tree has options.
    if (type === 'ExplainStmt' && place === 0 && list(node, 'options').length === 0) continue;
    const found = head.exec(text.slice(lead));
    if (found !== null) return { part: [start + lead + found[0].length, end], types };
  }
  return null;
}

/** The least location in the query, of any node; null where none has one. Zero is left out of the tree. */
function firstLocation(query: unknown, start: number): number | null {
  let first: number | null = null;
  const open: unknown[] = [query];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (typeof node !== 'object' || node === null) continue;
    for (const [key, value] of Object.entries(node)) {
      if (LOCATIONS.has(key) && typeof value === 'number') {
        if (value > start && (first === null || value < first)) first = value;
      } else if (typeof value === 'object') open.push(value);
    }
  }
  return first;
}

const LOCATIONS: ReadonlySet<string> = new Set(['location', 'name_location']);

/** OIDs of built-in types, which never change; null where there is another one among those declared. */
function typesOf(prepare: Tree, path: Context['path']): readonly number[] | null {
  const types: number[] = [];
  for (const item of list(prepare, 'argtypes')) {
    const type = typeOf(item) === 'TypeName' ? child(item, 'TypeName') : null;
    const parts = nameParts(list(type, 'names'));
    // Written bare it is looked for in pg_catalog first, where the path does not say otherwise.
    const builtin = parts.length === 1 ? path?.includes('pg_catalog') === false : parts[0] === 'pg_catalog';
    const oid = builtin && parts.length <= 2 ? TYPE_OIDS.get(parts.at(-1) ?? '') : undefined;
    if (oid === undefined || list(type, 'arrayBounds').length > 0 || type?.['setof'] === true) return null;
    types.push(oid);
  }
  return types;
}

const TYPE_OIDS: ReadonlyMap<string, number> = new Map([
  ['bool', 16],
  ['bytea', 17],
  ['name', 19],
  ['int8', 20],
  ['int2', 21],
  ['int4', 23],
  ['text', 25],
  ['oid', 26],
  ['json', 114],
  ['float4', 700],
  ['float8', 701],
  ['inet', 869],
  ['bpchar', 1042],
  ['varchar', 1043],
  ['date', 1082],
  ['time', 1083],
  ['timestamp', 1114],
  ['timestamptz', 1184],
  ['interval', 1186],
  ['timetz', 1266],
  ['numeric', 1700],
  ['uuid', 2950],
  ['jsonb', 3802],
]);
