/** Reads what `statement-facts.ts` wrote: the statement of a row of the audit log, as far as policy asks about it. */
import { z } from 'zod';
import type { RelationUse, StatementAnalysis, StatementClass } from '../statement/analysis.ts';
import type { FunctionUse } from '../statement/details.ts';
import { BOUNDARIES } from '../statement/details.ts';
import {
  type CalledName,
  FACTS_FORM,
  firstWord,
  plainBound,
  plainSizes,
  type RelationFacts,
  type StatementFacts,
} from './statement-facts.ts';
import { NOTHING, relationTold } from './told.ts';

/** What a row has beside its facts. */
export type FactsRow = {
  readonly class: StatementClass;
  /** As recorded, `schema.name`. */
  readonly relations: readonly string[];
  /** The beginning of the text; null: erased. */
  readonly sql: string | null;
  /** It changes a pinned setting. */
  readonly pinned: boolean;
};

const names = z.array(z.string());
const rows = z.number().nonnegative().nullable();

/** Strict: what this version does not know may change what the rest means. */
const factsSchema = z.strictObject({
  v: z.literal(FACTS_FORM),
  command: z.string().optional(),
  commands: names.optional(),
  relations: z
    .array(
      z.strictObject({
        schema: z.string().nullable().optional(),
        mode: z.literal('write').optional(),
        unknown: z.literal(true).optional(),
        read: names.nullable().optional(),
        written: names.optional(),
        tags: names.optional(),
      }),
    )
    .optional(),
  reaches: z.array(z.string().nullable()).optional(),
  tags: names.optional(),
  functions: z
    .array(z.union([z.string(), z.tuple([z.string().nullable(), z.string().nullable()])]))
    .optional(),
  implicit: z.literal(true).optional(),
  boundary: z.array(z.enum(BOUNDARIES)).optional(),
  bound: z
    .union([z.number().nonnegative(), z.literal('nothing')])
    .nullable()
    .optional(),
  sizes: z.tuple([rows, rows, rows]).nullable().optional(),
});

/**
 * The statement with everything that policy asks about. `text`: its facts; null: none were recorded. Null: they do not
 * tell (another version's, too long to be recorded, or the text that begins with the command is erased).
 */
export function toldStatement(text: string | null, row: FactsRow): StatementAnalysis | null {
  const facts = text === null ? null : parsed(text);
  if (facts === null) return null;
  const command = facts.command ?? (row.sql === null ? null : firstWord(row.sql));
  const relations = relationsTold(facts.relations, row.relations);
  if (command === null || relations === null) return null;
  const bound = facts.bound === undefined ? plainBound(command) : facts.bound;
  const sizes = facts.sizes === undefined ? plainSizes(command, bound) : facts.sizes;
  return {
    ...NOTHING,
    command,
    class: row.class,
    changesPinned: row.pinned,
    relations,
    tags: [...new Set([...relations.flatMap(({ tags }) => tags ?? []), ...(facts.tags ?? [])])].sort(),
    ...calledTold(facts.functions ?? []),
    operators: facts.implicit === true ? ['?'] : [],
    boundary: facts.boundary ?? [],
    rowBound: typeof bound === 'number' ? bound : null,
    rowBoundBy: bound === 'nothing' ? bound : null,
    ...(facts.commands === undefined ? {} : { commands: facts.commands }),
    ...(facts.reaches === undefined ? {} : { reaches: facts.reaches }),
    ...(sizes === null ? {} : { sizes: { carried: sizes[0], expected: sizes[1], written: sizes[2] } }),
  };
}

function parsed(text: string): StatementFacts | null {
  try {
    return factsSchema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}

function relationsTold(
  facts: readonly RelationFacts[] | undefined,
  recorded: readonly string[],
): readonly RelationUse[] | null {
  if (facts !== undefined && facts.length !== recorded.length) return null;
  const uses = recorded.map((text, at) => relationUse(facts?.[at] ?? {}, text));
  return uses.includes(null) ? null : (uses as readonly RelationUse[]);
}

function relationUse(
  { schema, mode, unknown, read, written, tags }: RelationFacts,
  text: string,
): RelationUse | null {
  const named = schema === undefined ? relationTold(text) : nameAfter(schema, text);
  if (named === null) return null;
  return {
    schema: named.schema,
    name: named.name,
    oid: unknown === true ? null : 0,
    mode: mode ?? 'read',
    columns: read === null ? { read: null, written: null } : { read: read ?? [], written: written ?? [] },
    tags: tags ?? [],
  };
}

function nameAfter(schema: string | null, text: string): Pick<RelationUse, 'schema' | 'name'> | null {
  if (schema === null) return { schema, name: text };
  return text.startsWith(`${schema}.`) ? { schema, name: text.slice(schema.length + 1) } : null;
}

function calledTold(names: readonly CalledName[]): Pick<StatementAnalysis, 'functions' | 'calls'> {
  const functions: FunctionUse[] = [];
  const calls: string[] = [];
  for (const called of names) {
    const [schema, name] = typeof called === 'string' ? ['pg_catalog', called] : called;
    // A call without a name is one of any function.
    if (name === null) calls.push('');
    else functions.push({ schema, name, builtin: false, oid: null, volatility: null, securityDefiner: null });
  }
  return { functions, calls };
}
