import type pg from 'pg';

/**
 * Looks at catalogs within one read-only transaction in which every name means what pg_catalog says, whatever the agent's
 * search_path or temporary objects are. Nothing of the agent's is executed: its names travel as parameters only.
 */
export type Look = {
  readonly rows: <Row extends pg.QueryResultRow>(
    sql: string,
    values: readonly unknown[],
  ) => Promise<readonly Row[]>;
  /** As `rows`; null where the server objects (no right, a lock that is not free in time), and the look goes on. */
  readonly attempt: <Row extends pg.QueryResultRow>(
    sql: string,
    values: readonly unknown[],
  ) => Promise<readonly Row[] | null>;
};

/** A size is asked of the file, which waits for a lock on its table: not for long. */
const LOCK_MS = 150;

/** `ms`: for each query. The connection is in no transaction, and is left so. */
export async function withLook<T>(
  client: pg.Client,
  ms: number,
  work: (look: Look) => Promise<T>,
): Promise<T> {
  await client.query('BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY');
  try {
    await client.query(SETTINGS, [String(Math.max(1, Math.ceil(ms))), String(LOCK_MS)]);
    const rows: Look['rows'] = async <Row extends pg.QueryResultRow>(
      sql: string,
      values: readonly unknown[],
    ) => (await client.query<Row>(sql, [...values])).rows;
    return await work({
      rows,
      attempt: async <Row extends pg.QueryResultRow>(sql: string, values: readonly unknown[]) => {
        await client.query('SAVEPOINT look');
        try {
          return await rows<Row>(sql, values);
        } catch {
          await client.query('ROLLBACK TO SAVEPOINT look');
          return null;
        }
      },
    });
  } finally {
    await client.query('ROLLBACK');
  }
}

/** Until the end of the transaction. Temporary objects come last, so that none is taken for a catalog's. */
const SETTINGS = `SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
  pg_catalog.set_config('statement_timeout', $1, true), pg_catalog.set_config('lock_timeout', $2, true)`;
