import { NOTIFY_CHANNEL, type StoreContext, type Transaction } from './context.ts';
import { TooManyRequests } from './port.ts';

/** How much one agent may ask. People read what it asks, so its room is theirs. */

type Room = { readonly open: number; readonly free_in_s: number | null; readonly next_in_s: number | null };

/** Under the agent's lock. Throws `TooManyRequests`, which says when to come back. */
export async function requireRoom(
  { limits: { openRequestsPerAgent, requestsPerMinutePerAgent } }: StoreContext,
  { client }: Transaction,
  agent: string,
): Promise<void> {
  const { rows } = await client.query<Room>(
    `SELECT count(*)::int AS open,
       ceil(extract(epoch FROM min(least(expires_at, receipt_expires_at)) - clock_timestamp()))::int AS free_in_s,
       (SELECT ceil(extract(epoch FROM created_at + interval '1 minute' - clock_timestamp()))::int
          FROM countersign.request WHERE agent = $1 AND created_at > clock_timestamp() - interval '1 minute'
         ORDER BY created_at DESC OFFSET $2 LIMIT 1) AS next_in_s
     FROM countersign.request
     WHERE agent = $1 AND state IN ('open', 'approved') AND expires_at > clock_timestamp()`,
    [agent, requestsPerMinutePerAgent - 1],
  );
  const room = rows[0] ?? { open: 0, free_in_s: null, next_in_s: null };
  if (room.open >= openRequestsPerAgent) {
    throw new TooManyRequests(
      `agent ${agent} has ${room.open} open requests, its limit (openRequestsPerAgent): come back when one of them is answered, at the latest in ${seconds(room.free_in_s)}`,
    );
  }
  if (room.next_in_s !== null) {
    throw new TooManyRequests(
      `agent ${agent} has opened ${requestsPerMinutePerAgent} requests within a minute, its limit (requestsPerMinutePerAgent): come back in ${seconds(room.next_in_s)}`,
    );
  }
}

function seconds(count: number | null): string {
  const whole = Math.max(1, count ?? 1);
  return `${whole} ${whole === 1 ? 'second' : 'seconds'}`;
}

/**
 * What was refused is counted, for whoever answers the others; at 1, 10, 100 … the card of the agent's oldest open request
 * is renewed, so that they hear of it. Best effort: the refusal stands.
 */
export async function countRefusal({ pool, log }: StoreContext, agent: string): Promise<void> {
  try {
    await pool.query(
      `WITH counted AS (INSERT INTO countersign.agent_refusal AS f (agent, minute, refused)
         VALUES ($1, date_trunc('minute', clock_timestamp()), 1)
         ON CONFLICT (agent, minute) DO UPDATE SET refused = f.refused + 1 RETURNING refused),
       renewed AS (UPDATE countersign.request SET revision = nextval('countersign.revision'),
           changed_at = clock_timestamp()
         WHERE id = (SELECT id FROM countersign.request WHERE agent = $1 AND state = 'open'
             AND expires_at > clock_timestamp() ORDER BY created_at, id LIMIT 1)
           AND (SELECT refused::text FROM counted) ~ '^10*$' RETURNING id)
       SELECT pg_notify($2, id) FROM renewed`,
      [agent, NOTIFY_CHANNEL],
    );
  } catch (error) {
    log.warn({ err: error, agent }, 'a refused request was not counted');
  }
}
