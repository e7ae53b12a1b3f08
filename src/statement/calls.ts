import { type BuiltinFunction, builtinFunction, isBuiltinType, JUDGED_BY_ARGUMENTS } from './builtins.ts';
import type { CatalogFunction, FunctionSize } from './catalog.ts';
import { arrayLength, contains, evaluate, numberOf, parameterNumber } from './constants.ts';
import { type Context, raiseIfRun } from './context.ts';
import { noteFunction } from './function-uses.ts';
import { markLiteral } from './literals.ts';
import { meaningOf, noteName, raiseByName } from './meaning.ts';
import { isReachable } from './names.ts';
import { noteSettingOf } from './setting-uses.ts';
import { judgeSetting } from './settings.ts';
import { bodyOf, child, constantString, integer, list, nameParts, type Tree, text, typeOf } from './tree.ts';
import { largestSize, noteDeed, noteSizes } from './user-calls.ts';
import { visitChildren } from './walk.ts';

/** Longest sleep that is harmless, seconds. */
const LONGEST_SLEEP = 10;
const MOST_PERCENTILES = 100;
const ROW_SOURCES = new Set(['ColumnRef', 'SubLink']);

/** A function call: what it means, and what it does to the size of the query around it. */
export function visitCall(context: Context, node: Tree): void {
  visitChildren(context, 'FuncCall', node);
  const parts = nameParts(list(node, 'funcname'));
  const name = parts.at(-1) ?? '';
  const schema = parts.length > 1 ? (parts.at(-2) ?? '') : null;
  const args = list(node, 'args');
  if (name.startsWith('dblink')) markConnectionStrings(context, name, args);

  const candidates = schema === 'pg_catalog' ? [] : userFunctions(context, schema, name, args.length);
  for (const candidate of candidates) {
    const [effect] = candidate.effects;
    noteName(context);
    if (effect !== undefined)
      raiseByName(
        context,
        `${schema === null ? 'may call' : 'calls'} ${candidate.schema}.${name}: ${effect}`,
      );
    else noteDeed(context, candidate);
  }
  noteSizes(context, candidates);
  const builtin =
    schema === null || schema === 'pg_catalog'
      ? builtinFunction(name)
      : schema === 'information_schema'
        ? builtinFunction(`information_schema.${name}`)
        : undefined;
  if (builtin !== undefined || candidates.length > 0)
    noteFunction(context, schema, name, candidates, builtin);
  if (builtin === undefined) {
    if (candidates.length === 0) unknownFunction(context, schema, name, args);
    return;
  }
  judgeBuiltin(context, builtin, node, args);
}

/**
 * The user's functions that this call could mean: the types of its arguments decide, which only the server knows. If it
 * has said, those that the statement calls under this name.
 */
function userFunctions(
  context: Context,
  schema: string | null,
  name: string,
  args: number,
): readonly CatalogFunction[] {
  const all = context.catalog?.functionsNamed(name) ?? NONE;
  if (all.length === 0) return NONE;
  const meaning = meaningOf(context);
  if (meaning !== null) return all.filter(({ oid }) => meaning.functions.has(oid));
  return all.filter(
    (candidate) =>
      (schema === null ? isReachable(context, candidate.schema) : candidate.schema === schema) &&
      candidate.minArgs <= args &&
      args <= candidate.maxArgs,
  );
}

const NONE: readonly CatalogFunction[] = [];

/** What a call in FROM gives, where all that it can mean are user functions of known size; else null. */
export function sizeOfCall(context: Context, call: Tree | null): FunctionSize | null {
  const parts = nameParts(list(call, 'funcname'));
  const name = parts.at(-1) ?? '';
  const schema = parts.length > 1 ? (parts.at(-2) ?? '') : null;
  if (schema === 'pg_catalog' || (schema === null && builtinFunction(name) !== undefined)) return null;
  const candidates = userFunctions(context, schema, name, list(call, 'args').length);
  return candidates.every(({ size }) => size !== undefined) ? largestSize(candidates) : null;
}

