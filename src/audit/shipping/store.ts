import pg from 'pg';
import { quoteName } from '../quote-name.ts';
import { appendText, type Head, headCall } from './batch.ts';
import type { EncodedBatch } from './batch-encoder.ts';

/** The audit database as the shipper sees it. Every call rejects when the connection is lost. */
export type AuditStore = {
  /** Where a stream ends there; null: it is not there. */
  readonly head: (stream: string) => Promise<Head | null>;
  /** Stores a batch, or finds it stored already. */
  readonly append: (batch: EncodedBatch) => Promise<Head>;
  readonly close: () => Promise<void>;
};

export type StoreOptions = {
  readonly url: string;
  readonly schema: string;
  /** Called once when the connection ends by itself. */
  readonly lost: () => void;
};

/** Connects with the writer's role. */
export async function connectStore(options: StoreOptions): Promise<AuditStore> {
  const client = new pg.Client({
    connectionString: options.url,
    application_name: 'countersign audit',
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: APPEND_MS,
    keepAlive: true,
  });
  client.on('error', options.lost);
  client.on('end', options.lost);
  try {
    await client.connect();
  } catch (error) {
    await client.end().catch(() => {});
    throw error;
  }
  const schema = quoteName(options.schema);
  const text = appendText(schema);
  return {
    head: async (stream) => headFrom((await client.query<HeadRow>(headCall(schema, stream))).rows[0]),
    append: async (batch) => {
      const { rows } = await client.query<HeadRow>({ name: 'append', text, values: [...batch.values] });
      const head = headFrom(rows[0]);
      if (head === null) throw new Error('append returned no head');
      return head;
    },
    close: async () => {
      client.removeListener('end', options.lost);
      // A connection whose other side vanished does not end by itself.
      const ended = client.end().catch(() => {});
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())]);
    },
  };
}

/**
 * Whether the database's answer means that this stream can never be continued there: another history, or a gap. Trying
 * again does not help; a person must look.
 */
export function isRefusal(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code.startsWith('CSA')
  );
}

type HeadRow = { readonly head_seq: string; readonly head_hash: Buffer };

export function headFrom(row: HeadRow | undefined): Head | null {
  return row === undefined ? null : { seq: BigInt(row.head_seq), hash: row.head_hash };
}

/** Milliseconds to connect, and for one batch; a database slower than that counts as away. */
const CONNECT_MS = 5_000;
const APPEND_MS = 30_000;
const CLOSE_MS = 2_000;
