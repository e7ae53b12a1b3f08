import { builtinFunction } from './builtins.ts';
import type { Column, Relation } from './catalog.ts';
import { contains } from './constants.ts';
import type { Level, Source } from './level.ts';
import { bodyOf, list, nameParts, type Tree, text } from './tree.ts';

/** The source and column that an expression names, if it is a plain column of this level, certainly. */
export function ownColumn(level: Level, expression: unknown): { source: Source; column: string } | null {
  const ref = bodyOf(expression, 'ColumnRef');
  if (ref === null) return null;
  const found = resolve(level, nameParts(list(ref, 'fields')));
  return typeof found === 'string' ? null : found;
}

/** The column of a relation that a column of a source stands for, through the queries between; null: a computed one. */
export function baseColumn(source: Source, name: string): { column: Column; relation: Relation } | null {
  const { inner, relation } = source;
  if (inner == null) {
    const column = relation?.columns.find((known) => known.name === name);
    return relation === null || column === undefined ? null : { column, relation };
  }
  const own = ownColumn(inner.level, inner.outputs.get(name));
  return own === null ? null : baseColumn(own.source, own.column);
}

type Resolved = { source: Source; column: string } | 'outer' | 'unknown';

function resolve(level: Level, parts: readonly string[]): Resolved {
  const column = parts.at(-1) ?? '';
  if (column === '*' || column === '') return 'unknown';
  if (parts.length > 1) {
    const source = level.sources.find(({ alias }) => alias === parts.at(-2));
    if (source !== undefined)
      return level.variables?.has(parts.at(-2) ?? '') ? 'unknown' : { source, column };
    return isOuterAlias(level.parent, parts.at(-2) ?? '') ? 'outer' : 'unknown';
  }
  if (level.variables?.has(column) && mayBeColumn(level, column)) return 'unknown';
  const merged = level.merged?.get(column);
  if (merged !== undefined) return { source: merged, column };
  const known = level.sources.filter(({ columns }) => columns?.has(column));
  const [only] = known;
  if (known.length === 1 && only !== undefined) return { source: only, column };
  // Without columns there is one source to which a bare name can belong; with two nobody knows.
  const open = level.sources.filter(({ columns }) => columns === null);
  const [single] = open;
  if (known.length === 0 && open.length === 1 && single !== undefined && level.sources.length === 1)
    return { source: single, column };
  return known.length === 0 &&
    open.length === 0 &&
    level.parent !== null &&
    !level.sources.some((s) => s.alias === column)
    ? 'outer'
    : 'unknown';
}

function mayBeColumn(level: Level, column: string): boolean {
  return level.sources.some(({ columns }) => columns === null || columns.has(column));
}

/** A qualifier that no query around this one knows may be anything (an alias of a join, `excluded`). */
function isOuterAlias(level: Level | null, alias: string): boolean {
  for (let at = level; at !== null; at = at.parent)
    if (at.sources.some((s) => s.alias === alias)) return true;
  return false;
}

const NO_SOURCES: readonly Source[] = [];
const UNCERTAIN = new Set(['SubLink', 'CollateClause', 'A_Star', 'CurrentOfExpr', 'SetToDefault']);

/**
 * The sources of this level that an expression's value depends on; null where that is not certain (it holds a
 * sub-query, a collation, a volatile function, or a name that could be anything).
 */
export function sourcesIn(level: Level, expression: unknown): readonly Source[] | null {
  if (bodyOf(expression, 'A_Const') !== null || bodyOf(expression, 'ParamRef') !== null) return NO_SOURCES;
  if (contains(expression, UNCERTAIN) && !isScalarConstant(level, expression)) return null;
  const found: Source[] = [];
  return gather(level, expression, found) ? found : null;
}

/** `(SELECT …)` that returns one value and has nothing to do with this level's rows. */
function isScalarConstant(level: Level, expression: unknown): boolean {
  const link = bodyOf(expression, 'SubLink');
  return (
    link !== null && text(link, 'subLinkType') === 'EXPR_SUBLINK' && !isCorrelated(level, link['subselect'])
  );
}

/** The columns of this level that an expression's value depends on, all of them; null where that is not certain. */
export function columnsOf(level: Level, expression: unknown): { source: Source; column: string }[] | null {
  if (contains(expression, UNCERTAIN) || sourcesIn(level, expression) === null) return null;
  const found: { source: Source; column: string }[] = [];
  collectColumns(level, expression, found);
  return found;
}

function collectColumns(level: Level, node: unknown, found: { source: Source; column: string }[]): void {
  if (typeof node !== 'object' || node === null) return;
  for (const key in node) {
    const value = (node as Tree)[key];
    const own = key === 'ColumnRef' ? ownColumn(level, node) : null;
    if (own === null) collectColumns(level, value, found);
    else if (!found.some((known) => known.source === own.source && known.column === own.column))
      found.push(own);
  }
}

function gather(level: Level, node: unknown, found: Source[]): boolean {
  if (typeof node !== 'object' || node === null) return true;
  if (Array.isArray(node)) return node.every((item) => gather(level, item, found));
  for (const key in node) {
    const value = (node as Tree)[key];
    if (key === 'SubLink') continue;
    if (key === 'ColumnRef') {
      const where = resolve(level, nameParts(list(value, 'fields')));
      if (where === 'unknown') return false;
      if (where !== 'outer' && !found.includes(where.source)) found.push(where.source);
    } else if (key === 'FuncCall') {
      const builtin = builtinFunction(nameParts(list(value, 'funcname')).at(-1) ?? '');
      if (builtin === undefined || builtin.volatile || builtin.aggregate || builtin.returnsSet) return false;
      if (!gather(level, value, found)) return false;
    } else if (!gather(level, value, found)) return false;
  }
  return true;
}

/** True where a sub-query may refer to rows of this level. */
export function isCorrelated(level: Level, subquery: unknown): boolean {
  if (typeof subquery !== 'object' || subquery === null) return false;
  if (Array.isArray(subquery)) return subquery.some((item) => isCorrelated(level, item));
  for (const key in subquery) {
    const value = (subquery as Tree)[key];
    if (key === 'ColumnRef') {
      const parts = nameParts(list(value, 'fields'));
      if (parts.length > 1 && level.sources.some(({ alias }) => alias === parts.at(-2))) return true;
    }
    if (isCorrelated(level, value)) return true;
  }
  return false;
}
