/** The one connection that cancel routing has to the audit database: who is there, and what they say. */
import pg from 'pg';

/** A row of `countersign.cancel_instance`. */
export type PeerRow = {
  readonly number: number;
  readonly publicKey: Buffer;
  readonly kid: string;
  readonly signature: Buffer;
};
/** A notification on this process' channel; from whomever. */
export type Heard = { readonly from: number; readonly sealed: Buffer };

export type CancelDatabaseOptions = {
  readonly url: string;
  /** A row for this process, with a number at random. */
  readonly announce: () => PeerRow;
  readonly peersRead: (rows: readonly PeerRow[]) => Promise<void>;
  readonly heard: (heard: Heard) => Promise<void>;
  readonly log: { readonly warn: (facts: object, message: string) => void };
};

/** A process that has not been heard of for so long is dead. Milliseconds, as the others. */
const LEASE_MS = 60_000;
/** How often the lease is kept and the others are looked for. */
const ROUND_MS = 5_000;
/** Whoever asks again within this gets the same answer. */
const READ_AGAIN_MS = 250;
const CONNECT_MS = 5_000;
const STATEMENT_MS = 10_000;
const RETRY_MS = 1_000;
/** A clock read over a slower round trip is not good enough. */
const SLOW_CLOCK_MS = 1_000;
/** Numbers that are tried before the table is taken to be full. */
const TRIES = 100;

const JOINED = 'countersign_cancel';
const PREFIX = 'countersign_cancel_';

