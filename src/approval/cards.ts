import type pg from 'pg';
import type { CardStore } from './guard.ts';

/** Which message of a channel shows which request: posted by one process, updated by any. */
export function cardStore(pool: pg.Pool): CardStore {
  return {
    claim: async (requestId, channel, leaseMs) => {
      const { rowCount } = await pool.query(
        `INSERT INTO countersign.card AS c (request_id, channel, claimed_until)
         VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
         ON CONFLICT (request_id, channel) DO UPDATE SET claimed_until = excluded.claimed_until
           WHERE c.reference IS NULL AND c.claimed_until <= clock_timestamp()`,
        [requestId, channel, leaseMs / 1000],
      );
      return rowCount === 1;
    },
    save: async (requestId, channel, reference) => {
      await pool.query(
        `INSERT INTO countersign.card (request_id, channel, claimed_until, reference)
         VALUES ($1, $2, 'infinity', $3)
         ON CONFLICT (request_id, channel) DO UPDATE SET claimed_until = 'infinity', reference = excluded.reference`,
        [requestId, channel, reference],
      );
    },
    load: async (requestId, channel) => {
      const { rows } = await pool.query<{ reference: string | null }>(
        'SELECT reference FROM countersign.card WHERE request_id = $1 AND channel = $2',
        [requestId, channel],
      );
      return rows[0]?.reference ?? null;
    },
  };
}
