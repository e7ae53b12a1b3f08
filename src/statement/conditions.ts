import { asBoolean, contains, evaluate, sameExpression } from './constants.ts';
import { child, list, nameParts, type Tree, text, typeOf } from './tree.ts';

/** `never`: no row passes. `free`: it restricts nothing, as far as can be told. `real`: it looks at the row. */
export type Restriction = 'never' | 'free' | 'real';

const COLUMNS = new Set(['ColumnRef', 'CurrentOfExpr']);
const NESTED = new Set(['SubLink']);
const COMPLEMENTS: Readonly<Record<string, string>> = {
  '=': '<>',
  '<>': '=',
  '!=': '=',
  '<': '>=',
  '>=': '<',
  '>': '<=',
  '<=': '>',
};

/**
 * Whether a WHERE clause (or join condition) restricts at all. `null`: there is none. Says `free` also for what is
 * always true in disguise: constants, a column compared with itself, an OR with an arm that is free or with both an
 * expression and its opposite, LIKE '%', a sub-query that has nothing to do with the row.
 */
export function restriction(condition: unknown): Restriction {
  if (condition === undefined || condition === null) return 'free';
  const type = typeOf(condition);
  const body = (condition as Tree)[type] as Tree;
  if (type === 'BoolExpr') return booleanRestriction(body);
  const constant = evaluate(condition);
  if (constant !== null) {
    const value = asBoolean(constant);
    return value !== null && (value.kind === 'null' || (value.kind === 'boolean' && !value.value))
      ? 'never'
      : 'free';
  }
  if (type === 'A_Expr' && isAlwaysTrue(body)) return 'free';
  if (type === 'SubLink') return subLinkRestriction(body);
  return looksAtRow(condition) ? 'real' : 'free';
}

function booleanRestriction(body: Tree): Restriction {
  const args = list(body, 'args');
  const op = text(body, 'boolop');
  const parts = args.map(restriction);
  if (op === 'NOT_EXPR') {
    const constant = evaluate({ BoolExpr: body });
    if (constant?.kind === 'boolean') return constant.value ? 'free' : 'never';
    if (parts[0] === 'never') return 'free';
    // NOT (something that is always true by its shape) lets nothing pass, but that is not certain: nulls.
    return looksAtRow(args[0]) ? 'real' : 'free';
  }
  if (op === 'AND_EXPR') {
    if (parts.includes('never')) return 'never';
    return parts.includes('real') ? 'real' : 'free';
  }
  if (parts.includes('free')) return 'free';
  if (parts.every((part) => part === 'never')) return 'never';
  return hasOpposites(args) ? 'free' : 'real';
}

/** `x = x`, `x <= x`, `x IS NOT DISTINCT FROM x`, `x LIKE '%'`, `x ~ ''`. */
function isAlwaysTrue(body: Tree): boolean {
  const op = nameParts(list(body, 'name')).at(-1) ?? '';
  const kind = text(body, 'kind');
  const left = body['lexpr'];
  const right = body['rexpr'];
  if (kind === 'AEXPR_LIKE' || kind === 'AEXPR_ILIKE') {
    const pattern = evaluate(right);
    return op.startsWith('~~') && pattern?.kind === 'string' && /^%+$/.test(pattern.value);
  }
  if (kind === 'AEXPR_OP' && (op === '~' || op === '~*')) {
    const pattern = evaluate(right);
    return pattern?.kind === 'string' && /^\^?(\.\*)*\$?$/.test(pattern.value) && pattern.value !== '^$';
  }
  if (left === undefined || !sameExpression(left, right)) return false;
  return kind === 'AEXPR_NOT_DISTINCT' || (kind === 'AEXPR_OP' && ['=', '<=', '>='].includes(op));
}

function hasOpposites(args: readonly unknown[]): boolean {
  return args.some((a, i) => args.some((b, j) => j > i && areOpposites(a, b)));
}

