import { randomBytes } from 'node:crypto';
import pg from 'pg';
import type { EventEntry } from '../entry.ts';
import { now } from '../log/log.ts';
import { createTransactionalAppender } from '../log/transactional.ts';
import type { LogSigner } from '../port.ts';
import { quoteName } from '../quote-name.ts';

export type Upkeep = {
  /** The audit database as a role that may act as the schema's owner (`audit.adminUrl`); never the writer. */
  readonly url: string;
  readonly schema: string;
  /** The installation's key: it endorses the short stream that the entries are in. */
  readonly signer: LogSigner;
  /** Who does it, for the log. */
  readonly by: string;
};

/** What upkeep of the log cannot do now, and what stands in its way. */
export class UpkeepRefused extends Error {
  override readonly name = 'UpkeepRefused';
  /** Stable: `legal_hold`, `audit_altered`, `audit_busy`, `nothing_to_do`, `request_open`, `no_hold`, `not_owner`. */
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

export type UpkeepWork = {
  readonly client: pg.Client;
  /** The schema's name, quoted. */
  readonly schema: string;
  /** Appends entries on a stream of their own, which ends with them: call it once. */
  readonly append: (entries: readonly UpkeepEntry[]) => Promise<void>;
};

export type UpkeepEntry = {
  readonly kind: 'retention' | 'redaction' | 'legal_hold';
  readonly detail: Readonly<Record<string, string>>;
};

/**
 * Does something to the log as its owner, in one transaction with the entries that say so: both are there, or neither.
 * One at a time; what another process does meanwhile is waited for `LOCK_MS`. Throws `UpkeepRefused`.
 */
export async function asOwner<T>(upkeep: Upkeep, work: (work: UpkeepWork) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: upkeep.url, application_name: 'countersign upkeep' });
  await client.connect();
  try {
    await client.query('BEGIN');
    await beOwner(client, upkeep.schema);
    await client.query(
      `SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL lock_timeout = ${LOCK_MS}; SET LOCAL statement_timeout = 0`,
    );
    const locked = await client.query<{ locked: boolean }>(
      `SELECT pg_try_advisory_xact_lock(hashtextextended($1, 8)) AS locked`,
      [`${upkeep.schema}.upkeep`],
    );
    if (locked.rows[0]?.locked !== true)
      throw new UpkeepRefused(
        'audit_busy',
        'another retention, redaction or hold is running: try again when it is done',
      );
    const result = await work({
      client,
      schema: quoteName(upkeep.schema),
      append: (entries) => appendAll(client, upkeep, entries),
    });
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw refusalOf(error);
  } finally {
    await client.end();
  }
}

/** A name for one retention, redaction or hold, e.g. `hold_20260131T120000Z_5f0c2a…`. */
export function upkeepId(prefix: 'retention' | 'redaction' | 'hold'): string {
  const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  return `${prefix}_${stamp}_${randomBytes(5).toString('hex')}`;
}

/** Rows by their stream, in their order. */
export function byStream<T extends { readonly stream: string }>(
  rows: readonly T[],
): readonly [string, readonly T[]][] {
  const streams = new Map<string, T[]>();
  for (const row of rows) {
    const known = streams.get(row.stream);
    if (known === undefined) streams.set(row.stream, [row]);
    else known.push(row);
  }
  return [...streams];
}

async function beOwner(client: pg.Client, schema: string): Promise<void> {
  const { rows } = await client.query<{ owner: string; may: boolean }>(
    `SELECT pg_get_userbyid(nspowner) AS owner,
            pg_has_role(current_user, nspowner,
              CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) AS may
       FROM pg_catalog.pg_namespace WHERE nspname = $1`,
    [schema],
  );
  const [found] = rows;
  if (found?.may !== true)
    throw new UpkeepRefused(
      'not_owner',
      found === undefined
        ? `there is no schema ${schema} here: see "countersign audit migrate"`
        : `this needs a role that may act as ${found.owner}, as audit.adminUrl may: the proxy's writer and auditors may not`,
    );
  await client.query(`SET LOCAL ROLE ${quoteName(found.owner)}`);
}

/** A stream as a process start makes it: its key, endorsed by the installation's, then the entries, then its end. */
async function appendAll(
  client: pg.Client,
  { schema, signer, by }: Upkeep,
  entries: readonly UpkeepEntry[],
): Promise<void> {
  const appender = createTransactionalAppender({ schema, signer, purpose: 'upkeep' });
  const events = entries.map(({ kind, detail }) => event(kind, { ...detail, by }));
  await appender.append(client, [...events, event('log_stop', { reason: 'closed' })]);
}

function event(kind: EventEntry['kind'], detail: Readonly<Record<string, string>>): EventEntry {
  return { kind, at: now(), session: null, requestId: null, people: [], receipt: null, detail };
}

function refusalOf(error: unknown): unknown {
  if (!(error instanceof pg.DatabaseError)) return error;
  if (error.code === 'CSA07') return new UpkeepRefused('legal_hold', error.message);
  if (error.code === '55P03' || error.code === '40P01')
    return new UpkeepRefused(
      'audit_busy',
      'the log is being read or written where this has to change it: nothing was changed, try again',
    );
  return error;
}

/** Milliseconds that a lock is waited for; writers of the log wait behind it. */
const LOCK_MS = 5_000;
