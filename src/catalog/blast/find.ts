import type { ObjectName, TypeRef } from '../../statement/target.ts';
import type { Address } from './drop-closure.ts';
import type { Look } from './look.ts';

export type FoundRelation = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** pg_class.relkind. */
  readonly kind: string;
};

/** Catalogs of objects that live in a schema: catalog, column of the name, column of the schema. */
const IN_SCHEMA: Readonly<Record<string, readonly [string, string, string]>> = {
  OBJECT_TYPE: ['pg_type', 'typname', 'typnamespace'],
  OBJECT_DOMAIN: ['pg_type', 'typname', 'typnamespace'],
  OBJECT_COLLATION: ['pg_collation', 'collname', 'collnamespace'],
  OBJECT_CONVERSION: ['pg_conversion', 'conname', 'connamespace'],
  OBJECT_STATISTIC_EXT: ['pg_statistic_ext', 'stxname', 'stxnamespace'],
  OBJECT_TSCONFIGURATION: ['pg_ts_config', 'cfgname', 'cfgnamespace'],
  OBJECT_TSDICTIONARY: ['pg_ts_dict', 'dictname', 'dictnamespace'],
};
const GLOBAL: Readonly<Record<string, readonly [string, string]>> = {
  OBJECT_SCHEMA: ['pg_namespace', 'nspname'],
  OBJECT_EXTENSION: ['pg_extension', 'extname'],
  OBJECT_LANGUAGE: ['pg_language', 'lanname'],
  OBJECT_FDW: ['pg_foreign_data_wrapper', 'fdwname'],
  OBJECT_FOREIGN_SERVER: ['pg_foreign_server', 'srvname'],
  OBJECT_EVENT_TRIGGER: ['pg_event_trigger', 'evtname'],
  OBJECT_PUBLICATION: ['pg_publication', 'pubname'],
  OBJECT_ACCESS_METHOD: ['pg_am', 'amname'],
};
const ON_TABLE: Readonly<Record<string, readonly [string, string, string]>> = {
  OBJECT_TRIGGER: ['pg_trigger', 'tgname', 'tgrelid'],
  OBJECT_POLICY: ['pg_policy', 'polname', 'polrelid'],
  OBJECT_RULE: ['pg_rewrite', 'rulename', 'ev_class'],
  OBJECT_TABCONSTRAINT: ['pg_constraint', 'conname', 'conrelid'],
};
const RELATIONS = new Set([
  'OBJECT_TABLE',
  'OBJECT_VIEW',
  'OBJECT_MATVIEW',
  'OBJECT_INDEX',
  'OBJECT_SEQUENCE',
  'OBJECT_FOREIGN_TABLE',
]);
const FUNCTIONS = new Set(['OBJECT_FUNCTION', 'OBJECT_PROCEDURE', 'OBJECT_ROUTINE', 'OBJECT_AGGREGATE']);

/** Their fixed OIDs. */
const PG_CLASS = 1259;
const PG_PROC = 1255;

type Row = { readonly catalog: number; readonly oid: number };

function addressOf(row: Row | undefined): Address | null {
  return row === undefined ? null : { ...row, column: 0 };
}

/** Finds what names mean, by `path` (null: not known, so bare names mean nothing here). */
export class Finder {
  readonly #look: Look;
  readonly #path: readonly string[] | null;

  constructor(look: Look, path: readonly string[] | null) {
    this.#look = look;
    this.#path = path;
  }

