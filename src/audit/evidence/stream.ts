import { batchBytes, GENESIS_HASH } from '../chain/chain.ts';
import type { Finding } from '../verify/finding.ts';
import { type Gone, NOTHING_GONE } from '../verify/gone.ts';
import {
  type Keys,
  type NamedEnd,
  type StoredBatch,
  type StoredRow,
  type StoredStream,
  StreamVerifier,
} from '../verify/verify.ts';
import type { LeansOn } from './gone.ts';
import type { Period } from './views.ts';

/** `range`: entries of the period may be left out. */
export type StreamFinding = Omit<Finding, 'check'> & { readonly check: Finding['check'] | 'range' };

/**
 * Checks a stream of which there are all batches, and the rows of some that follow each other. Each batch is handed over
 * before its rows. All of it is attacker-controlled.
 */
export class EvidenceStream {
  readonly #stream: StoredStream;
  readonly #keys: Keys;
  readonly #fromUs: bigint;
  readonly #toUs: bigint;
  readonly #gone: Gone;
  readonly #leansOn = new Set<'retention' | 'redaction'>();
  readonly #own: StreamFinding[] = [];
  #rows: StreamVerifier | null = null;
  #first: StoredRow['row'] | null = null;
  #last: StoredRow['row'] | null = null;
  /** Where the batches, and those with rows, end. */
  #signed: { readonly seq: bigint; readonly hash: Buffer } = { seq: 0n, hash: GENESIS_HASH };
  #covered: { readonly seq: bigint; readonly hash: Buffer } | null = null;

  /** `gone`: what entries account for that may be forged: see `leansOn`. */
  constructor(stream: StoredStream, keys: Keys, { from, to }: Period, gone: Gone = NOTHING_GONE) {
    this.#stream = stream;
    this.#gone = gone;
    this.#keys = keys;
    this.#fromUs = BigInt(from.getTime()) * 1000n;
    this.#toUs = BigInt(to.getTime()) * 1000n;
  }

  /** `hasRows`: they follow. */
  batch(batch: StoredBatch, hasRows: boolean): void {
    const before = this.#signed;
    if (batch.fromSeq !== before.seq + 1n || batch.toSeq < batch.fromSeq)
      this.#found(batch.fromSeq, 'batch', 'a batch before this one is missing');
    else if (!batch.prevHash.equals(before.hash))
      this.#found(batch.fromSeq, 'batch', 'the batch does not continue the one before it');
    this.#signed = { seq: batch.toSeq, hash: batch.hash };
    if (!hasRows) {
      this.#checkSignature(batch);
      return;
    }
    this.#rows ??= new StreamVerifier(this.#stream, this.#keys, this.#goneFrom(batch), {
      seq: batch.fromSeq - 1n,
      hash: batch.prevHash,
    });
    this.#rows.batch(batch);
    this.#covered = this.#signed;
  }

  row(stored: StoredRow): void {
    const { row, prevHash } = stored;
    // Without a batch: that nothing signed it is found at the end.
    this.#rows ??= new StreamVerifier(this.#stream, this.#keys, NOTHING_GONE, {
      seq: row.seq - 1n,
      hash: prevHash,
    });
    this.#rows.row(stored);
    if (stored.content === null && row.content !== null) this.#leansOn.add('redaction');
    this.#first ??= row;
    this.#last = row;
  }

  end(): void {
    const { headSeq, headHash } = this.#stream;
    if (this.#signed.seq !== headSeq || !this.#signed.hash.equals(headHash))
      this.#found(
        headSeq,
        'head',
        `the batches end at row ${this.#signed.seq}, and not with the stream's head`,
      );
    this.#rows?.end(this.#covered ?? { seq: this.#last?.seq ?? 0n, hash: GENESIS_HASH });
    this.#checkRange();
  }

  /** What was found since this was asked before. */
  taken(): readonly StreamFinding[] {
    return [...this.#own.splice(0), ...(this.#rows?.findings.splice(0) ?? [])];
  }

  /** What was found to be in order only because entries account for it. */
  get leansOn(): LeansOn {
    return this.#leansOn;
  }

  get namedEnds(): readonly NamedEnd[] {
    return this.#rows?.namedEnds ?? [];
  }

  /** Of a batch whose first rows were dropped, those; what else was dropped has no rows here before it. */
  #goneFrom({ fromSeq, toSeq, prevHash }: StoredBatch): Gone {
    const { dropped, redacted } = this.#gone;
    const clipped = dropped
      .filter((range) => range.fromSeq <= fromSeq && range.toSeq >= fromSeq && range.toSeq < toSeq)
      .map((range) => ({ fromSeq, toSeq: range.toSeq, prevHash, hash: range.hash }));
    if (clipped.length > 0) this.#leansOn.add('retention');
    return { dropped: clipped, redacted };
  }

  /** Whether an entry says that this row was dropped. */
  #isDropped(seq: bigint): boolean {
    const dropped = this.#gone.dropped.some((range) => range.fromSeq <= seq && seq <= range.toSeq);
    if (dropped) this.#leansOn.add('retention');
    return dropped;
  }

  /** Rows before and after those of the period show that none of it is left out: a stream's times go forward. */
  #checkRange(): void {
    const [first, last] = [this.#first, this.#last];
    if (first === null || last === null) {
      if (this.#isDropped(this.#stream.headSeq)) return;
      this.#found(1n, 'range', 'no entry of the stream is here: whether any is of the period cannot be seen');
      return;
    }
    if (first.seq !== 1n && first.at >= this.#fromUs && !this.#isDropped(first.seq - 1n))
      this.#found(first.seq, 'range', 'entries before this one may be of the period, and are not here');
    if (last.seq < this.#stream.headSeq && last.at < this.#toUs)
      this.#found(last.seq, 'range', 'entries after this one may be of the period, and are not here');
  }

  /** Of a batch without rows here: whether it is of a process of this installation. */
  #checkSignature(batch: StoredBatch): void {
    const ok = this.#keys.ofStreams(batch.kid, batchBytes(batch), batch.signature);
    const isKnown = batch.kid === this.#stream.kid || this.#keys.endorsed(batch.kid);
    if (ok === true && isKnown) return;
    const why =
      ok === false
        ? 'the signature is not over these rows'
        : `signed with a key that nothing here names: ${batch.kid}`;
    this.#found(batch.fromSeq, 'batch_signature', `rows ${batch.fromSeq} to ${batch.toSeq}: ${why}`);
  }

  #found(seq: bigint, check: StreamFinding['check'], detail: string): void {
    this.#own.push({ stream: this.#stream.stream, seq, check, ok: false, detail });
  }
}
