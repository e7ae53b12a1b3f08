import type { Context, ParameterValues } from './context.ts';
import {
  type Constant,
  constantOf,
  flag,
  integer,
  list,
  nameParts,
  type Tree,
  text,
  typeOf,
} from './tree.ts';

const NUMERIC_TYPES = new Set(['int2', 'int4', 'int8', 'numeric', 'float4', 'float8', 'smallint', 'bigint']);
const TEXT_TYPES = new Set(['text', 'varchar', 'bpchar', 'name', 'unknown']);

/**
 * The value of an expression that holds nothing but constants, as Postgres would compute it; null where it is not
 * constant or not understood. Only for deciding that a condition or a limit is constant: never a guess.
 */
export function evaluate(node: unknown): Constant | null {
  const type = typeOf(node);
  const body = (node as Tree | undefined)?.[type] as Tree;
  switch (type) {
    case 'A_Const':
      return constantOf(node);
    case 'TypeCast':
      return castOf(evaluate(body['arg']), body);
    case 'BoolExpr':
      return booleanOf(text(body, 'boolop'), list(body, 'args').map(evaluate));
    case 'A_Expr':
      return operatorOf(body);
    case 'NullTest': {
      const arg = evaluate(body['arg']);
      if (arg === null) return null;
      return { kind: 'boolean', value: (arg.kind === 'null') === (text(body, 'nulltesttype') === 'IS_NULL') };
    }
    case 'BooleanTest': {
      const arg = evaluate(body['arg']);
      if (arg === null || (arg.kind !== 'boolean' && arg.kind !== 'null')) return null;
      const name = text(body, 'booltesttype').replace('IS_NOT_', '').replace('IS_', '');
      const holds = arg.kind === 'null' ? name === 'UNKNOWN' : name === (arg.value ? 'TRUE' : 'FALSE');
      return { kind: 'boolean', value: holds !== text(body, 'booltesttype').startsWith('IS_NOT_') };
    }
    case 'CoalesceExpr': {
      const first = evaluate(list(body, 'args')[0]);
      return first !== null && first.kind !== 'null' ? first : null;
    }
    default:
      return null;
  }
}

function castOf(value: Constant | null, cast: Tree): Constant | null {
  const typeName = cast['typeName'];
  const name = nameParts(list(typeName, 'names')).at(-1) ?? '';
  if (value === null || value.kind === 'null' || list(typeName, 'arrayBounds').length > 0) return value;
  if (name === 'bool' || name === 'boolean') return asBoolean(value);
  if (NUMERIC_TYPES.has(name)) {
    const number =
      value.kind === 'number' ? value.value : value.kind === 'string' ? Number(value.value) : NaN;
    return Number.isFinite(number) ? { kind: 'number', value: number } : null;
  }
  if (TEXT_TYPES.has(name))
    return value.kind === 'string' ? value : { kind: 'string', value: String(value.value) };
  return null;
}

/** A constant as a condition: also `'t'`, `'yes'`, `1::bool`; null where it is neither. */
export function asBoolean(value: Constant): Constant | null {
  if (value.kind === 'boolean' || value.kind === 'null') return value;
  if (value.kind === 'number') return { kind: 'boolean', value: value.value !== 0 };
  const word = value.value.trim().toLowerCase();
  if (word === '') return null;
  if ('true'.startsWith(word) || 'yes'.startsWith(word) || word === 'on' || word === '1')
    return { kind: 'boolean', value: true };
  if ('false'.startsWith(word) || 'no'.startsWith(word) || ['off', 'of', '0'].includes(word))
    return { kind: 'boolean', value: false };
  return null;
}

