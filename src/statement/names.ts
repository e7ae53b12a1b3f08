import { BUILTIN_OPERATOR_NAMES, isBuiltinType } from './builtins.ts';
import type { Relation } from './catalog.ts';
import { type Context, raiseIfRun } from './context.ts';
import { isMade, isMadeTemporary } from './made.ts';
import { meaningOf, raiseByName } from './meaning.ts';
import { isSystemRelationName, isSystemSchema } from './system-relations.ts';
import { list, nameParts, type Tree, text } from './tree.ts';
import { noteDeed, noteSizes } from './user-calls.ts';

/** What a relation's name can mean. More than one candidate where the search_path is not known: the worst counts. */
export type ResolvedRelation =
  | { readonly kind: 'system'; readonly schema: string; readonly relation: Relation | null }
  | { readonly kind: 'user'; readonly candidates: readonly Relation[] }
  /** A plain table of unknown size: the string itself made it, or there is no catalog to ask. */
  | { readonly kind: 'plain' }
  | { readonly kind: 'unknown'; readonly reason: string };

/** True where a bare name can mean an object of that schema. */
export function isReachable(context: Context, schema: string): boolean {
  return context.path === null || context.path.includes(schema);
}

/** Resolves a RangeVar that is no common table expression. */
export function resolveRelation(context: Context, rangeVar: Tree): ResolvedRelation {
  const schema = text(rangeVar, 'schemaname');
  const name = text(rangeVar, 'relname');
  if (schema !== '') return resolveQualified(context, schema, name);
  const { catalog } = context;
  if (isMadeTemporary(context, name)) return { kind: 'plain' };
  if (context.tempPossible)
    return { kind: 'unknown', reason: `${name} may mean a temporary table of this session` };
  if (catalog === null) {
    return isSystemRelationName(name)
      ? { kind: 'system', schema: 'pg_catalog', relation: null }
      : { kind: 'plain' };
  }
  if (context.path === null) return resolveAnywhere(context, name);
  const path = context.path.includes('pg_catalog') ? context.path : ['pg_catalog', ...context.path];
  for (const at of path) {
    if (isMade(context, at, name)) return { kind: 'plain' };
    const relation = catalog.relation(at, name);
    if (relation === undefined) continue;
    return isSystemSchema(at)
      ? { kind: 'system', schema: at, relation }
      : { kind: 'user', candidates: [relation] };
  }
  return { kind: 'unknown', reason: `there is no relation ${name}` };
}

function resolveQualified(context: Context, schema: string, name: string): ResolvedRelation {
  if (isMade(context, schema, name)) return { kind: 'plain' };
  if (schema === 'pg_temp' || schema.startsWith('pg_temp_'))
    return { kind: 'unknown', reason: `${schema}.${name} is a temporary table` };
  if (context.catalog === null)
    return isSystemSchema(schema) ? { kind: 'system', schema, relation: null } : { kind: 'plain' };
  const relation = context.catalog.relation(schema, name);
  if (relation === undefined) return { kind: 'unknown', reason: `there is no relation ${schema}.${name}` };
  return isSystemSchema(schema)
    ? { kind: 'system', schema, relation }
    : { kind: 'user', candidates: [relation] };
}

function resolveAnywhere(context: Context, name: string): ResolvedRelation {
  const candidates = context.catalog?.relationsNamed(name) ?? [];
  const first = candidates[0];
  if (first === undefined) return { kind: 'unknown', reason: `there is no relation ${name}` };
  if (candidates.length === 1 && isSystemSchema(first.schema))
    return { kind: 'system', schema: first.schema, relation: first };
  return { kind: 'user', candidates };
}

/** Looks at an operator, where the server has not said which it is: one that users made, and that could be meant, calls code that nobody knows. */
export function checkOperator(context: Context, parts: readonly string[]): void {
  if (meaningOf(context) !== null) return;
  const name = parts.at(-1) ?? '';
  if (parts.length > 1) {
    const schema = parts[0] ?? '';
    if (schema === 'pg_catalog' && BUILTIN_OPERATOR_NAMES.has(name)) return;
    context.facts.details.add('operators', `${schema}.${name}`);
    return raiseByName(context, `the operator ${schema}.${name} is user-defined`);
  }
  const schemas = context.catalog?.operatorSchemas(name);
  const user = schemas?.find((schema) => isReachable(context, schema));
  if (user === undefined && BUILTIN_OPERATOR_NAMES.has(name)) return;
  context.facts.details.add('operators', name);
  if (user !== undefined)
    raiseByName(context, `the operator ${name} may mean ${user}.${name}, which is user-defined`);
  else raiseByName(context, `the operator ${name} is not built in`);
}

/** Looks at a type: reading a value of a user's type may call code (a domain's check, a cast). */
export function checkType(context: Context, typeName: Tree): void {
  if (meaningOf(context) !== null) return;
  const parts = nameParts(list(typeName, 'names'));
  const name = parts.at(-1) ?? '';
  const schema = parts.length > 1 ? (parts.at(-2) ?? '') : null;
  if (schema === 'pg_catalog') {
    if (!isBuiltinType(name)) raiseIfRun(context, 'opaque', `there is no built-in type ${name}`);
    return;
  }
  if (schema === null && context.tempPossible)
    return raiseIfRun(context, 'opaque', `the type ${name} may mean a temporary one of this session`);
  const { catalog } = context;
  if (catalog === null) {
    if (!isBuiltinType(name)) context.facts.details.add('types', parts.join('.'));
    return;
  }
  const bare = name.startsWith('_') && !isBuiltinType(name) ? name.slice(1) : name;
  const found = catalog
    .typesNamed(bare)
    .filter((type) => (schema === null ? isReachable(context, type.schema) : type.schema === schema));
  if (found.length > 0) context.facts.details.add('types', parts.join('.'));
  for (const type of found) {
    const [effect] = type.effects;
    if (effect !== undefined) raiseByName(context, `the type ${type.schema}.${bare}: ${effect}`);
  }
  if (found.length === 0 && (schema !== null ? !isSystemSchema(schema) : !isBuiltinType(name)))
    raiseByName(context, `there is no type ${parts.join('.')}`);
}

/** Looks at `x.name`: where no column has that name, it calls a function of the row. */
export function checkField(context: Context, name: string): void {
  const { catalog } = context;
  if (catalog === null || name === '*' || name === '') return;
  const meaning = meaningOf(context);
  for (const candidate of catalog.functionsNamed(name)) {
    if (meaning !== null) {
      if (!meaning.functions.has(candidate.oid)) continue;
      noteDeed(context, candidate);
      noteSizes(context, [candidate]);
    } else if (candidate.takesRow && isReachable(context, candidate.schema))
      raiseByName(context, `.${name} may call the function ${candidate.schema}.${name}`);
  }
}