function unknownFunction(
  context: Context,
  schema: string | null,
  name: string,
  args: readonly unknown[],
): void {
  // A type in the style of a function, a column of a row, a function with defaults: the server knows.
  if (meaningOf(context) !== null) return;
  const full = schema === null ? name : `${schema}.${name}`;
  // int4('3'): a built-in type in the style of a function.
  if (
    schema === null &&
    args.length === 1 &&
    isBuiltinType(name) &&
    userTypes(context, null, name).length === 0
  )
    return;
  if (context.catalog !== null && args.length === 1) {
    const types = userTypes(context, schema, name);
    if (types.length > 0) context.facts.details.add('casts', `to ${full}`);
    if (types.length > 0 && types.every(({ effects }) => effects.length === 0)) return;
  }
  noteFunction(context, schema, name, NONE, undefined);
  const why = name.startsWith('dblink') ? 'connects to another server' : 'is a function that nobody knows';
  raiseByName(context, `${full} ${why}`);
}

function userTypes(context: Context, schema: string | null, name: string) {
  const all = context.catalog?.typesNamed(name) ?? [];
  return all.filter((type) => (schema === null ? isReachable(context, type.schema) : type.schema === schema));
}

function judgeBuiltin(
  context: Context,
  builtin: BuiltinFunction,
  node: Tree,
  args: readonly unknown[],
): void {
  const { level } = context;
  // What they read is named by a value, or by the schema that it stands in.
  if (builtin.name.includes('_to_xml') && !context.definition) context.facts.reach(null);
  // What they read is named by a value, or by the schema that it stands in.
  if (builtin.name.includes('_to_xml') && !context.definition) context.facts.reach(null);
  if (builtin.effect !== null)
    raiseIfRun(context, builtin.effect.class, `${builtin.name} ${builtin.effect.reason}`);
  if (JUDGED_BY_ARGUMENTS.has(builtin.name)) context.facts.argumentsJudged.add(builtin.name);
  if (builtin.name === 'set_config') judgeSetConfig(context, args);
  else if (builtin.name === 'current_setting') noteShown(context, args);
  else if (JUDGED_BY_ARGUMENTS.has(builtin.name)) judgeArguments(context, builtin.name, args);
  if (level === null) return;
  if (builtin.aggregate) {
    const folds = builtin.folds || (builtin.name.startsWith('percentile_') && carriesMany(context, args));
    noteAggregate(level, node, folds, child(node, 'over') !== null);
  } else if (builtin.returnsSet) {
    level.multiplied *= rowsOfFunction(context, builtin.name, args) ?? Number.POSITIVE_INFINITY;
    if (args.some((arg) => contains(arg, ROW_SOURCES))) level.unfoldsValues = true;
  }
}

/**
 * An aggregate whose arguments belong to an outer query is computed there: this query is then none of one row, and that
 * one is. Where the names leave that open, both are taken for what gives more. `over`: it is a window function.
 */
export function noteAggregate(
  level: NonNullable<Context['level']>,
  node: Tree,
  folds: boolean,
  over: boolean,
): void {
  if (folds) level.folds = true;
  if (over) return;
  if (isOwn(level, node)) {
    level.aggregates = true;
    return;
  }
  for (let at: typeof level | null = level; at !== null; at = at.parent) {
    at.mayAggregate = true;
    if (folds) at.folds = true;
  }
}

function isOwn(level: NonNullable<Context['level']>, node: Tree): boolean {
  if (level.parent === null) return true;
  const own = (parts: readonly string[]): boolean => {
    const column = parts.at(-1) ?? '';
    if (parts.length > 1) return level.sources.some(({ alias }) => alias === parts.at(-2));
    return level.sources.some(
      ({ alias, columns, tables }) =>
        alias === column || columns?.has(column) || (columns === null && tables),
    );
  };
  const columns = columnsIn(node);
  // Null: a query stands in it, whose columns may be anybody's.
  return columns?.every(own) === true;
}

function columnsIn(node: unknown, found: string[][] = []): string[][] | null {
  if (typeof node !== 'object' || node === null) return found;
  if (Array.isArray(node)) return node.every((item) => columnsIn(item, found) !== null) ? found : null;
  for (const key in node) {
    const value = (node as Tree)[key];
    if (key === 'ColumnRef') {
      const parts = nameParts(list(value, 'fields'));
      if (parts.at(-1) !== '*' || parts.length > 1) found.push(parts);
    } else if (key === 'SubLink' || columnsIn(value, found) === null) return null;
  }
  return found;
}

/** percentile_disc(ARRAY[…]) returns as many values as it is given fractions. */
function carriesMany(context: Context, args: readonly unknown[]): boolean {
  if (evaluate(args[0]) !== null && bodyOf(args[0], 'TypeCast') === null) return false;
  const length = arrayLength(context, args[0]);
  return length === null || length > MOST_PERCENTILES;
}