function booleanOf(op: string, args: readonly (Constant | null)[]): Constant | null {
  const values = args.map((arg) => (arg === null ? null : asBoolean(arg)));
  const is = (wanted: boolean) =>
    values.some((v) => v !== null && v.kind === 'boolean' && v.value === wanted);
  const all = (wanted: boolean) =>
    values.every((v) => v !== null && v.kind === 'boolean' && v.value === wanted);
  if (op === 'NOT_EXPR') {
    const [value] = values;
    if (value === undefined || value === null) return null;
    return value.kind === 'boolean' ? { kind: 'boolean', value: !value.value } : value;
  }
  const decisive = op === 'OR_EXPR';
  if (is(decisive)) return { kind: 'boolean', value: decisive };
  if (all(!decisive)) return { kind: 'boolean', value: !decisive };
  return values.every((v) => v !== null) ? { kind: 'null' } : null;
}

function operatorOf(body: Tree): Constant | null {
  const parts = nameParts(list(body, 'name'));
  if (parts.length > 1 && parts[0] !== 'pg_catalog') return null;
  const op = parts.at(-1) ?? '';
  const kind = text(body, 'kind');
  const left = body['lexpr'] === undefined ? undefined : evaluate(body['lexpr']);
  if (left === null) return null;
  if (kind === 'AEXPR_OP') {
    const right = evaluate(body['rexpr']);
    if (right === null) return null;
    return left === undefined ? signed(op, right) : compute(op, left, right);
  }
  if (left === undefined) return null;
  if (kind === 'AEXPR_IN') {
    const results = list((body['rexpr'] as Tree)?.['List'], 'items').map((item) => {
      const value = evaluate(item);
      return value === null ? null : compute('=', left, value);
    });
    const found = booleanOf('OR_EXPR', results);
    return op === '<>' && found !== null ? booleanOf('NOT_EXPR', [found]) : found;
  }
  if (kind === 'AEXPR_BETWEEN') {
    const [low, high] = list((body['rexpr'] as Tree)?.['List'], 'items').map(evaluate);
    if (low == null || high == null) return null;
    return booleanOf('AND_EXPR', [compute('>=', left, low), compute('<=', left, high)]);
  }
  return null;
}

function signed(op: string, right: Constant): Constant | null {
  if (right.kind !== 'number') return null;
  return op === '-' ? { kind: 'number', value: -right.value } : op === '+' ? right : null;
}

function compute(op: string, left: Constant, right: Constant): Constant | null {
  if (left.kind === 'null' || right.kind === 'null') return { kind: 'null' };
  if (left.kind === 'number' && right.kind === 'number') {
    const number = arithmetic(op, left.value, right.value);
    if (number !== null) return { kind: 'number', value: number };
  }
  // A quoted constant takes the type of the other side.
  if (left.kind === 'string' && right.kind === 'number' && Number.isFinite(Number(left.value)))
    return compute(op, { kind: 'number', value: Number(left.value) }, right);
  if (right.kind === 'string' && left.kind === 'number' && Number.isFinite(Number(right.value)))
    return compute(op, left, { kind: 'number', value: Number(right.value) });
  if (left.kind !== right.kind) return null;
  const equal = left.value === right.value;
  if (op === '=') return { kind: 'boolean', value: equal };
  if (op === '<>' || op === '!=') return { kind: 'boolean', value: !equal };
  // How strings sort depends on the collation.
  if (left.kind === 'string' && !equal) return null;
  switch (op) {
    case '<':
      return { kind: 'boolean', value: left.value < right.value };
    case '>':
      return { kind: 'boolean', value: left.value > right.value };
    case '<=':
      return { kind: 'boolean', value: left.value <= right.value };
    case '>=':
      return { kind: 'boolean', value: left.value >= right.value };
    default:
      return null;
  }
}

function arithmetic(op: string, a: number, b: number): number | null {
  if (op === '+') return a + b;
  if (op === '-') return a - b;
  if (op === '*') return a * b;
  if (op === '/' && b !== 0) return Number.isInteger(a) && Number.isInteger(b) ? Math.trunc(a / b) : a / b;
  if (op === '%' && b !== 0) return a % b;
  return null;
}

