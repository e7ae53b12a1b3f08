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

/** Which statements of the log to find. All conditions hold; the newest come first. Texts are attacker-controlled. */
export type StatementFilter = {
  readonly from: Date;
  /** Null: until now. */
  readonly to: Date | null;
  readonly agent?: string;
  readonly class?: string;
  readonly decision?: 'allow' | 'hold' | 'deny';
  /** `running`: there is none yet. */
  readonly outcome?: FoundStatement['outcome'] | 'running';
  readonly requestId?: string;
  /** Part of the statement's text, in whatever case. */
  readonly text?: string;
  readonly limit: number;
  /** What comes after this place. */
  readonly after?: StatementPlace;
};

/** Where a statement is in the log: microseconds since 1970 UTC, stream, and number in it. */
export type StatementPlace = { readonly atUs: bigint; readonly stream: string; readonly seq: bigint };

export type FoundStatement = StatementPlace & {
  readonly sessionId: string | null;
  readonly agent: string;
  readonly owner: string | null;
  readonly onBehalfOf: string | null;
  readonly run: string | null;
  readonly database: string;
  readonly role: string;
  /** Its beginning, where it is `cut`; null: erased. */
  readonly sql: string | null;
  readonly cut: boolean;
  /** Hex. */
  readonly sqlSha256: string | null;
  readonly class: string;
  readonly decision: 'allow' | 'hold' | 'deny';
  readonly rule: string;
  readonly reasons: readonly string[];
  readonly relations: readonly string[];
  readonly requestId: string | null;
  readonly approvers: readonly string[];
  readonly outcome: 'executed' | 'failed' | 'denied' | 'expired' | 'withdrawn' | 'unknown' | null;
  readonly tag: string | null;
  readonly rows: bigint | null;
  readonly bytes: bigint | null;
  readonly durationUs: bigint | null;
  readonly sqlstate: string | null;
  readonly policyDigest: string | null;
};

/** Who reads the log, for the log. */
export type LogReader = {
  /** Canonical ids of people, and `kind:value` of others, as the credential proves them. */
  readonly people: readonly string[];
  /** Names the credential. */
  readonly credential: string;
  readonly address: string | null;
};

export type AuditSearch = {
  /** Rejects with `SearchTooLong`, or an Error when the log cannot be read, or the reading not be recorded. */
  readonly statements: (filter: StatementFilter, reader: LogReader) => Promise<readonly FoundStatement[]>;
};

/** It would have taken longer than it may; a shorter time, or fewer statements, would do. */
export class SearchTooLong extends Error {
  override readonly name = 'SearchTooLong';
  readonly code = 'search_too_long';
}
