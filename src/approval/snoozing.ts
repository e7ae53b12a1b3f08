import type { StoreContext } from './context.ts';
import { resolvePerson } from './eligibility.ts';
import { type GuardCode, type Identity, SNOOZE_MINUTES } from './guard.ts';
import { ALIKE } from './merging.ts';
import { refusalWords } from './refusing.ts';
import { isRequestId } from './rows.ts';

type Refused = { readonly code: GuardCode; readonly message: string };

/** `SnoozeDesk.snooze`. For the person alone; the request stays as it is, for everybody else and for its time. */
export async function snoozeRequest(
  context: StoreContext,
  requestId: string,
  identities: readonly Identity[],
  minutes: number,
): Promise<Refused | null> {
  const resolved = resolvePerson(context.directory, identities);
  if (resolved.kind === 'agent') return refusalWords('agent_credential');
  if (resolved.kind === 'nobody') return refusalWords('unknown_person');
  if (resolved.kind === 'ambiguous') return refusalWords('ambiguous_person');
  if (!isRequestId(requestId)) return refusalWords('not_found');
  const { rows } = await context.pool.query<{ state: string; alike: readonly string[] }>(
    `SELECT state, ${ALIKE} AS alike FROM countersign.request r WHERE r.id = $1`,
    [requestId],
  );
  const [row] = rows;
  if (row === undefined) return refusalWords('not_found');
  if (row.state !== 'open') return refusalWords('already_ended');
  await context.pool.query(
    `INSERT INTO countersign.snooze (request_id, person, until)
     SELECT id, $2, clock_timestamp() + make_interval(mins => $3) FROM unnest($1::text[]) AS id
     ON CONFLICT (request_id, person) DO UPDATE SET until = excluded.until`,
    [row.alike, resolved.person.id, Math.min(Math.max(Math.trunc(minutes), 0), SNOOZE_MINUTES)],
  );
  return null;
}

/** `SnoozeDesk.snoozed`. Empty for whoever is nobody. */
export async function snoozedRequests(
  { pool, directory }: StoreContext,
  identities: readonly Identity[],
): Promise<ReadonlyMap<string, Date>> {
  const resolved = resolvePerson(directory, identities);
  if (resolved.kind !== 'person') return new Map();
  const { rows } = await pool.query<{ request_id: string; until: Date }>(
    'SELECT request_id, until FROM countersign.snooze WHERE person = $1 AND until > clock_timestamp()',
    [resolved.person.id],
  );
  return new Map(rows.map(({ request_id, until }) => [request_id, until]));
}