  /** Null: there is none, it cannot be told, or objects of that kind are not looked up. */
  async object(name: ObjectName): Promise<Address | null> {
    const { type, names } = name;
    if (RELATIONS.has(type)) {
      const found = await this.relation(name);
      return found === null ? null : { catalog: PG_CLASS, oid: found.oid, column: 0 };
    }
    if (FUNCTIONS.has(type)) return this.#function(name);
    const [schema, last] = split(names);
    const inSchema = IN_SCHEMA[type];
    if (inSchema !== undefined) {
      const [catalog, column, namespace] = inSchema;
      return this.#named(catalog, `x.${column}`, `x.${namespace}`, schema, last);
    }
    const global = GLOBAL[type];
    if (global !== undefined) {
      const [row] = await this.#look.rows<Row>(
        `SELECT x.tableoid::int8::float8 AS catalog, x.oid::int8::float8 AS oid FROM pg_catalog.${global[0]} x WHERE x.${global[1]} = $1::name`,
        [last],
      );
      return addressOf(row);
    }
    const onTable = ON_TABLE[type];
    if (onTable === undefined || names.length < 2) return null;
    const table = await this.relation({ type: 'OBJECT_TABLE', names: names.slice(0, -1), args: null });
    return table === null ? null : this.onTable(onTable, table.oid, last);
  }

  async onTable(
    [catalog, column, relation]: readonly [string, string, string],
    table: number,
    name: string,
  ): Promise<Address | null> {
    const [row] = await this.#look.rows<Row>(
      `SELECT x.tableoid::int8::float8 AS catalog, x.oid::int8::float8 AS oid FROM pg_catalog.${catalog} x
       WHERE x.${relation} = $1::int8::oid AND x.${column} = $2::name`,
      [table, name],
    );
    return addressOf(row);
  }

  constraint(table: number, name: string): Promise<Address | null> {
    return this.onTable(['pg_constraint', 'conname', 'conrelid'], table, name);
  }

  async column(table: number, name: string): Promise<Address | null> {
    const [row] = await this.#look.rows<{ n: number }>(
      `SELECT a.attnum AS n FROM pg_catalog.pg_attribute a
       WHERE a.attrelid = $1::int8::oid AND a.attname = $2::name AND NOT a.attisdropped`,
      [table, name],
    );
    return row === undefined ? null : { catalog: PG_CLASS, oid: table, column: row.n };
  }

  async relation({ names }: ObjectName): Promise<FoundRelation | null> {
    const [schema, last] = split(names);
    const schemas = this.#schemas(schema);
    if (schemas === null) return null;
    const [row] = await this.#look.rows<FoundRelation>(
      `SELECT c.oid::int8::float8 AS oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relname = $1::name AND n.nspname::text = ANY ($2::text[])
       ORDER BY pg_catalog.array_position($2::text[], n.nspname::text) LIMIT 1`,
      [last, schemas],
    );
    return row ?? null;
  }

  async #named(
    catalog: string,
    column: string,
    namespace: string,
    schema: string | null,
    name: string,
  ): Promise<Address | null> {
    const schemas = this.#schemas(schema);
    if (schemas === null) return null;
    const [row] = await this.#look.rows<Row>(
      `SELECT x.tableoid::int8::float8 AS catalog, x.oid::int8::float8 AS oid FROM pg_catalog.${catalog} x
         JOIN pg_catalog.pg_namespace n ON n.oid = ${namespace}
       WHERE ${column} = $1::name AND n.nspname::text = ANY ($2::text[])
       ORDER BY pg_catalog.array_position($2::text[], n.nspname::text) LIMIT 1`,
      [name, schemas],
    );
    return addressOf(row);
  }

  /** By name and, where they are given, input types; null where several could be meant. */
  async #function({ names, args }: ObjectName): Promise<Address | null> {
    const [schema, last] = split(names);
    const schemas = this.#schemas(schema);
    if (schemas === null) return null;
    const types = args === null ? null : await Promise.all(args.map((arg) => this.#type(arg)));
    if (types?.includes(null) === true) return null;
    const found = await this.#look.rows<{ oid: number; place: number }>(
      `SELECT p.oid::int8::float8 AS oid, pg_catalog.array_position($2::text[], n.nspname::text) AS place
       FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
       WHERE p.proname = $1::name AND n.nspname::text = ANY ($2::text[])
         AND ($3::text IS NULL OR pg_catalog.oidvectorout(p.proargtypes)::text = $3::text)
       ORDER BY place`,
      [last, schemas, types === null ? null : types.join(' ')],
    );
    const [first, second] = found;
    if (first === undefined || (second !== undefined && second.place === first.place)) return null;
    return { catalog: PG_PROC, oid: first.oid, column: 0 };
  }

  async #type({ names, array }: TypeRef): Promise<number | null> {
    const [schema, last] = split(names);
    const found = await this.#named('pg_type', 'x.typname', 'x.typnamespace', schema, last);
    if (found === null || !array) return found?.oid ?? null;
    const [row] = await this.#look.rows<{ oid: number }>(
      'SELECT t.typarray::int8::float8 AS oid FROM pg_catalog.pg_type t WHERE t.oid = $1::int8::oid',
      [found.oid],
    );
    return row?.oid ?? null;
  }

  /** pg_catalog is searched first where it is not named in the path. */
  #schemas(schema: string | null): readonly string[] | null {
    if (schema !== null) return [schema];
    return this.#path === null ? null : ['pg_catalog', ...this.#path];
  }
}

/** Catalog prefixes (database.schema.name) are the server's to refuse. */
function split(names: readonly string[]): readonly [string | null, string] {
  return [names.at(-2) ?? null, names.at(-1) ?? ''];
}
