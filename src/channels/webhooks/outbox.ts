import type pg from 'pg';
import type { WebhookConfig } from '../../config/config.ts';
import type { EventFacts } from './payload.ts';

/** A message that this process has to send now; nobody else does until the lease is over. */
export type Delivery = {
  readonly id: string;
  readonly message_id: string;
  readonly event: string;
  readonly request_id: string;
  readonly facts: EventFacts;
  /** This attempt included. */
  readonly attempts: number;
};

/** How one attempt ended; `retryMs`: when to try again. */
export type Ending =
  | { readonly state: 'delivered'; readonly status: number }
  | {
      readonly state: 'dead' | 'pending';
      readonly status: number | null;
      readonly error: string;
      readonly retryMs: number;
    };

/**
 * Tells the database which webhooks there are; from then on it keeps their events, also while no process runs. Messages
 * of those that are no longer in the configuration are given up.
 */
export async function registerWebhooks(
  pool: pg.Pool,
  webhooks: readonly Pick<WebhookConfig, 'name' | 'events'>[],
): Promise<void> {
  for (const { name, events } of webhooks)
    await pool.query(
      `INSERT INTO countersign.webhook (name, events, active) VALUES ($1, $2, true)
       ON CONFLICT (name) DO UPDATE SET events = excluded.events, active = true`,
      [name, events],
    );
  await pool.query(
    `WITH gone AS (UPDATE countersign.webhook SET active = false WHERE active AND name <> ALL ($1) RETURNING name)
     UPDATE countersign.webhook_delivery SET state = 'dead', ended_at = clock_timestamp(),
       last_error = 'the webhook is no longer in the configuration'
     WHERE state = 'pending' AND webhook IN (SELECT name FROM gone)`,
    [webhooks.map(({ name }) => name)],
  );
}

/**
 * Takes what is due: of each request the oldest message alone, so that they arrive in order. `SKIP LOCKED` and the lease
 * keep two processes from taking the same one.
 */
export async function claim(
  pool: pg.Pool,
  webhook: string,
  owner: string,
  limits: { readonly most: number; readonly leaseMs: number },
): Promise<readonly Delivery[]> {
  const { rows } = await pool.query<Delivery>(
    `UPDATE countersign.webhook_delivery d SET leased_by = $2, attempts = d.attempts + 1,
       leased_until = clock_timestamp() + make_interval(secs => $4)
     WHERE d.id IN (SELECT n.id FROM countersign.webhook_delivery n
       WHERE n.webhook = $1 AND n.state = 'pending' AND n.next_at <= clock_timestamp()
         AND (n.leased_until IS NULL OR n.leased_until <= clock_timestamp())
         AND NOT EXISTS (SELECT FROM countersign.webhook_delivery b WHERE b.webhook = n.webhook
           AND b.request_id = n.request_id AND b.state = 'pending' AND b.id < n.id)
       ORDER BY n.id LIMIT $3 FOR UPDATE SKIP LOCKED)
     RETURNING d.id, d.message_id, d.event, d.request_id, d.facts, d.attempts`,
    [webhook, owner, limits.most, limits.leaseMs / 1000],
  );
  return rows;
}

/** Stores how it ended; nothing where the lease was lost to another process meanwhile. */
export async function settle(
  pool: pg.Pool,
  { id, attempts }: Delivery,
  owner: string,
  ending: Ending,
): Promise<void> {
  const { state, status } = ending;
  const delivered = ending.state === 'delivered';
  await pool.query(
    `UPDATE countersign.webhook_delivery SET state = $4, last_status = $5, last_error = $6, leased_by = NULL,
       leased_until = NULL, next_at = clock_timestamp() + make_interval(secs => $7),
       ended_at = CASE WHEN $4 = 'pending' THEN NULL ELSE clock_timestamp() END
     WHERE id = $1 AND leased_by = $2 AND attempts = $3`,
    [
      id,
      owner,
      attempts,
      state,
      status,
      ending.state === 'delivered' ? null : ending.error,
      delivered ? 0 : ending.retryMs / 1000,
    ],
  );
}

/** How many messages of a webhook wait, and how many were given up. */
export async function backlog(
  pool: pg.Pool,
  webhook: string,
): Promise<{ readonly pending: number; readonly dead: number }> {
  const { rows } = await pool.query<{ pending: number; dead: number }>(
    `SELECT (SELECT count(*)::int FROM countersign.webhook_delivery WHERE webhook = $1 AND state = 'pending') AS pending,
       (SELECT count(*)::int FROM countersign.webhook_delivery WHERE webhook = $1 AND state = 'dead') AS dead`,
    [webhook],
  );
  return rows[0] ?? { pending: 0, dead: 0 };
}

/** Forgets what was delivered, and what was given up, a while ago. */
export async function forget(
  pool: pg.Pool,
  keep: { readonly deliveredMs: number; readonly deadMs: number },
): Promise<void> {
  await pool.query(
    `DELETE FROM countersign.webhook_delivery WHERE ended_at IS NOT NULL
       AND ended_at < clock_timestamp() - make_interval(secs => CASE state WHEN 'dead' THEN $2::float8 ELSE $1::float8 END)`,
    [keep.deliveredMs / 1000, keep.deadMs / 1000],
  );
}