/** The number of a ParamRef, 0 for anything else; casts are looked through. */
export function parameterNumber(node: unknown): number {
  const type = typeOf(node);
  if (type === 'TypeCast') return parameterNumber((node as { TypeCast: Tree }).TypeCast['arg']);
  return type === 'ParamRef' ? integer((node as { ParamRef: Tree }).ParamRef, 'number') : 0;
}

/** A number: constant, or the value of a parameter (remembered as one that decides). Null: not known. */
export function numberOf(context: Context, node: unknown): number | 'null' | null {
  const parameter = parameterNumber(node);
  if (parameter > 0) {
    context.facts.dependOn(parameter);
    return numericParameter(context.parameters, parameter);
  }
  const value = evaluate(node);
  if (value?.kind === 'number') return value.value;
  if (value?.kind === 'null') return 'null';
  return null;
}

function numericParameter(values: ParameterValues | null, number: number): number | 'null' | null {
  const value = values?.[number - 1];
  if (value === undefined) return null;
  if (value === null) return 'null';
  if (typeof value === 'string')
    return value.trim() !== '' && Number.isFinite(Number(value)) ? Number(value) : null;
  if (value.length === 8) return Number(value.readBigInt64BE());
  if (value.length === 4) return value.readInt32BE();
  return value.length === 2 ? value.readInt16BE() : null;
}

/** How many elements an array can have: ARRAY[…], a constant '{…}', a parameter. Null: not known. */
export function arrayLength(context: Context, node: unknown): number | null {
  const type = typeOf(node);
  const body = (node as Tree | undefined)?.[type] as Tree;
  if (type === 'TypeCast') return arrayLength(context, body['arg']);
  if (type === 'A_ArrayExpr') {
    const elements = list(body, 'elements');
    if (!elements.some((element) => typeOf(element) === 'A_ArrayExpr')) return elements.length;
    const lengths = elements.map((element) => arrayLength(context, element));
    return lengths.reduce<number | null>((sum, n) => (sum === null || n === null ? null : sum + n), 0);
  }
  const parameter = parameterNumber(node);
  if (parameter > 0) {
    context.facts.dependOn(parameter);
    const value = context.parameters?.[parameter - 1];
    if (value === undefined) return null;
    if (value === null) return 0;
    return typeof value === 'string' ? elementsOf(value) : binaryArrayLength(value);
  }
  const constant = evaluate(node);
  return constant?.kind === 'string' ? elementsOf(constant.value) : null;
}

/** Never less than the elements of an array, set or document in text form. */
export function elementsOf(value: string): number {
  let count = 1;
  for (let i = 0; i < value.length; i++) if (value.charCodeAt(i) === 0x2c) count++;
  return count;
}

/** The array header of the binary format: dimensions, flags, type, then length and lower bound of each. */
function binaryArrayLength(value: Buffer): number | null {
  if (value.length < 12) return null;
  const dimensions = value.readInt32BE(0);
  if (dimensions < 0 || dimensions > 6 || value.length < 12 + dimensions * 8) return null;
  let length = dimensions === 0 ? 0 : 1;
  for (let i = 0; i < dimensions; i++) length *= value.readInt32BE(12 + i * 8);
  return length;
}

/** True where the subtree has a node of one of these types. */
export function contains(node: unknown, types: ReadonlySet<string>): boolean {
  if (typeof node !== 'object' || node === null) return false;
  if (Array.isArray(node)) return node.some((item) => contains(item, types));
  for (const key in node) {
    if (types.has(key)) return true;
    if (contains((node as Tree)[key], types)) return true;
  }
  return false;
}

/** True where two expressions are the same text, wherever they stand. */
export function sameExpression(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const left = a as Tree;
  const right = b as Tree;
  for (const key in left) if (key !== 'location' && !sameExpression(left[key], right[key])) return false;
  for (const key in right) if (key !== 'location' && !(key in left)) return false;
  return true;
}

export function isNullConstant(node: unknown): boolean {
  const type = typeOf(node);
  return type === 'A_Const' && flag((node as { A_Const: Tree }).A_Const, 'isnull');
}
