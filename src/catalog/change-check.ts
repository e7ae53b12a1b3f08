import type pg from 'pg';

/**
 * A digest that changes whenever a row of the catalogs that analysis reads was added, removed or replaced by anybody.
 * Every such change leaves a row version with the transaction's own, new xmin (what is updated in place, statistics
 * of tables and the like, does not matter here), so the number of rows and a sum over hashed xmins tell. Row counts
 * count as changed when they drifted by about a quarter.
 */
export async function catalogFingerprint(client: pg.ClientBase): Promise<string> {
  const result = await client.query<[string]>({ text: FINGERPRINT, rowMode: 'array' });
  return result.rows[0]?.[0] ?? '';
}

const CATALOGS = [
  'pg_aggregate',
  'pg_am',
  'pg_amop',
  'pg_amproc',
  'pg_attrdef',
  'pg_attribute',
  'pg_cast',
  'pg_class',
  'pg_constraint',
  'pg_depend',
  'pg_description',
  'pg_extension',
  'pg_index',
  'pg_inherits',
  'pg_language',
  'pg_namespace',
  'pg_opclass',
  'pg_operator',
  'pg_partitioned_table',
  'pg_policy',
  'pg_proc',
  'pg_range',
  'pg_rewrite',
  'pg_statistic_ext',
  'pg_trigger',
  'pg_type',
] as const;

const FINGERPRINT = `SELECT pg_catalog.concat_ws(',', ${CATALOGS.map(
  (name) =>
    `(SELECT pg_catalog.concat(pg_catalog.count(*), ':',
        pg_catalog.sum(pg_catalog.hashtext(c.xmin::pg_catalog.text))) FROM pg_catalog.${name} c)`,
).join(',\n')},
(SELECT pg_catalog.sum(pg_catalog.hashtext(pg_catalog.concat(c.oid, ':',
    pg_catalog.floor(pg_catalog.ln((c.reltuples OPERATOR(pg_catalog.+) 2)::pg_catalog.numeric) OPERATOR(pg_catalog.*) 4))))
   FROM pg_catalog.pg_class c
  WHERE c.oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid AND c.relpersistence OPERATOR(pg_catalog.<>) 't'))`;
