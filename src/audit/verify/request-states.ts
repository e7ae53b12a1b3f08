import type pg from 'pg';
import type { Finding } from './finding.ts';

/**
 * What stands in schema `countersign` otherwise than the log says. Nothing where there is no such schema: in a restored
 * dump of the log. `schema`: quoted. The comparison is the database's own view: it reads entries, whose hashes are checked
 * elsewhere.
 */
export async function requestFindings(client: pg.ClientBase, schema: string): Promise<readonly Finding[]> {
  const { rows: found } = await client.query<{ there: boolean; may: boolean }>(
    `SELECT true AS there, has_schema_privilege('countersign', 'USAGE')
              AND has_table_privilege('countersign.request_states', 'SELECT')
              AND has_table_privilege('countersign.verdict_states', 'SELECT') AS may
      WHERE to_regclass($1) IS NOT NULL
        AND EXISTS (SELECT FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid
                     WHERE n.nspname = 'countersign' AND c.relname = 'request_states')`,
    [`${schema}.request_differences`],
  );
  const [state] = found;
  if (state === undefined) return [];
  if (!state.may)
    return [finding({ stream: null, seq: null }, null, 'this role may not read requests as they stand')];
  const { rows } = await client.query<Difference>(
    `SELECT request_id, person, detail, stream, seq::text AS seq FROM ${schema}.request_differences
      ORDER BY at, request_id, problem, person`,
  );
  return rows.map((row) => {
    const who = row.person === null ? row.request_id : `${row.request_id}, ${row.person}`;
    return finding(row, false, `${who}: ${row.detail}`);
  });
}

type Place = { readonly stream: string | null; readonly seq: string | null };
type Difference = Place & {
  readonly request_id: string;
  readonly person: string | null;
  readonly detail: string;
};

function finding({ stream, seq }: Place, ok: boolean | null, detail: string): Finding {
  return { stream, seq: seq === null ? null : BigInt(seq), check: 'request', ok, detail };
}
