import type pg from 'pg';
import type { Entry } from './entry.ts';

/**
 * Appends entries inside the caller's open transaction, on a stream of this process that is kept for such entries.
 * They are in the log if and only if the caller commits; a rollback leaves no gap. The stream's head stays locked
 * until the transaction ends: call it last, and end the transaction soon after.
 */
export type TransactionalAppend = (client: pg.ClientBase, entries: readonly Entry[]) => Promise<void>;

/**
 * The key that signs batches of rows. `sign` is Ed25519 over exactly these bytes, synchronous; `kid` is the RFC 7638
 * thumbprint of `publicJwk`. The installation's key; the audit part never sees the private one.
 */
export type LogSigner = {
  readonly kid: string;
  readonly publicJwk: Readonly<Record<string, unknown>>;
  readonly sign: (bytes: Uint8Array) => Buffer;
};
