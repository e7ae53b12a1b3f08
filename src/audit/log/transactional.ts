import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { GENESIS_HASH } from '../chain/chain.ts';
import { AuditUnavailable, type Entry } from '../entry.ts';
import type { LogSigner, TransactionalAppend } from '../port.ts';
import { quoteName } from '../quote-name.ts';
import { appendCall, headCall, signBatch } from '../shipping/batch.ts';
import { entryRow } from '../shipping/row.ts';
import { headFrom } from '../shipping/store.ts';
import { createStreamKey, keyEntry, streamStart } from '../shipping/stream-key.ts';
import { newStreamId, now, processFacts } from './log.ts';

export type TransactionalAppender = {
  /** See `TransactionalAppend`. */
  readonly append: TransactionalAppend;
  /** The stream of these entries; it comes into being with the first of them. */
  readonly stream: string;
  /**
   * Says in the stream, where it came into being, that it ends here, so that a stream without an end is one of a process
   * that was killed. Nothing can be appended afterwards. `url`: the audit database as the writer. Rejects when it is away.
   */
  readonly end: (url: string) => Promise<void>;
};

/**
 * A second stream of this process, for entries that must be in the log if and only if something else in the same
 * database is: a request's change of state. The writer's role needs nothing more than for the first stream.
 */
export function createTransactionalAppender(options: {
  readonly schema: string;
  readonly signer: LogSigner;
  /** What the stream is for, as its first entry says. */
  readonly purpose?: string;
}): TransactionalAppender {
  const { schema, signer, purpose = 'requests' } = options;
  const stream = newStreamId();
  const key = createStreamKey();
  const quoted = quoteName(schema);
  let ended = false;
  return {
    stream,
    append: async (client: pg.ClientBase, entries: readonly Entry[]) => {
      if (entries.length === 0) return;
      if (ended) throw new AuditUnavailable('the audit log is closed', 'audit_closed');
      // Locks the head: another transaction of this stream waits here until this one ends.
      const { rows } = await client.query(headCall(quoted, stream));
      const stored = headFrom(rows[0]);
      const first =
        stored === null
          ? [
              streamStart(stream, key, signer, now(), processFacts(purpose)),
              keyEntry(signer.kid, signer.publicJwk, 'installation', now()),
            ]
          : [];
      const head = stored ?? { seq: 0n, hash: GENESIS_HASH };
      const numbered = [...first, ...entries].map((entry, i) =>
        entryRow(entry, stream, head.seq + BigInt(i) + 1n, randomBytes(16)),
      );
      await client.query(appendCall(quoted, signBatch(head, stream, numbered, key)));
    },
    end: async (url) => {
      if (ended) return;
      ended = true;
      await connected(url, async (client) => {
        await client.query('BEGIN');
        // Waits for whoever appends still.
        const head = headFrom((await client.query(headCall(quoted, stream))).rows[0]);
        if (head === null) return;
        const stop = entryRow(stopEntry(), stream, head.seq + 1n, randomBytes(16));
        await client.query(appendCall(quoted, signBatch(head, stream, [stop], key)));
        await client.query('COMMIT');
      });
    },
  };
}

function stopEntry(): Entry {
  return {
    ...{ kind: 'log_stop', at: now(), session: null, requestId: null },
    ...{ people: [], receipt: null, detail: { reason: 'closed' } },
  };
}

async function connected(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'countersign audit',
    connectionTimeoutMillis: END_MS,
    query_timeout: END_MS,
  });
  client.on('error', () => {});
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

const END_MS = 5_000;
