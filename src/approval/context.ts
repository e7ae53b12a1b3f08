import pg from 'pg';
import type { Logger } from 'pino';
import type { Entry, EventEntry, SessionFacts } from '../audit/entry.ts';
import type { TransactionalAppend } from '../audit/port.ts';
import type { Keys } from '../signing/keys.ts';
import type { RelyingParty } from '../signing/passkey.ts';
import type { Directory } from './eligibility.ts';
import type { StoreLimits } from './limits.ts';
import type { Membership } from './membership.ts';
import { refreshFirst } from './merging.ts';

/** What every part of the store works with. */
export type StoreContext = {
  readonly pool: pg.Pool;
  readonly processId: string;
  readonly directory: Directory;
  readonly membership: Membership;
  readonly keys: Keys;
  readonly limits: StoreLimits;
  readonly appendAudit: TransactionalAppend;
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** Without a slash at the end. */
  readonly publicUrl: string;
  /** Of passkeys; null: none can be used where `publicUrl` is. */
  readonly relyingParty: RelyingParty | null;
  /** Requests that this process is releasing or has released and not ended: the janitor leaves them alone. */
  readonly running: Running;
  /** Runs work on the same request one after the other, in the order of the calls. */
  readonly inTurn: InTurn;
};

export type InTurn = <T>(key: string, work: (waited: boolean) => Promise<T>) => Promise<T>;

export function newInTurn(): InTurn {
  const last = new Map<string, Promise<unknown>>();
  return (key, work) => {
    const before = last.get(key);
    const mine =
      before === undefined
        ? work(false)
        : before.then(
            () => work(true),
            () => work(true),
          );
    last.set(key, mine);
    const clear = () => {
      if (last.get(key) === mine) last.delete(key);
    };
    mine.then(clear, clear);
    return mine;
  };
}

/** Counts per request, because a second release that fails must not end the first one's protection. */
export type Running = {
  readonly begin: (id: string) => void;
  readonly end: (id: string) => void;
  readonly ids: () => readonly string[];
};

export function newRunning(): Running {
  const counts = new Map<string, number>();
  return {
    begin: (id) => {
      counts.set(id, (counts.get(id) ?? 0) + 1);
    },
    end: (id) => {
      const left = (counts.get(id) ?? 0) - 1;
      if (left > 0) counts.set(id, left);
      else counts.delete(id);
    },
    ids: () => [...counts.keys()],
  };
}

/** One transaction; time is the database's. Entries are appended last, in the order given, and committed with it. */
export type Transaction = {
  readonly client: pg.ClientBase;
  readonly nowMs: number;
  readonly record: (entry: EventFacts) => void;
  /** Tells all processes that this request changed, at commit. */
  readonly notify: (requestId: string) => void;
  /** It was opened, or is open no longer: after the commit, the card of those that it was shown as one with is renewed. */
  readonly regroup: (requestId: string) => void;
};

export type EventFacts = {
  readonly kind: EventEntry['kind'];
  readonly session: SessionFacts | null;
  readonly requestId: string | null;
  readonly people?: readonly string[];
  readonly receipt?: string | null;
  readonly detail: Readonly<Record<string, string>>;
};

export const NOTIFY_CHANNEL = 'countersign_request';

/** Runs `work` between BEGIN and COMMIT. Rejects when the store is away, or when `work` does: then nothing happened. */
export async function inTransaction<T>(
  context: Pick<StoreContext, 'pool' | 'appendAudit' | 'log'>,
  work: (transaction: Transaction) => Promise<T>,
): Promise<T> {
  const client = await context.pool.connect();
  let broken: Error | undefined;
  try {
    const nowUs = await begin(client);
    const entries: Entry[] = [];
    const changed = new Set<string>();
    const regrouped = new Set<string>();
    const result = await work({
      client,
      nowMs: Number(nowUs / 1000n),
      record: (facts) => entries.push(entryOf(facts, nowUs)),
      notify: (id) => changed.add(id),
      regroup: (id) => regrouped.add(id),
    });
    // Last: the head of the log's stream is locked from here to the end.
    if (entries.length > 0) await context.appendAudit(client, entries);
    await commit(client, changed);
    if (regrouped.size > 0) void renewCards(context, [...regrouped]);
    return result;
  } catch (error) {
    broken = await rollback(client);
    throw error;
  } finally {
    client.release(broken);
  }
}

/** Nobody waits for it: a statement that was approved is on its way meanwhile. */
async function renewCards(
  { pool, log }: Pick<StoreContext, 'pool' | 'log'>,
  ids: readonly string[],
): Promise<void> {
  try {
    for (const id of ids) await refreshFirst(pool, id, NOTIFY_CHANNEL);
  } catch (error) {
    log.warn({ err: error }, 'a card shows an old number of waiting requests');
  }
}

/** One round trip: a person's answer goes through here twice before the statement runs. */
async function begin(client: pg.ClientBase): Promise<bigint> {
  const results: unknown = await client.query(
    'BEGIN; SELECT floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us',
  );
  const [, clock] = results as readonly pg.QueryResult<{ us: string }>[];
  if (clock?.rows[0] === undefined) throw new Error('the database did not tell the time');
  return BigInt(clock.rows[0].us);
}

async function commit(client: pg.ClientBase, changed: ReadonlySet<string>): Promise<void> {
  const notices = [...changed].map((id) => `SELECT pg_notify('${NOTIFY_CHANNEL}', ${pg.escapeLiteral(id)});`);
  await client.query(`${notices.join(' ')} COMMIT`);
}

/** The error that makes this connection unfit for further use, if any. */
async function rollback(client: pg.ClientBase): Promise<Error | undefined> {
  try {
    await client.query('ROLLBACK');
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error('ROLLBACK failed');
  }
}

function entryOf({ kind, session, requestId, people, receipt, detail }: EventFacts, at: bigint): Entry {
  return { kind, at, session, requestId, people: people ?? [], receipt: receipt ?? null, detail };
}