export class CancelDatabase {
  readonly #options: CancelDatabaseOptions;
  #client: pg.Client | null = null;
  #own: PeerRow | null = null;
  /** The database's clock less `performance.now()`, milliseconds. */
  #clock: number | null = null;
  #timer: NodeJS.Timeout | null = null;
  #reading: Promise<void> | null = null;
  #turn: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: CancelDatabaseOptions) {
    this.#options = options;
  }

  /** The number of this process. */
  get instance(): number {
    if (this.#own === null) throw new Error('cancel routing has not begun');
    return this.#own.number;
  }

  /** The database's clock, milliseconds since 1970 UTC; null where it is not known well enough. */
  now(): number | null {
    return this.#clock === null ? null : this.#clock + performance.now();
  }

  /** Rejects when the database is away. Later it is tried again for ever. */
  async start(): Promise<void> {
    await this.#connect();
    this.#schedule(ROUND_MS);
  }

  /** Rejects when the database is away. */
  async tell(instance: number, sealed: Buffer): Promise<void> {
    const from = Buffer.alloc(2);
    from.writeUInt16BE(this.instance);
    const payload = Buffer.concat([from, sealed]).toString('base64');
    await this.#inTurn(async (client) => {
      await client.query('SELECT pg_catalog.pg_notify($1, $2)', [`${PREFIX}${instance}`, payload]);
    });
  }

  /** Reads who is there, unless that was done this very moment. Never rejects. */
  readPeers(): Promise<void> {
    this.#reading ??= this.#read().finally(() => {
      setTimeout(() => {
        this.#reading = null;
      }, READ_AGAIN_MS).unref();
    });
    return this.#reading;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const client = this.#client;
    await this.#inTurn(async (last) => {
      await last.query('DELETE FROM countersign.cancel_instance WHERE public_key = $1', [
        this.#own?.publicKey,
      ]);
    }).catch(() => {});
    this.#client = null;
    await client?.end().catch(() => {});
  }

  /** One after the other, as they are asked for. Rejects when the database is away. */
  #inTurn<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const mine = this.#turn.then(() => {
      if (this.#client === null) throw new Error('the audit database is away');
      return work(this.#client);
    });
    this.#turn = mine.then(
      () => {},
      () => {},
    );
    return mine;
  }

  async #connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#options.url,
      application_name: 'countersign cancels',
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_MS,
      statement_timeout: STATEMENT_MS,
      query_timeout: STATEMENT_MS,
    });
    const lost = (error?: Error) => {
      if (this.#client !== client) return;
      this.#client = null;
      if (!this.#closed) this.#options.log.warn({ err: error }, 'cancel routing: the audit database is away');
    };
    client.on('error', lost);
    client.on('end', () => lost());
    client.on('notification', ({ channel, payload }) => {
      // Who joins while this connection is made, itself too, is read at the end of it.
      if (channel === JOINED) return this.#client === client ? void this.readPeers() : undefined;
      this.#notified(payload ?? '');
    });
    try {
      await client.connect();
      // A notification needs no disk.
      await client.query('SET synchronous_commit = off');
      await this.#keepLease(client);
      await client.query(`LISTEN ${JOINED}; LISTEN ${PREFIX}${this.instance}; NOTIFY ${JOINED}`);
      if (this.#closed) return void client.end().catch(() => {});
      this.#client = client;
      await this.#read();
    } catch (error) {
      this.#client = null;
      client.end().catch(() => {});
      throw error;
    }
  }

  #schedule(ms: number): void {
    if (this.#closed) return;
    this.#timer = setTimeout(async () => {
      try {
        if (this.#client === null) await this.#connect();
        else {
          await this.#inTurn((client) => this.#keepPlace(client));
          await this.readPeers();
        }
      } catch (error) {
        this.#options.log.warn({ err: error as Error }, 'cancel routing: the audit database is away');
      }
      this.#schedule(this.#client === null ? RETRY_MS : ROUND_MS);
    }, ms);
    this.#timer.unref();
  }

  async #keepPlace(client: pg.Client): Promise<void> {
    const before = this.#own;
    await this.#keepLease(client);
    if (this.#own !== before)
      await client.query(`UNLISTEN *; LISTEN ${JOINED}; LISTEN ${PREFIX}${this.instance}; NOTIFY ${JOINED}`);
  }

  /** Keeps this process' number, or takes one: at the start, and where it was thought dead and its number is gone. */
  async #keepLease(client: pg.Client): Promise<void> {
    await this.#readClock(client);
    await client.query('DELETE FROM countersign.cancel_instance WHERE lease_until <= clock_timestamp()');
    if (this.#own !== null) {
      const { rowCount } = await client.query(
        `UPDATE countersign.cancel_instance SET lease_until = clock_timestamp() + make_interval(secs => $2)
         WHERE public_key = $1`,
        [this.#own.publicKey, LEASE_MS / 1000],
      );
      if (rowCount === 1 || (await this.#claim(client, this.#own))) return;
    }
    for (let i = 0; i < TRIES; i++) {
      const row = this.#options.announce();
      if (await this.#claim(client, row)) {
        this.#own = row;
        return;
      }
    }
    throw new Error('too many processes use this audit database');
  }

  async #claim(client: pg.Client, row: PeerRow): Promise<boolean> {
    const { rowCount } = await client.query(
      `INSERT INTO countersign.cancel_instance (number, public_key, kid, signature, lease_until)
       VALUES ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5)) ON CONFLICT (number) DO NOTHING`,
      [row.number, row.publicKey, row.kid, row.signature, LEASE_MS / 1000],
    );
    return rowCount === 1;
  }

  async #readClock(client: pg.Client): Promise<void> {
    const asked = performance.now();
    const { rows } = await client.query<{ ms: number }>(
      'SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms',
    );
    const answered = performance.now();
    const [row] = rows;
    if (row !== undefined && answered - asked < SLOW_CLOCK_MS) this.#clock = row.ms - (asked + answered) / 2;
  }

  async #read(): Promise<void> {
    try {
      const { rows } = await this.#inTurn((client) =>
        client.query<PeerRow>(
          `SELECT number, public_key AS "publicKey", kid, signature FROM countersign.cancel_instance
           WHERE lease_until > clock_timestamp() AND public_key <> $1`,
          [this.#own?.publicKey],
        ),
      );
      await this.#options.peersRead(rows);
    } catch (error) {
      this.#options.log.warn({ err: error as Error }, 'cancel routing: the other processes are not known');
    }
  }

  #notified(payload: string): void {
    const bytes = Buffer.from(payload, 'base64');
    if (bytes.length < 2) return;
    const heard = { from: bytes.readUInt16BE(0), sealed: bytes.subarray(2) };
    this.#options
      .heard(heard)
      .catch((error: Error) => this.#options.log.warn({ err: error }, 'a cancel request was not answered'));
  }
}
