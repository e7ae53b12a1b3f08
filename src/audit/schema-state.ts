import type pg from 'pg';
import { migrations } from './migrate.ts';
import { quoteName } from './quote-name.ts';

/** How a database's audit schema stands to this program. */
export type SchemaState =
  | { readonly kind: 'absent' }
  /** So old that who reads its views cannot see its version. */
  | { readonly kind: 'old' }
  | {
      readonly kind: 'there';
      /** Changes that this program has, and the schema has not. */
      readonly missing: readonly string[];
      /** Changes that a newer program made. */
      readonly unknown: readonly string[];
      /** Changes whose text was another than this program's. */
      readonly other: readonly string[];
    };

/** Compares the schema's changes with this program's, as its owner or as an auditor. Rejects when it cannot be read. */
export async function schemaState(client: pg.Client, schema: string): Promise<SchemaState> {
  // Not to_regclass(): to it a schema that one may not enter is an error.
  const { rows } = await client.query<{ relname: string; readable: boolean }>(
    `SELECT c.relname, pg_catalog.has_schema_privilege(n.oid, 'USAGE')
            AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relname IN ('entry', 'migration', 'migrations')`,
    [schema],
  );
  // A schema of that name which is not ours may have tables of such names, but not both.
  const has = (name: string) => rows.some(({ relname }) => relname === name);
  if (!has('entry') || !has('migration')) return { kind: 'absent' };
  const source = rows.find(({ relname, readable }) => readable && relname !== 'entry');
  if (source === undefined) return { kind: 'old' };
  const { rows: present } = await client.query<{ name: string; sha256: string }>(
    `SELECT name, sha256 FROM ${quoteName(schema)}.${quoteName(source.relname)} ORDER BY name`,
  );
  return compared(present);
}

function compared(present: readonly { readonly name: string; readonly sha256: string }[]): SchemaState {
  const ours = new Map(migrations().map(({ name, sha256 }) => [name, sha256]));
  const theirs = new Map(present.map(({ name, sha256 }) => [name, sha256]));
  return {
    kind: 'there',
    missing: [...ours.keys()].filter((name) => !theirs.has(name)),
    unknown: [...theirs.keys()].filter((name) => !ours.has(name)),
    other: [...theirs]
      .filter(([name, sha256]) => (ours.get(name) ?? sha256) !== sha256)
      .map(([name]) => name),
  };
}
