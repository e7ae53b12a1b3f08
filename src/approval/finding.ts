import type { StoreContext } from './context.ts';
import type { RequestFilter, RequestView } from './guard.ts';
import { REQUEST_STATES } from './machine.ts';
import { listedColumns, type RequestRow, viewOf } from './rows.ts';

/** `ApprovalDesk.list`. A page goes on where another ended by that one's last request, which no change moves. */
export async function listRequests(
  { pool, limits, publicUrl }: StoreContext,
  { state, limit, agent, class: rank, after }: RequestFilter,
): Promise<readonly RequestView[]> {
  const live = ['open', 'approved'];
  const ended = REQUEST_STATES.filter((name) => !live.includes(name));
  const states =
    state === 'all' ? REQUEST_STATES : state === 'live' ? live : state === 'ended' ? ended : [state];
  const { rows } = await pool.query<RequestRow>(
    `SELECT ${listedColumns(limits.listedCharacters)} FROM countersign.request r
     WHERE r.state = ANY ($1) AND (r.state <> ALL ($2) OR r.expires_at > clock_timestamp())
       AND ($4::text IS NULL OR r.agent = $4) AND ($5::text IS NULL OR r.class = $5)
       AND ($6::text IS NULL OR EXISTS (SELECT FROM countersign.request p WHERE p.id = $6
         AND (r.created_at < p.created_at OR (r.created_at = p.created_at AND r.id > p.id))))
     ORDER BY r.created_at DESC, r.id LIMIT $3`,
    [states, live, Math.min(limit, limits.listed), agent ?? null, rank ?? null, after ?? null],
  );
  return rows.map((row) => viewOf(row, publicUrl));
}

/** `RequestFeed.changedAfter`. */
export async function changedAfter(
  { pool, limits, publicUrl }: StoreContext,
  revision: bigint,
  limit: number,
  live: boolean,
): Promise<readonly RequestView[]> {
  const { rows } = await pool.query<RequestRow>(
    `SELECT ${listedColumns(limits.listedCharacters)} FROM countersign.request r
     WHERE r.revision > $1
       AND (NOT $3 OR (r.state IN ('open', 'approved') AND r.expires_at > clock_timestamp()))
     ORDER BY r.revision LIMIT $2`,
    [String(revision), Math.min(limit, limits.listed), live],
  );
  return rows.map((row) => viewOf(row, publicUrl));
}

/**
 * `RequestFeed.sureBefore`: no transaction lasts longer than `pollOverlapMs`, so what was committed after this revision
 * and took its own before was changed in that time before it.
 */
export async function sureBefore({ pool, limits }: StoreContext, revision: bigint): Promise<bigint> {
  const { rows } = await pool.query<{ first: string | null }>(
    `SELECT min(r.revision) AS first FROM countersign.request r
     WHERE r.changed_at > (SELECT s.changed_at FROM countersign.request s WHERE s.revision <= $1
                           ORDER BY s.revision DESC LIMIT 1) - make_interval(secs => $2)`,
    [String(revision), limits.pollOverlapMs / 1000],
  );
  const first = rows[0]?.first ?? null;
  // Nothing is left that old: everything that there is came later.
  if (first === null) return 0n;
  return BigInt(first) <= revision ? BigInt(first) - 1n : revision;
}
