import { randomBytes } from 'node:crypto';
import type pg from 'pg';
import { appendCall, headCall, signBatch } from './batch.ts';
import { GENESIS_HASH } from './chain.ts';
import type { Entry } from './entry.ts';
import { newStreamId, now, processFacts } from './log.ts';
import type { LogSigner, TransactionalAppend } from './port.ts';
import { entryRow } from './row.ts';
import { headFrom, quoteName } from './store.ts';
import { createStreamKey, keyEntry, streamStart } from './stream-key.ts';

export type TransactionalAppender = {
  /** See `TransactionalAppend`. */
  readonly append: TransactionalAppend;
  /** The stream of these entries; it comes into being with the first of them. */
  readonly stream: string;
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
  return {
    stream,
    append: async (client: pg.ClientBase, entries: readonly Entry[]) => {
      if (entries.length === 0) return;
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
  };
}
