import type { KeyObject } from 'node:crypto';
import type { Segment } from '../journal/journal.ts';
import type { OpenStatement } from '../journal/open-statements.ts';
import type { Head } from './batch.ts';

/** What the thread that writes the journal and the one that ships it say to each other. */

/** How far the journal has come. */
export type JournalState = {
  readonly segments: readonly Segment[];
  readonly writtenSeq: bigint;
  /** On disk up to here. */
  readonly syncedSeq: bigint;
};

/** What the shipping thread is started with. */
export type ShippingTask = {
  readonly stream: string;
  readonly saltSecret: Uint8Array;
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly url: string;
  readonly schema: string;
  readonly state: JournalState;
  /** What a thread before this one did. */
  readonly before: ShippedBefore;
};

/** What of a journal was taken care of before; nothing: `NOTHING_BEFORE`. */
export type ShippedBefore = {
  /** Up to this entry the stored bytes were told of. */
  readonly countedSeq: bigint;
  /** The statements that were open after an entry, whose own segments may be gone. */
  readonly kept: { readonly seq: bigint; readonly open: readonly OpenStatement[] };
};

export const NOTHING_BEFORE: ShippedBefore = { countedSeq: 0n, kept: { seq: 0n, open: [] } };

export type ToShipper =
  /** The journal has come as far as was wanted. */
  | { readonly kind: 'state'; readonly state: JournalState }
  /** Somebody waits for this entry. */
  | { readonly kind: 'need'; readonly seq: bigint; readonly state: JournalState }
  /** A `sync` or `release` is done; `failure`: why not. */
  | {
      readonly kind: 'reply';
      readonly id: number;
      readonly state: JournalState;
      readonly failure: FlatError | null;
    }
  | { readonly kind: 'open' }
  | { readonly kind: 'stop' };

export type ShippingStatus = {
  /** The last row that the database has. */
  readonly shipped: Head;
  /** Since when the database is away, and since when it owes an answer; milliseconds since 1970. */
  readonly awaySince: number | null;
  readonly sentAt: number | null;
  /** The database has another history of this stream, or the journal was altered. */
  readonly refused: boolean;
};

export type FromShipper =
  /** `bytes` of journal records were stored since the last one. */
  | { readonly kind: 'status'; readonly status: ShippingStatus; readonly bytes: number }
  /** Asks for a `state` as soon as this entry is written. */
  | { readonly kind: 'want'; readonly seq: bigint }
  | { readonly kind: 'sync'; readonly id: number }
  /** Everything before this segment is stored; these statements were open then. */
  | {
      readonly kind: 'release';
      readonly id: number;
      readonly segment: number;
      readonly seq: bigint;
      readonly open: readonly OpenStatement[];
    }
  | { readonly kind: 'open'; readonly open: readonly OpenStatement[] }
  | {
      readonly kind: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly facts: object;
      readonly failure: FlatError | null;
      readonly message: string;
    }
  | { readonly kind: 'stopped' };

/** An error as it crosses between threads, which would lose its code. */
export type FlatError = {
  readonly name: string;
  readonly message: string;
  readonly code: string | null;
  readonly stack: string;
};

export function flatten(error: unknown): FlatError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error), code: null, stack: '' };
  const { name, message, stack = '' } = error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : null;
  return { name, message, code, stack };
}

export function unflatten(flat: FlatError): Error {
  const { name, message, code, stack } = flat;
  return Object.assign(new Error(message), { name, stack }, code === null ? {} : { code });
}
