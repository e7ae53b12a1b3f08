import type pg from 'pg';

/** A message as people see it. */
export type Message = {
  readonly message_id: string;
  readonly webhook: string;
  readonly event: string;
  readonly request_id: string;
  readonly state: 'pending' | 'delivered' | 'dead';
  readonly attempts: number;
  readonly created_at: Date;
  readonly next_at: Date;
  /** Of the last attempt; null: none failed. */
  readonly why: string | null;
};

/** Most that one listing returns. */
const LISTED = 1_000;

/** The newest messages first; `state` is one or `all`, `webhook` null: of every one. */
export async function listMessages(
  pool: pg.Pool,
  state: string,
  webhook: string | null,
): Promise<readonly Message[]> {
  const { rows } = await pool.query<Message>(
    `SELECT message_id, webhook, event, request_id, state, attempts, created_at, next_at, last_error AS why
     FROM countersign.webhook_delivery WHERE ($1 = 'all' OR state = $1) AND ($2::text IS NULL OR webhook = $2)
     ORDER BY id DESC LIMIT ${LISTED}`,
    [state, webhook],
  );
  return rows;
}

/**
 * Lets messages that were given up be tried anew, all attempts over, by whichever process comes first; `ids` null: all
 * of them. Only of webhooks that are in the configuration. Returns how many.
 */
export async function retryMessages(
  pool: pg.Pool,
  ids: readonly string[] | null,
  webhook: string | null,
): Promise<number> {
  const { rowCount } = await pool.query(
    `UPDATE countersign.webhook_delivery SET state = 'pending', attempts = 0, next_at = clock_timestamp(), ended_at = NULL
     WHERE state = 'dead' AND ($1::text[] IS NULL OR message_id = ANY ($1)) AND ($2::text IS NULL OR webhook = $2)
       AND webhook IN (SELECT name FROM countersign.webhook WHERE active)`,
    [ids, webhook],
  );
  return rowCount ?? 0;
}
