import pg from 'pg';
import type { Logger } from 'pino';
import { ISO_DATES } from '../audit/iso-dates.ts';
import type { TransactionalAppend } from '../audit/port.ts';
import type { Person } from '../config/config.ts';
import type { Keys } from '../signing/keys.ts';
import { relyingPartyOf } from '../signing/passkey.ts';
import { decideAll } from './alike.ts';
import { decide } from './answering.ts';
import { passkeysOf, recordPasskey } from './attesting.ts';
import { cardStore } from './cards.ts';
import { newInTurn, newRunning, type StoreContext } from './context.ts';
import { changedAfter, listRequests, sureBefore } from './finding.ts';
import type {
  ApprovalDesk,
  ApproverCheck,
  PasskeyDesk,
  RequestFeed,
  ShownOutcome,
  SnoozeDesk,
} from './guard.ts';
import { endLease, keepLease, sweep } from './janitor.ts';
import { type ApprovalLimits, withDefaults } from './limits.ts';
import { directoryNow, type Membership, NO_MEMBERSHIP } from './membership.ts';
import { openRequest } from './opening.ts';
import { ownRequests } from './own.ts';
import type { Approvals } from './port.ts';
import { mayApprove, refuseInChannel } from './refusing.ts';
import { detachRequest, endRequest, releaseRequest, withdrawRequest } from './releasing.ts';
import { REQUEST_COLUMNS, type RequestRow, viewOf } from './rows.ts';
import { heedRevocations, registerKeys } from './signing-keys.ts';
import { snoozedRequests, snoozeRequest } from './snoozing.ts';
import { startWatching, type Watching } from './watching.ts';
import { takeBack } from './withdrawing.ts';

export type ApprovalOptions = {
  /** Connection of the writer role to the database with the schema `countersign`. */
  readonly url: string;
  readonly limits: ApprovalLimits;
  readonly people: readonly Person[];
  /** Of groups that are kept elsewhere; absent: there are none. */
  readonly membership?: Membership;
  readonly keys: Keys;
  readonly appendAudit: TransactionalAppend;
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>;
  /** What links begin with, without a slash at the end. */
  readonly publicUrl: string;
  /** New at each start of a process. */
  readonly processId: string;
};

export type ApprovalHandle = Approvals &
  ApprovalDesk &
  ApproverCheck &
  PasskeyDesk &
  RequestFeed &
  SnoozeDesk & {
    /** For what other parts keep in the schema `countersign` (console sessions). */
    readonly pool: pg.Pool;
    /** Rejects when the store cannot be asked: for readiness. */
    readonly ping: () => Promise<void>;
    /** Detaches this process' holds, so that another one can take them over at once, and closes everything. */
    readonly close: () => Promise<void>;
  };

/** Rejects if the database is away or `migrateApprovals` has not been run on it. */
export async function openApprovals(options: ApprovalOptions): Promise<ApprovalHandle> {
  const limits = withDefaults(options.limits);
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: 'countersign requests',
    options: ISO_DATES,
    max: limits.connections,
    connectionTimeoutMillis: limits.connectMs,
    statement_timeout: limits.statementMs,
    idle_in_transaction_session_timeout: limits.statementMs,
    keepAlive: true,
  });
  // The pool hears only of idle connections; one that is cut while in use would end the process. Whoever uses it gets
  // the error from its own query.
  const cut = (error: Error) =>
    options.log.warn({ err: error }, 'a connection to the approval store was cut');
  pool.on('error', cut);
  pool.on('connect', (client) => client.on('error', cut));
  const { membership = NO_MEMBERSHIP } = options;
  const context: StoreContext = {
    ...options,
    pool,
    limits,
    membership,
    relyingParty: relyingPartyOf(options.publicUrl),
    // Whoever asks gets the people of this moment.
    get directory() {
      return directoryNow(options.people, membership);
    },
    running: newRunning(),
    inTurn: newInTurn(),
  };
  try {
    await keepLease(context);
    await registerKeys(pool, context.keys.all());
    await heedRevocations(pool, context.keys);
    const watching = await startWatching(context, options.url);
    return handleOf(context, watching, startRounds(context, watching));
  } catch (error) {
    await pool.end();
    throw isMissingSchema(error) ? new ApprovalSchemaMissing({ cause: error }) : error;
  }
}

/** The operator's to mend: the database is there, and was not prepared. */
export class ApprovalSchemaMissing extends Error {
  override readonly name = 'ApprovalSchemaMissing';
  readonly code = 'approval_schema_missing';
  constructor(options: ErrorOptions) {
    super(
      'the audit database has no schema `countersign`, or an old one: run `countersign audit migrate`',
      options,
    );
  }
}

/** undefined_table, undefined_column, invalid_schema_name. */
function isMissingSchema(error: unknown): boolean {
  return error instanceof pg.DatabaseError && ['42P01', '42703', '3F000'].includes(error.code ?? '');
}

