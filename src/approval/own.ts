/** What `SHOW countersign.requests` is told: an agent's own requests, and nobody else's. */
import type { StoreContext } from './context.ts';
import type { Asker, OwnRequest } from './port.ts';
import { ATTACHED, parseParameters, requestUrl } from './rows.ts';

type Row = {
  readonly id: string;
  readonly state: 'open' | 'approved';
  readonly sql: string;
  readonly characters: number;
  readonly parameters: string | null;
  readonly database: string;
  readonly class: string;
  readonly rule: string;
  readonly reasons: readonly string[];
  readonly created_at: Date;
  readonly expires_at: Date;
  readonly attached: boolean;
};

/**
 * Those that are open or approved, the oldest first, at most `listed`; of a statement `ownCharacters` at most. However
 * often one agent asks, it takes one connection: whoever comes while it is being asked waits for the next look, together
 * with all others who do.
 */
export function ownRequests(context: StoreContext): (asker: Asker) => Promise<readonly OwnRequest[]> {
  const looks = new Map<string, { readonly now: Promise<unknown>; next: Look | null }>();
  return (asker) => {
    const key = JSON.stringify([asker.agent, asker.onBehalfOf]);
    const begin = (): Look => {
      const look = openRequestsOf(context, asker);
      const entry = { now: look, next: null };
      looks.set(key, entry);
      const over = () => {
        if (looks.get(key) === entry && entry.next === null) looks.delete(key);
      };
      look.then(over, over);
      return look;
    };
    const entry = looks.get(key);
    if (entry === undefined) return begin();
    entry.next ??= entry.now.then(begin, begin);
    return entry.next;
  };
}

type Look = Promise<readonly OwnRequest[]>;

async function openRequestsOf(context: StoreContext, asker: Asker): Promise<readonly OwnRequest[]> {
  const { listed, ownCharacters } = context.limits;
  const { rows } = await context.pool.query<Row>(
    `SELECT r.id, r.state, left(r.sql, $3) AS sql, length(r.sql) AS characters, r.database, r.class, r.rule,
            CASE WHEN length(r.parameters) <= $4 THEN r.parameters END AS parameters,
            r.shown::json -> 'reasons' AS reasons, r.created_at, least(r.expires_at, r.receipt_expires_at) AS expires_at,
            ${ATTACHED} AS attached
       FROM countersign.request r
      WHERE r.agent = $1 AND r.on_behalf_of IS NOT DISTINCT FROM $2 AND r.state IN ('open', 'approved')
        AND least(r.expires_at, r.receipt_expires_at) > clock_timestamp()
      ORDER BY r.created_at, r.id LIMIT $5`,
    [asker.agent, asker.onBehalfOf, ownCharacters, PARAMETERS_READ, listed],
  );
  return rows.map((row) => ({
    id: row.id,
    state: row.state,
    sql: cut(row.sql, row.characters, ownCharacters),
    parameters: parametersOf(row, ownCharacters),
    database: row.database,
    class: row.class,
    rule: row.rule,
    reasons: row.reasons,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    url: requestUrl(context.publicUrl, row.id),
    waiting: row.attached,
  }));
}

/** Characters of stored parameters; more are not read. */
const PARAMETERS_READ = 20_000;

function parametersOf(row: Row, most: number): string | null {
  const shown = parseParameters(row)?.map((one, at) => `$${at + 1} = ${one.shown ?? 'NULL'}`) ?? [];
  if (shown.length === 0) return null;
  const characters = [...shown.join(', ')];
  return cut(characters.slice(0, most).join(''), characters.length, most);
}

function cut(text: string, characters: number, most: number): string {
  return characters <= most ? text : `${text}‹cut here, ${characters} characters in all›`;
}
