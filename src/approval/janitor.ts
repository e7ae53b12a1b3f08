import { inTransaction, type StoreContext, type Transaction } from './context.ts';
import { statesBefore } from './machine.ts';
import { parseShown } from './rows.ts';

/** What no caller does: ends what is over by the database's clock, and gives up what dead processes left. */
export async function sweep(context: StoreContext): Promise<void> {
  await keepLease(context);
  await inTransaction(context, async (transaction) => {
    await expireOverdue(context, transaction);
    await giveUpLost(context, transaction);
  });
  for (const over of [
    'console_session WHERE expires_at <= clock_timestamp()',
    'snooze WHERE until <= clock_timestamp()',
    "agent_refusal WHERE minute <= clock_timestamp() - interval '1 day'",
  ]) {
    await context.pool.query(`DELETE FROM countersign.${over}`);
  }
}

/** Says that this process lives. Its holds count as attached, and its releases as running, until the lease is over. */
export async function keepLease({ pool, processId, limits }: StoreContext): Promise<void> {
  await pool.query(
    `INSERT INTO countersign.process (id, lease_until)
     VALUES ($1, clock_timestamp() + make_interval(secs => $2))
     ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until`,
    [processId, limits.processLeaseMs / 1000],
  );
}

/** Leaves in order: holds are detached at once, and whatever was released and not ended becomes `unknown`. */
export async function endLease({ pool, processId }: StoreContext): Promise<void> {
  await pool.query(
    `WITH gone AS (DELETE FROM countersign.process WHERE id = $1)
     UPDATE countersign.request SET attached_by = NULL WHERE attached_by = $1`,
    [processId],
  );
}

async function expireOverdue({ limits }: StoreContext, transaction: Transaction): Promise<void> {
  const { rows } = await transaction.client.query<{ id: string; shown: string }>(
    `UPDATE countersign.request SET state = 'expired', ended_at = clock_timestamp(), end_reason = 'its lifetime is over',
       attached_by = NULL, revision = nextval('countersign.revision'), changed_at = clock_timestamp()
     WHERE id IN (SELECT id FROM countersign.request
       WHERE state = ANY ($1) AND least(expires_at, receipt_expires_at) <= clock_timestamp()
       ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
     RETURNING id, shown`,
    [statesBefore('expiry'), limits.janitorBatch],
  );
  for (const row of rows) {
    transaction.notify(row.id);
    transaction.regroup(row.id);
    transaction.record({
      kind: 'request_expired',
      session: parseShown(row).session,
      requestId: row.id,
      detail: { reason: 'lifetime' },
    });
  }
}

async function giveUpLost(context: StoreContext, transaction: Transaction): Promise<void> {
  const { rows } = await transaction.client.query<{ id: string; shown: string; consumed_by: string }>(
    `UPDATE countersign.request SET state = 'unknown', ended_at = clock_timestamp(),
       end_reason = 'the process that released it is gone',
       revision = nextval('countersign.revision'), changed_at = clock_timestamp()
     WHERE id IN (SELECT id FROM countersign.request r
       WHERE r.state = ANY ($1) AND ((r.consumed_by = $2 AND r.id <> ALL ($3::text[]))
         OR NOT EXISTS (SELECT FROM countersign.process p
           WHERE p.id = r.consumed_by AND p.lease_until > clock_timestamp()))
       ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED)
     RETURNING id, shown, consumed_by`,
    [statesBefore('loss'), context.processId, context.running.ids(), context.limits.janitorBatch],
  );
  for (const row of rows) {
    context.log.warn(
      { request: row.id, process: row.consumed_by },
      'outcome of a released statement is unknown',
    );
    transaction.notify(row.id);
    transaction.record({
      kind: 'request_ended',
      session: parseShown(row).session,
      requestId: row.id,
      detail: { outcome: 'unknown', tag: '', rows: '0', bytes: '0', sqlstate: '', process: row.consumed_by },
    });
  }
}