/**
 * The most rows that a set-returning function gives for one call; 1 where it only unfolds a value of a row (which is
 * counted already); null: nothing bounds it.
 */
export function rowsOfFunction(context: Context, name: string, args: readonly unknown[]): number | null {
  if (name === 'generate_series') return seriesLength(context, args);
  if (name === 'unnest') {
    const lengths = args.map((arg) => arrayLength(context, arg));
    if (lengths.every((length) => length !== null)) return Math.max(1, ...(lengths as number[]));
  }
  if (args.some((arg) => contains(arg, ROW_SOURCES))) return 1;
  const first = name === 'jsonb_path_query' || name === 'json_populate_recordset' ? args : args.slice(0, 1);
  let longest = 0;
  for (const arg of first) {
    const literal = evaluate(arg) ?? evaluate(bodyOf(arg, 'TypeCast')?.['arg']);
    if (literal === null) return null;
    longest = Math.max(longest, literal.kind === 'string' ? literal.value.length : 1);
  }
  return Math.max(1, longest);
}

function seriesLength(context: Context, args: readonly unknown[]): number | null {
  const [from, to, step] = args.map((arg) => numberOf(context, arg));
  if (typeof from === 'number' && typeof to === 'number') {
    const by = step === undefined ? 1 : step;
    if (typeof by !== 'number' || by === 0) return null;
    return Math.max(0, Math.floor((to - from) / by) + 1);
  }
  const [start, end] = args.map((arg) => Date.parse(`${constantIn(arg)}Z`) || Date.parse(constantIn(arg)));
  const interval = intervalSeconds(constantIn(args[2]));
  if (
    start === undefined ||
    end === undefined ||
    Number.isNaN(start) ||
    Number.isNaN(end) ||
    interval === null
  )
    return null;
  return Math.max(0, Math.floor(Math.abs(end - start) / 1000 / interval) + 1);
}

/** The literal inside casts of any type; empty where there is none. */
function constantIn(node: unknown): string {
  const cast = bodyOf(node, 'TypeCast');
  if (cast !== null) return constantIn(cast['arg']);
  const constant = evaluate(node);
  return constant?.kind === 'string' ? constant.value : '';
}

const UNIT_SECONDS: Readonly<Record<string, number>> = {
  second: 1,
  minute: 60,
  hour: 3600,
  day: 86_400,
  week: 604_800,
  month: 2_419_200,
  mon: 2_419_200,
  year: 31_536_000,
};

/** The least seconds that a simple interval takes; null where it is not one. */
function intervalSeconds(value: string): number | null {
  const found = /^\s*(\d+)\s*([a-z]+?)s?\s*$/i.exec(value);
  const unit = UNIT_SECONDS[found?.[2]?.toLowerCase() ?? ''];
  const count = Number(found?.[1] ?? 0);
  return unit === undefined || count === 0 ? null : unit * count;
}

function judgeArguments(context: Context, name: string, args: readonly unknown[]): void {
  if (name === 'pg_notify') {
    if (args.some((arg) => contains(arg, ROW_SOURCES)))
      raiseIfRun(context, 'export', 'pg_notify sends what it reads to whoever listens');
  } else if (name === 'ts_rewrite') {
    if (args.length === 2) raiseIfRun(context, 'opaque', 'ts_rewrite runs SQL that is given as text');
  } else if (name === 'pg_sleep' || name === 'pg_sleep_for') {
    const value = evaluate(bodyOf(args[0], 'TypeCast')?.['arg'] ?? args[0]);
    const seconds =
      value?.kind === 'number' ? value.value : value?.kind === 'string' ? sleepSeconds(value.value) : null;
    if (seconds === null || seconds > LONGEST_SLEEP)
      raiseIfRun(context, 'opaque', `${name} sleeps longer than ${LONGEST_SLEEP} s`);
  } else {
    judgeTypeText(context, name, args[1]);
  }
}

function sleepSeconds(value: string): number | null {
  const plain = Number(value);
  return value.trim() !== '' && Number.isFinite(plain) ? plain : intervalSeconds(value);
}

