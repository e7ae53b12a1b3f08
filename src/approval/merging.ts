import type pg from 'pg';

/** Of two open requests of one agent, `r` and `o`, whether they are shown as one. The docstring of `alike.ts` says when. */
const SHOWN_AS_ONE = `o.agent = r.agent AND o.attach_key = r.attach_key AND o.state = 'open'
   AND o.expires_at > clock_timestamp() AND o.binding::json ->> 'toldSha256' = r.binding::json ->> 'toldSha256'`;

/** Ids of the open requests that `r` is shown as one with, oldest first, itself among them; none where it is not open. */
export const ALIKE = `CASE WHEN r.state = 'open' THEN coalesce((SELECT array_agg(o.id ORDER BY o.created_at, o.id)
  FROM countersign.request o WHERE ${SHOWN_AS_ONE}), ARRAY[r.id]) ELSE '{}' END`;

/**
 * One of them was opened or left: the oldest that is left is what people see, and its number has changed. By itself and
 * after the commit, so that it waits for no lock while holding another; that it is lost costs a number on a card.
 */
export async function refreshFirst(pool: pg.Pool, id: string, channel: string): Promise<void> {
  await pool.query(
    `WITH first AS (UPDATE countersign.request SET revision = nextval('countersign.revision'),
       changed_at = clock_timestamp() WHERE state = 'open' AND id = (SELECT o.id
         FROM countersign.request r JOIN countersign.request o ON ${SHOWN_AS_ONE}
         WHERE r.id = $1 AND o.id <> r.id
         ORDER BY o.created_at, o.id LIMIT 1) RETURNING id)
     SELECT pg_notify($2, id) FROM first`,
    [id, channel],
  );
}
