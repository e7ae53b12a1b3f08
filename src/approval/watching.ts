import pg from 'pg';
import { NOTIFY_CHANNEL, type StoreContext } from './context.ts';
import type { RequestView } from './guard.ts';
import type { Ended, RequestState } from './port.ts';
import { endedOf, REQUEST_COLUMNS, type RequestRow, viewOf } from './rows.ts';

type StateChanged = (state: RequestState, ended: Ended | null) => void;
type Watcher = { readonly id: string; readonly changed: StateChanged; state: RequestState };

/** Hears of changes by LISTEN, and by polling what LISTEN may have lost; tells holds and channels. */
export type Watching = {
  readonly watch: (id: string, changed: StateChanged) => () => void;
  readonly onRequestChanged: (changed: (view: RequestView) => void) => () => void;
  /** Looks for changes now. Rejects when the store is away. */
  readonly poll: () => Promise<void>;
  readonly close: () => Promise<void>;
};

/** Revisions that are remembered, to tell a change from a repetition. */
const REMEMBERED = 20_000;

export async function startWatching(context: StoreContext, url: string): Promise<Watching> {
  const watchers = new Set<Watcher>();
  const subscribers = new Set<(view: RequestView) => void>();
  const seen = new Map<string, bigint>();
  let since = await databaseNow(context);

  async function refresh(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    const { rows } = await context.pool.query<RequestRow>(
      `SELECT ${REQUEST_COLUMNS} FROM countersign.request r WHERE r.id = ANY ($1) ORDER BY r.revision`,
      [ids],
    );
    for (const row of rows) deliver(row);
  }

  function deliver(row: RequestRow): void {
    for (const watcher of [...watchers]) {
      if (watcher.id !== row.id || watcher.state === row.state || !watchers.has(watcher)) continue;
      watcher.state = row.state;
      guarded(context, () => watcher.changed(row.state, endedOf(row)));
    }
    const revision = BigInt(row.revision);
    if (revision <= (seen.get(row.id) ?? -1n)) return;
    remember(seen, row.id, revision);
    if (subscribers.size === 0) return;
    const view = viewOf(row, context.publicUrl);
    for (const changed of [...subscribers]) guarded(context, () => changed(view));
  }

  async function poll(): Promise<void> {
    const { rows } = await context.pool.query<
      Pick<RequestRow, 'id' | 'state' | 'revision'> & { changed_at: Date }
    >(
      `SELECT id, state, revision, changed_at FROM countersign.request
       WHERE changed_at > $1::timestamptz - make_interval(secs => $2) OR id = ANY ($3) ORDER BY revision`,
      [since, context.limits.pollOverlapMs / 1000, [...new Set([...watchers].map(({ id }) => id))]],
    );
    const missed = new Set(
      [...watchers].map(({ id, state }) => rows.find((row) => row.id === id && row.state !== state)?.id),
    );
    const news = rows.filter(
      ({ id, revision }) => BigInt(revision) > (seen.get(id) ?? -1n) || missed.has(id),
    );
    for (const { changed_at } of rows) if (changed_at > since) since = changed_at;
    await refresh(news.map(({ id }) => id));
  }

  const listener = listen(context, url, refresh, poll);
  return {
    watch: (id, changed) => {
      const watcher: Watcher = { id, changed, state: 'open' };
      watchers.add(watcher);
      // What happened between opening and watching.
      refresh([id]).catch((error: unknown) => logAway(context, error));
      return () => void watchers.delete(watcher);
    },
    onRequestChanged: (changed) => {
      subscribers.add(changed);
      return () => void subscribers.delete(changed);
    },
    poll,
    close: async () => {
      watchers.clear();
      subscribers.clear();
      await listener.close();
    },
  };
}

/** One connection that listens, made anew whenever it is lost; each time it stands, everything is polled once. */
function listen(
  context: StoreContext,
  url: string,
  refresh: (ids: readonly string[]) => Promise<void>,
  poll: () => Promise<void>,
): { readonly close: () => Promise<void> } {
  let closed = false;
  let client: pg.Client | null = null;
  let retry: NodeJS.Timeout | null = null;

  async function connect(): Promise<void> {
    const next = new pg.Client({
      connectionString: url,
      application_name: 'countersign requests (listen)',
      keepAlive: true,
      connectionTimeoutMillis: context.limits.connectMs,
    });
    let over = false;
    const lost = (error?: unknown) => {
      if (over || closed) return;
      over = true;
      if (error !== undefined) logAway(context, error);
      next.end().catch(() => {});
      retry = setTimeout(() => void connect(), context.limits.pollMs);
      retry.unref();
    };
    next.on('error', lost);
    next.on('end', () => lost());
    next.on('notification', ({ payload }) => {
      if (payload !== undefined) refresh([payload]).catch((error: unknown) => logAway(context, error));
    });
    client = next;
    try {
      await next.connect();
      await next.query(`LISTEN ${NOTIFY_CHANNEL}`);
      await poll();
    } catch (error) {
      lost(error);
    }
  }

  const first = connect();
  return {
    close: async () => {
      closed = true;
      if (retry !== null) clearTimeout(retry);
      await first;
      await client?.end().catch(() => {});
    },
  };
}

async function databaseNow({ pool }: StoreContext): Promise<Date> {
  const { rows } = await pool.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  return rows[0]?.now ?? new Date(0);
}

function remember(seen: Map<string, bigint>, id: string, revision: bigint): void {
  seen.delete(id);
  seen.set(id, revision);
  if (seen.size <= REMEMBERED) return;
  const [oldest] = seen.keys();
  if (oldest !== undefined) seen.delete(oldest);
}

/** One channel's fault is not another's, nor a hold's. */
function guarded({ log }: StoreContext, call: () => void): void {
  try {
    call();
  } catch (error) {
    log.error({ err: error }, 'a listener for request changes failed');
  }
}

function logAway({ log }: StoreContext, error: unknown): void {
  log.warn({ err: error }, 'approval store is away');
}