/** pg_input_is_valid('…', 'a type'): reads a value of that type, which for a domain calls its check. */
function judgeTypeText(context: Context, name: string, type: unknown): void {
  const value = constantString(type);
  const simple = value !== null && /^[a-z_][a-z0-9_ ]*(\(\d+(,\d+)?\))?(\[\])*$/.test(value);
  const bare = value?.replace(/[([].*$/, '').trim() ?? '';
  const known =
    isBuiltinType(bare) ||
    /^(integer|bigint|smallint|boolean|real|double precision|character varying|character|decimal|timestamp with(out)? time zone|time with(out)? time zone|bit varying)$/.test(
      bare,
    );
  if (!simple || !known || userTypes(context, null, bare).length > 0)
    raiseIfRun(context, 'opaque', `${name} reads a value of a type that is not known to be built in`);
}

function noteShown(context: Context, args: readonly unknown[]): void {
  const name = constantString(args[0]);
  noteSettingOf(context.facts.details, name ?? '*', null, 'show', context.definition);
}

function judgeSetConfig(context: Context, args: readonly unknown[]): void {
  const name = settingName(context, args[0]);
  const value = constantString(args[1]) ?? parameterText(context, args[1]);
  if (name === null)
    return raiseIfRun(context, 'opaque', 'set_config changes a setting that is not named by a constant');
  const isNull = evaluate(args[1])?.kind === 'null';
  noteSettingOf(context.facts.details, name, value, isNull ? 'reset' : 'set', context.definition);
  const judged = judgeSetting(name, value, value !== null || isNull);
  if (context.definition) return;
  context.facts.raise(judged.class, judged.class === 'session' ? undefined : `set_config: ${judged.reason}`);
  if (judged.pinned) context.facts.changesPinned = true;
  if (name.toLowerCase() === 'search_path') context.facts.changesSearchPath = true;
}

/** The constant, the parameter, or (pg_dump) the column that a condition on pg_settings fixes. */
function settingName(context: Context, node: unknown): string | null {
  const constant = constantString(node);
  if (constant !== null) return constant;
  if (parameterNumber(node) > 0) return parameterText(context, node);
  const column = bodyOf(node, 'ColumnRef');
  if (column === null || nameParts(list(column, 'fields')).at(-1) !== 'name') return null;
  const [source, ...others] = context.level?.sources ?? [];
  if (others.length > 0 || source?.alias !== 'pg_settings' || source.data) return null;
  return context.level?.fixedSetting ?? null;
}

function parameterText(context: Context, node: unknown): string | null {
  const number = parameterNumber(node);
  if (number === 0) return null;
  context.facts.dependOn(number);
  const value = context.parameters?.[number - 1];
  if (value === undefined || value === null) return null;
  return typeof value === 'string' ? value : value.toString('utf8');
}

/** The connection strings among dblink's arguments are secrets; its SQL is not. */
function markConnectionStrings(context: Context, name: string, args: readonly unknown[]): void {
  const places = /^dblink_connect(_u)?$/.test(name)
    ? args.slice(-1)
    : args.length > 1 || name === 'dblink'
      ? args.slice(0, 1)
      : [];
  for (const place of places) {
    // A name of a connection is no secret; a string put together of parts is one in each of them.
    const strings = stringsIn(place);
    if (strings.some(({ told }) => /[=:]/.test(told))) for (const { at } of strings) markLiteral(context, at);
    markParameters(context, place);
  }
}

/** Functions that put texts together; what another one makes of its arguments could be anything, also run. */
const JOINS: ReadonlySet<string> = new Set(['concat', 'concat_ws', 'format']);

type StringConstant = { readonly told: string; readonly at: number };

function stringsIn(node: unknown): readonly StringConstant[] {
  if (typeof node !== 'object' || node === null) return [];
  if (typeOf(node) === 'A_Const') {
    const body = (node as { A_Const: Tree }).A_Const;
    const value = child(body, 'sval');
    return value === null ? [] : [{ told: text(value, 'sval'), at: integer(body, 'location') }];
  }
  const call = bodyOf(node, 'FuncCall');
  if (call !== null && !JOINS.has(nameParts(list(call, 'funcname')).at(-1) ?? '')) return [];
  return Object.values(node).flatMap(stringsIn);
}

/** Where `$1` is marked, the log has no parameters. */
function markParameters(context: Context, node: unknown): void {
  if (typeof node !== 'object' || node === null) return;
  if (typeOf(node) === 'ParamRef') {
    const body = (node as { ParamRef: Tree }).ParamRef;
    const at = integer(body, 'location');
    context.facts.secrets.push([at, at + 1 + String(integer(body, 'number')).length]);
    return;
  }
  for (const inner of Object.values(node)) markParameters(context, inner);
}
