import type { Row } from '../chain/canonical.ts';
import type { Finding } from '../verify/finding.ts';
import { areDropped, type Gone } from '../verify/gone.ts';
import {
  type Keys,
  type StoredBatch,
  type StoredRow,
  type StoredStream,
  StreamVerifier,
} from '../verify/verify.ts';
import type { Period } from './views.ts';

/** `range`: entries of the period may be left out. */
export type StreamFinding = Omit<Finding, 'check'> & { readonly check: Finding['check'] | 'range' };

/**
 * Checks a stream of which there are all batches, and the rows of some. Each batch is handed over before its rows. All
 * of it is attacker-controlled.
 */
export class EvidenceStream {
  readonly #stream: StoredStream;
  readonly #fromUs: bigint;
  readonly #toUs: bigint;
  readonly #gone: Gone;
  readonly #verifier: StreamVerifier;
  readonly #own: StreamFinding[] = [];
  /** The row before. */
  #before: Row | null = null;
  /** The first row of batches after it whose rows are not here; null: there is none. */
  #leftOut: bigint | null = null;

  /** `gone`: what entries account for; whether those are entries of the log is for the caller to see. */
  constructor(stream: StoredStream, keys: Keys, { from, to }: Period, gone: Gone) {
    this.#stream = stream;
    this.#gone = gone;
    this.#verifier = new StreamVerifier(stream, keys, gone);
    this.#fromUs = BigInt(from.getTime()) * 1000n;
    this.#toUs = BigInt(to.getTime()) * 1000n;
  }

  /** `hasRows`: some of them follow. */
  batch(batch: StoredBatch, hasRows: boolean): void {
    if (hasRows || areDropped(this.#gone, batch.fromSeq, batch.toSeq)) {
      this.#verifier.batch(batch);
      return;
    }
    this.#verifier.unseen(batch);
    this.#leftOut ??= batch.fromSeq;
  }

  row(stored: StoredRow): void {
    this.#verifier.row(stored);
    if (this.#leftOut !== null && stored.row.at >= this.#fromUs) this.#checkLeftOut(this.#leftOut);
    this.#leftOut = null;
    this.#before = stored.row;
  }

  end(): void {
    this.#verifier.end();
    if (this.#leftOut !== null) this.#checkLeftOut(this.#leftOut);
  }

  /** What was found since this was asked before. */
  taken(): readonly StreamFinding[] {
    return [...this.#own.splice(0), ...this.#verifier.findings.splice(0)];
  }

  get facts(): Pick<StreamVerifier, 'upkeep' | 'digests' | 'broughtKeys'> {
    return this.#verifier;
  }

  /** Rows before and after those of the period show that none of it is left out: a stream's times go forward. */
  #checkLeftOut(seq: bigint): void {
    const before = this.#before;
    if (before !== null && before.at >= this.#toUs) return;
    const detail =
      before === null
        ? 'no entry of the stream before or after these is here: whether any of them is of the period cannot be seen'
        : `entries after row ${before.seq} may be of the period, and are not here`;
    this.#own.push({ stream: this.#stream.stream, seq, check: 'range', ok: false, detail });
  }
}