function areOpposites(a: unknown, b: unknown): boolean {
  const [typeA, typeB] = [typeOf(a), typeOf(b)];
  const [bodyA, bodyB] = [child(a, typeA), child(b, typeB)];
  if (bodyA === null || bodyB === null) return false;
  if (typeA === 'BoolExpr' && text(bodyA, 'boolop') === 'NOT_EXPR')
    return sameExpression(list(bodyA, 'args')[0], b);
  if (typeB === 'BoolExpr' && text(bodyB, 'boolop') === 'NOT_EXPR')
    return sameExpression(list(bodyB, 'args')[0], a);
  if (typeA === 'NullTest' && typeB === 'NullTest')
    return (
      text(bodyA, 'nulltesttype') !== text(bodyB, 'nulltesttype') &&
      sameExpression(bodyA['arg'], bodyB['arg'])
    );
  if (typeA !== 'A_Expr' || typeB !== 'A_Expr') return false;
  const opA = nameParts(list(bodyA, 'name')).at(-1) ?? '';
  const opB = nameParts(list(bodyB, 'name')).at(-1) ?? '';
  const covers = COMPLEMENTS[opA] === opB || (isUneven(opA) && isUneven(opB) && opA[0] !== opB[0]);
  return (
    covers && sameExpression(bodyA['lexpr'], bodyB['lexpr']) && sameExpression(bodyA['rexpr'], bodyB['rexpr'])
  );
}

/** `x <= 5 OR x >= 5` is always true as well. */
function isUneven(op: string): boolean {
  return op === '<=' || op === '>=';
}

/** EXISTS of a sub-query restricts the outer rows only if it refers to them. */
function subLinkRestriction(body: Tree): Restriction {
  if (text(body, 'subLinkType') !== 'EXISTS_SUBLINK') {
    if (child(body, 'testexpr') !== null) return looksAtRow(body['testexpr']) ? 'real' : 'free';
    return refersOut(body['subselect']) ? 'real' : 'free';
  }
  return refersOut(body['subselect']) ? 'real' : 'free';
}

function looksAtRow(expression: unknown): boolean {
  if (!contains(expression, NESTED)) return contains(expression, COLUMNS);
  return looksOutside(expression);
}

/** Columns outside of sub-queries, or sub-queries that refer out. */
function looksOutside(node: unknown): boolean {
  if (typeof node !== 'object' || node === null) return false;
  if (Array.isArray(node)) return node.some(looksOutside);
  for (const key in node) {
    const value = (node as Tree)[key];
    if (COLUMNS.has(key)) return true;
    if (key === 'SubLink') {
      if (looksOutside(child(value, 'testexpr')) || refersOut(child(value, 'subselect'))) return true;
    } else if (looksOutside(value)) return true;
  }
  return false;
}

/**
 * True where a sub-query may refer to the query around it: a qualified column whose qualifier it does not define, or a
 * bare column (which could be either).
 */
function refersOut(subquery: unknown): boolean {
  const aliases = new Set<string>();
  const refs: string[][] = [];
  collect(subquery, aliases, refs);
  return refs.some((parts) => {
    const names = parts.filter((part) => part !== '*');
    if (parts.length === 1) return names.length === 1;
    return !aliases.has(parts.at(-2) ?? '');
  });
}

function collect(node: unknown, aliases: Set<string>, refs: string[][]): void {
  if (typeof node !== 'object' || node === null) return;
  if (Array.isArray(node)) {
    for (const item of node) collect(item, aliases, refs);
    return;
  }
  for (const key in node) {
    const value = (node as Tree)[key];
    if (key === 'ColumnRef') refs.push(nameParts(list(value, 'fields')));
    else if (key === 'RangeVar')
      aliases.add(text(child(value, 'alias'), 'aliasname') || text(value, 'relname'));
    else if (key === 'alias') aliases.add(text(value, 'aliasname'));
    if (key !== 'ColumnRef') collect(value, aliases, refs);
  }
}
