import type { FoundRelation } from './find.ts';
import { bytesInWords, plural } from './finding.ts';
import type { Look } from './look.ts';

export type Size = {
  readonly oid: number;
  /** As messages say it: `table public.t`. */
  readonly words: string;
  readonly kind: string;
  /** With indexes and TOAST; null: not known now. */
  readonly bytes: number | null;
  /** By the server's statistics; null: never analysed. */
  readonly rows: number | null;
};

/** Relations whose size is asked; the rest is counted only. */
const MOST_SIZES = 200;

/** Of these relations, in the order of size. A table that somebody has locked has no size just now. */
export async function sizesOf(look: Look, oids: readonly number[]): Promise<readonly Size[]> {
  const some = oids.slice(0, MOST_SIZES);
  const sizes = await look.attempt<Size>(sql('pg_catalog.pg_total_relation_size(c.oid)'), [some]);
  return sizes ?? (await look.rows<Size>(sql('NULL'), [some]));
}

function sql(bytes: string): string {
  return `SELECT c.oid::int8::float8 AS oid, pg_catalog.pg_describe_object(1259::oid, c.oid, 0) AS words,
      c.relkind::text AS kind, (CASE WHEN c.relkind IN ('r', 'm', 'i', 't', 'S') THEN ${bytes} END)::float8 AS bytes,
      (CASE WHEN c.reltuples >= 0 THEN c.reltuples END)::float8 AS rows
    FROM pg_catalog.pg_class c WHERE c.oid = ANY ($1::int8[]::oid[])
    ORDER BY 4 DESC NULLS LAST, 2`;
}

/** The relation and all its partitions and children. */
export async function familyOf(look: Look, oid: number): Promise<readonly number[]> {
  const rows = await look.rows<{ oid: number }>(
    `WITH RECURSIVE f (oid) AS (SELECT $1::int8::oid UNION
       SELECT i.inhrelid FROM f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid)
     SELECT f.oid::int8::float8 AS oid FROM f ORDER BY 1 LIMIT 10000`,
    [oid],
  );
  return rows.map((row) => row.oid);
}

/** `(8 kB, about 1,000 rows)` of all of them together. */
export function sizeInWords(sizes: readonly Size[]): string {
  const stored = sizes.filter(({ kind }) => kind !== 'p' && kind !== 'v' && kind !== 'f');
  const bytes = sum(stored.map((one) => one.bytes));
  const tables = stored.filter(({ kind }) => kind === 'r' || kind === 'm');
  const rows = sum(tables.map((one) => one.rows));
  const parts = [
    bytes === null ? 'size not known: it is locked' : bytesInWords(bytes),
    ...(tables.length === 0
      ? []
      : [rows === null ? 'rows not known: never analysed' : `about ${plural(Math.round(rows), 'row')}`]),
  ];
  return stored.length === 0 ? '' : ` (${parts.join(', ')})`;
}

function sum(values: readonly (number | null)[]): number | null {
  let total = 0;
  for (const value of values) {
    if (value === null) return null;
    total += value;
  }
  return total;
}

const KINDS: Readonly<Record<string, string>> = {
  r: 'table',
  p: 'partitioned table',
  v: 'view',
  m: 'materialized view',
  i: 'index',
  I: 'partitioned index',
  S: 'sequence',
  f: 'foreign table',
  c: 'type',
  t: 'TOAST table',
};

export function relationWords({ kind, schema, name }: FoundRelation): string {
  return `${KINDS[kind] ?? 'relation'} ${schema}.${name}`;
}
