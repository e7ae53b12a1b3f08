/**
 * The reply ledger: one entry per frontend message that went upstream, in order, so that each reply is known to
 * belong to its message (manual, "Message Flow").
 */
import type { Moved } from './listing.ts';
import type { Refusal } from './refusal.ts';
import type { Run } from './run.ts';

export type EntryKind =
  | 'parse'
  | 'bind'
  | 'describe'
  | 'execute'
  | 'close'
  | 'query'
  | 'sync'
  | 'functionCall'
  /** CopyDone or CopyFail sent before the server said that it takes COPY data: no reply of its own. */
  | 'copyEnd'
  /** Messages of our own that tell how far into the client's messages a failed COPY has read (`copy-probe.ts`). */
  | 'copyProbe';

export type LedgerEntry = {
  readonly kind: EntryKind;
  /** The Sync group; a Query is a group of its own. */
  readonly group: number;
  /** Sent in place of a refused message: only its marked error may come back. */
  readonly refusal: Refusal | null;
  /** Of the proxy's own: the answer stays here. */
  readonly own: boolean;
  /** Parse: the name, because a failed unnamed Parse destroys the old statement. */
  readonly name: string;
  /** Query: one a statement; Execute: the portal's; Bind: the portal's. */
  readonly runs: readonly Run[];
  /** Query: how many statements are complete. */
  completed: number;
  /** Query or Execute of COPY FROM STDIN. */
  readonly copyIn: boolean;
  /** A Sync sent before the end of COPY data: the server eats it, unless the COPY fails before it has read it. */
  readonly inCopy: boolean;
  /** The text was not understood, so the number of its results is not known. */
  readonly unparsed: boolean;
  /** Sent in the middle of a group of extended messages. */
  readonly midGroup: boolean;
  /** Parts of its text that are not the client's. */
  readonly moved: readonly Moved[];
  /** Something has been answered to it. */
  begun: boolean;
};

export class Ledger {
  #entries: LedgerEntry[] = [];
  #head = 0;

  get empty(): boolean {
    return this.#head === this.#entries.length;
  }

  get head(): LedgerEntry | undefined {
    return this.#entries[this.#head];
  }

  /** What was sent behind the head, in order. */
  behindHead(): readonly LedgerEntry[] {
    return this.#entries.slice(this.#head + 1);
  }

  push(entry: LedgerEntry): void {
    this.#entries.push(entry);
  }

  pop(): LedgerEntry | undefined {
    const entry = this.#entries[this.#head];
    if (entry === undefined) return undefined;
    this.#head += 1;
    if (this.#head === this.#entries.length) {
      this.#entries.length = 0;
      this.#head = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
    return entry;
  }

  /** After an error in a group: everything up to, not including, the next Sync (or probe) is skipped by the server. */
  skipToSync(skipped: (entry: LedgerEntry) => void): boolean {
    for (;;) {
      const entry = this.head;
      if (entry === undefined) return false;
      if (entry.kind === 'sync' || entry.kind === 'copyProbe') return true;
      this.pop();
      skipped(entry);
    }
  }

  /** Takes out entries behind the head for which `out` says so, up to the first for which `stop` does. */
  removeBehindHead(
    out: (entry: LedgerEntry) => boolean,
    stop: (entry: LedgerEntry) => boolean,
  ): LedgerEntry[] {
    const kept: LedgerEntry[] = [];
    const removed: LedgerEntry[] = [];
    let stopped = false;
    for (let i = this.#head; i < this.#entries.length; i++) {
      const entry = this.#entries[i];
      if (entry === undefined) continue;
      if (i > this.#head && !stopped && out(entry)) removed.push(entry);
      else kept.push(entry);
      if (i > this.#head && stop(entry)) stopped = true;
    }
    this.#entries = kept;
    this.#head = 0;
    return removed;
  }

  some(test: (entry: LedgerEntry) => boolean): boolean {
    for (let i = this.#head; i < this.#entries.length; i++) {
      const entry = this.#entries[i];
      if (entry !== undefined && test(entry)) return true;
    }
    return false;
  }
}
