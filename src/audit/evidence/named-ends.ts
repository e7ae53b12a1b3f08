import { type Gone, isDroppedEnd } from '../verify/gone.ts';
import type { NamedEnd, StoredStream } from '../verify/verify.ts';
import type { StreamFinding } from './stream.ts';

/** Ends that streams name for the streams before them, against batches and rows as they pass. Attacker-controlled. */
export class NamedEnds {
  readonly #named: readonly NamedEnd[];
  /** By stream and row. */
  readonly #wanted: ReadonlySet<string>;
  readonly #seen = new Map<string, Set<string>>();

  constructor(named: readonly NamedEnd[]) {
    this.#named = named;
    this.#wanted = new Set(named.map(({ stream, seq }) => `${stream} ${seq}`));
  }

  /** A row, or the last one of a batch. */
  passes(stream: string, seq: bigint, hash: Buffer): void {
    if (this.#wanted.size === 0) return;
    const key = `${stream} ${seq}`;
    if (!this.#wanted.has(key)) return;
    const hashes = this.#seen.get(key) ?? new Set();
    this.#seen.set(key, hashes.add(hash.toString('hex')));
  }

  findings(streams: readonly StoredStream[], gone: (stream: string) => Gone): readonly StreamFinding[] {
    const heads = new Map(streams.map(({ stream, headSeq }) => [stream, headSeq]));
    return this.#named.flatMap(({ by, stream, seq, hash }) => {
      const seen = this.#seen.get(`${stream} ${seq}`);
      if (seen?.has(hash)) return [];
      if (seen === undefined && isDroppedEnd(gone(stream), seq, hash)) return [];
      // Within a batch whose rows are not here: that it was there is all that can be seen.
      if (seen === undefined && seq < (heads.get(stream) ?? -1n)) return [];
      const detail =
        seen === undefined
          ? `the row is missing: stream ${by} names it as the end of the one before`
          : `not the row that stream ${by} names as the end of the one before`;
      return [{ stream, seq, check: 'head' as const, ok: false, detail }];
    });
  }
}
