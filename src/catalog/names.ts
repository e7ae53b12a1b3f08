import type pg from 'pg';
import { DEFAULT_JUDGEMENT } from './judgement.ts';
import { loadScoped } from './load.ts';
import type { TagRule } from './tags.ts';

/** What a database has by name, system schemas included. */
export type CatalogNames = {
  readonly relations: readonly {
    readonly schema: string;
    readonly name: string;
    readonly columns: readonly string[];
  }[];
  readonly functions: readonly { readonly schema: string; readonly name: string }[];
  /** Tags that some relation or column has, by comment or by those rules. */
  readonly tags: readonly string[];
};

/** Indexes and composite types are relations to Postgres, but no statement reads or writes them. */
const WITHOUT_DATA = new Set(['i', 'I', 'c', 't']);

/** Reads the names in one snapshot. The client must be idle. Throws what `pg` throws. */
export async function readCatalogNames(
  client: pg.ClientBase,
  tagRules: readonly TagRule[],
): Promise<CatalogNames> {
  const scoped = await loadScoped(client, DEFAULT_JUDGEMENT, tagRules);
  const catalog = scoped.anywhere();
  const tags = new Set<string>();
  const relations = [...scoped.snapshot.relations.values()]
    .filter(({ kind }) => !WITHOUT_DATA.has(kind))
    .map((row) => {
      const relation = catalog.relation(row.schema, row.name);
      for (const tag of relation?.tags ?? []) tags.add(tag);
      for (const own of relation?.columnTags?.values() ?? []) for (const tag of own) tags.add(tag);
      return { schema: row.schema, name: row.name, columns: scoped.columns(row).map(([name]) => name) };
    });
  const users = [...scoped.snapshot.functions.values()].map(({ schema, name }) => ({ schema, name }));
  const builtin = [...scoped.snapshot.builtins.values()].map(({ name }) => builtinName(name));
  return { relations, functions: [...users, ...builtin], tags: [...tags].sort() };
}

/** Bare where it is in pg_catalog. */
function builtinName(name: string): { readonly schema: string; readonly name: string } {
  const prefix = 'information_schema.';
  return name.startsWith(prefix)
    ? { schema: 'information_schema', name: name.slice(prefix.length) }
    : { schema: 'pg_catalog', name };
}