type Rounds = {
  readonly unended: Map<string, Unended>;
  /** Reasons by request. */
  readonly unwithdrawn: Map<string, string>;
  readonly undetached: Set<string>;
  readonly stop: () => Promise<void>;
};
type Unended = { readonly outcome: 'executed' | 'failed' | 'unknown'; readonly facts: ShownOutcome };

/** Every `pollMs`: keep the lease, end what is over, try again to store outcomes, look for missed changes. */
function startRounds(context: StoreContext, watching: Watching): Rounds {
  const unended = new Map<string, Unended>();
  const unwithdrawn = new Map<string, string>();
  const undetached = new Set<string>();
  let stopped = false;
  let timer: NodeJS.Timeout;
  let current: Promise<void> = Promise.resolve();
  async function round(): Promise<void> {
    try {
      await sweep(context);
      await heedRevocations(context.pool, context.keys);
      for (const [id, { outcome, facts }] of unended) {
        await endRequest(context, id, outcome, facts);
        unended.delete(id);
      }
      for (const [id, why] of unwithdrawn) {
        await withdrawRequest(context, id, why);
        unwithdrawn.delete(id);
      }
      for (const id of undetached) {
        await detachRequest(context, id);
        undetached.delete(id);
      }
      await watching.poll();
    } catch (error) {
      context.log.warn({ err: error }, 'approval store is away');
    }
    if (!stopped) schedule();
  }
  function schedule(): void {
    const { pollMs, processLeaseMs } = context.limits;
    timer = setTimeout(
      () => {
        current = round();
      },
      Math.min(pollMs, processLeaseMs / 3),
    );
    timer.unref();
  }
  schedule();
  return {
    unended,
    unwithdrawn,
    undetached,
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      await current;
    },
  };
}

function handleOf(context: StoreContext, watching: Watching, rounds: Rounds): ApprovalHandle {
  const { pool } = context;
  const detaching = new Set<Promise<void>>();
  return {
    open: async (question) => {
      // What a hold of this process has just left can be attached to.
      await Promise.allSettled([...detaching]);
      const opened = await openRequest(context, question);
      // A hold of this process waits for it again.
      rounds.undetached.delete(opened.id);
      return opened;
    },
    watch: watching.watch,
    release: (id, question) => releaseRequest(context, id, question),
    end: async (id, outcome, facts) => {
      try {
        await endRequest(context, id, outcome, facts);
      } catch (error) {
        // What happened is known here and nowhere else: it is stored as soon as the store is back.
        rounds.unended.set(id, { outcome, facts });
        throw error;
      }
    },
    withdraw: async (id, why) => {
      try {
        await withdrawRequest(context, id, why);
      } catch (error) {
        // The client has been told: nobody must be asked about it any more once the store is back.
        rounds.unwithdrawn.set(id, why);
        throw error;
      }
    },
    detach: async (id) => {
      const detached = detachRequest(context, id);
      detaching.add(detached);
      try {
        await detached;
      } catch (error) {
        // Else nobody could attach to it as long as this process lives.
        rounds.undetached.add(id);
        throw error;
      } finally {
        detaching.delete(detached);
      }
    },
    openOf: ownRequests(context),
    guard: {
      decide: (answer) => decide(context, answer),
      decideAll: (answer, only) => decideAll(context, answer, only),
      refuse: (answer, code) => refuseInChannel(context, answer, code),
    },
    takeBack: (withdrawal) => takeBack(context, withdrawal),
    snooze: (id, person, minutes) => snoozeRequest(context, id, person, minutes),
    snoozed: (person) => snoozedRequests(context, person),
    mayApprove: (view, person, assurance) => mayApprove(context, view, person, assurance),
    passkeysOf: (person) => passkeysOf(context, person),
    passkeyMade: (person, made) => recordPasskey(context, person, made),
    list: (filter) => listRequests(context, filter),
    changedAfter: (revision, limit, live) => changedAfter(context, revision, limit, live),
    sureBefore: (revision) => sureBefore(context, revision),
    get: async (id) => {
      const { rows } = await pool.query<RequestRow>(
        `SELECT ${REQUEST_COLUMNS} FROM countersign.request r WHERE r.id = $1`,
        [id],
      );
      return rows[0] === undefined ? null : viewOf(rows[0], context.publicUrl);
    },
    onRequestChanged: watching.onRequestChanged,
    cards: cardStore(pool),
    pool,
    ping: async () => void (await pool.query('SELECT 1')),
    close: async () => {
      await rounds.stop();
      await watching.close();
      await endLease(context).catch((error: unknown) =>
        context.log.warn({ err: error }, 'lease was not ended'),
      );
      await pool.end();
    },
  };
}
