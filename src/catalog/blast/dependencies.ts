import { type Address, type Dependency, wholeKey } from './drop-closure.ts';
import type { Look } from './look.ts';

/** More objects than these are not followed; then people are told that there are more. */
const MOST_OBJECTS = 5_000;

export type Dependencies = { readonly rows: readonly Dependency[]; readonly complete: boolean };

/** Rows of pg_depend around these objects, closed over: what depends on them, and what owns those that do. */
export async function dependenciesOf(look: Look, targets: readonly Address[]): Promise<Dependencies> {
  const rows = new Map<string, Dependency>();
  const seen = new Set(targets.map(wholeKey));
  let frontier: readonly Address[] = targets;
  while (frontier.length > 0) {
    const next: Address[] = [];
    const found = await look.rows<DependRow>(AROUND, [
      frontier.map(({ catalog }) => catalog),
      frontier.map(({ oid }) => oid),
    ]);
    for (const row of found) {
      const dependency = dependencyOf(row);
      rows.set(JSON.stringify(dependency), dependency);
      const one = row.up ? dependency.on : dependency.dependent;
      if (seen.has(wholeKey(one))) continue;
      seen.add(wholeKey(one));
      next.push(one);
    }
    if (seen.size > MOST_OBJECTS) return { rows: [...rows.values()], complete: false };
    frontier = next;
  }
  return { rows: [...rows.values()], complete: true };
}

type DependRow = {
  readonly c: number;
  readonly o: number;
  readonly s: number;
  readonly rc: number;
  readonly ro: number;
  readonly rs: number;
  readonly type: string;
  readonly up: boolean;
};

const COLUMNS = `d.classid::int8::float8 AS c, d.objid::int8::float8 AS o, d.objsubid AS s,
  d.refclassid::int8::float8 AS rc, d.refobjid::int8::float8 AS ro, d.refobjsubid AS rs, d.deptype::text AS type`;
const AROUND = `WITH f AS (SELECT t.c::oid AS c, t.o::oid AS o FROM ROWS FROM (
    pg_catalog.unnest($1::int8[]), pg_catalog.unnest($2::int8[])) AS t (c, o))
  SELECT ${COLUMNS}, false AS up FROM f JOIN pg_catalog.pg_depend d ON d.refclassid = f.c AND d.refobjid = f.o
  UNION ALL
  SELECT ${COLUMNS}, true AS up FROM f JOIN pg_catalog.pg_depend d ON d.classid = f.c AND d.objid = f.o
    AND d.deptype = ANY (ARRAY['i', 'e', 'P', 'S']::"char"[])`;

function dependencyOf({ c, o, s, rc, ro, rs, type }: DependRow): Dependency {
  return {
    dependent: { catalog: c, oid: o, column: s },
    on: { catalog: rc, oid: ro, column: rs },
    type,
  };
}

/** As Postgres names objects in its own messages, every name with its schema. Those that are gone are left out. */
export async function describe(look: Look, objects: readonly Address[]): Promise<readonly Described[]> {
  return look.rows<Described>(DESCRIBE, [
    objects.map(({ catalog }) => catalog),
    objects.map(({ oid }) => oid),
    objects.map(({ column }) => column),
  ]);
}

export type Described = {
  readonly oid: number;
  /** Of relations, pg_class.relkind; null for all else. */
  readonly kind: string | null;
  /** Of relations; null for all else. */
  readonly schema: string | null;
  readonly name: string | null;
  readonly words: string;
  /** Made by the server for another object (trigger of a foreign key, NOT NULL): nothing that people ask for. */
  readonly minor: boolean;
};

const DESCRIBE = `SELECT t.o::float8 AS oid, c.relkind::text AS kind, n.nspname::text AS schema, c.relname::text AS name,
    pg_catalog.pg_describe_object(t.c::oid, t.o::oid, t.s::int4) AS words,
    coalesce(g.tgisinternal OR k.contype = 'n' OR t.c::oid IN ('pg_catalog.pg_type'::pg_catalog.regclass,
      'pg_catalog.pg_attrdef'::pg_catalog.regclass) OR w.rulename = '_RETURN' OR c.relkind = 't'
      OR c.relnamespace = 'pg_toast'::pg_catalog.regnamespace, false) AS minor
  FROM ROWS FROM (pg_catalog.unnest($1::int8[]), pg_catalog.unnest($2::int8[]), pg_catalog.unnest($3::int8[]))
    AS t (c, o, s)
  LEFT JOIN pg_catalog.pg_class c ON t.c::oid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = t.o::oid
    AND t.s = 0
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_trigger g ON t.c::oid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND g.oid = t.o::oid
  LEFT JOIN pg_catalog.pg_constraint k ON t.c::oid = 'pg_catalog.pg_constraint'::pg_catalog.regclass
    AND k.oid = t.o::oid
  LEFT JOIN pg_catalog.pg_rewrite w ON t.c::oid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = t.o::oid
  WHERE pg_catalog.pg_describe_object(t.c::oid, t.o::oid, t.s::int4) IS NOT NULL`;
