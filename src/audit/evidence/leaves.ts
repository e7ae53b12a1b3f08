import { batchBytes } from '../chain/chain.ts';
import { leafHash } from '../chain/tree.ts';
import type { BatchLine, LeafLine } from './lines.ts';

/** The leaves of the tree that checkpoints sign, and which of them batches have claimed. 45 bytes for each. */
export class EvidenceLeaves {
  #hashes = Buffer.alloc(0);
  #claimed = Buffer.alloc(0);
  #streams = new Uint32Array();
  #fromSeqs = new BigInt64Array();
  readonly #names: string[] = [];
  readonly #numbers = new Map<string, number>();
  #count = 0;
  /** Streams whose batches were handed over up to one that is in no leaf. */
  #open: string | null = null;

  get count(): number {
    return this.#count;
  }

  /** In order. What is wrong with it; null: nothing. */
  add({ index, stream, fromSeq, hash }: LeafLine): string | null {
    if (index !== BigInt(this.#count)) return `leaf ${this.#count} is missing`;
    if (hash.length !== HASH_BYTES) return `leaf ${index} is no hash`;
    if (this.#count === this.#claimed.length) this.#grow();
    hash.copy(this.#hashes, this.#count * HASH_BYTES);
    this.#streams[this.#count] = this.#numberOf(stream);
    this.#fromSeqs[this.#count] = fromSeq;
    this.#count += 1;
    return null;
  }

  /** A batch, in the order of streams and rows. What is wrong with its place in the tree; null: nothing. */
  claim(batch: BatchLine): string | null {
    if (batch.leaf === null) {
      this.#open = batch.stream;
      return null;
    }
    if (this.#open === batch.stream) return 'a batch before it is in no leaf of the tree';
    if (batch.leaf < 0n || batch.leaf >= BigInt(this.#count)) return `leaf ${batch.leaf} is missing`;
    const index = Number(batch.leaf);
    if (this.#claimed[index] === 1) return `leaf ${index} is another batch's`;
    this.#claimed[index] = 1;
    const { stream, fromSeq, hash } = this.at(index);
    if (stream !== batch.stream || fromSeq !== batch.fromSeq) return `leaf ${index} is another batch's`;
    if (leafHash(batchBytes(batch)).equals(hash)) return null;
    return `the batch of leaf ${index} was changed after it was taken into the tree`;
  }

  /** Below `count`. */
  at(index: number): LeafLine {
    return {
      index: BigInt(index),
      stream: this.#names[this.#streams[index] ?? 0] ?? '',
      fromSeq: this.#fromSeqs[index] ?? 0n,
      hash: this.#hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES),
    };
  }

  /** Leaves whose batch is not there. */
  *unclaimed(): Generator<LeafLine> {
    for (let i = 0; i < this.#count; i += 1) if (this.#claimed[i] !== 1) yield this.at(i);
  }

  #numberOf(stream: string): number {
    const known = this.#numbers.get(stream);
    if (known !== undefined) return known;
    this.#numbers.set(stream, this.#names.length);
    return this.#names.push(stream) - 1;
  }

  #grow(): void {
    const room = Math.max(1024, this.#claimed.length * 2);
    const more = room - this.#claimed.length;
    this.#hashes = Buffer.concat([this.#hashes, Buffer.alloc(more * HASH_BYTES)]);
    this.#claimed = Buffer.concat([this.#claimed, Buffer.alloc(more)]);
    const [streams, fromSeqs] = [new Uint32Array(room), new BigInt64Array(room)];
    streams.set(this.#streams);
    fromSeqs.set(this.#fromSeqs);
    this.#streams = streams;
    this.#fromSeqs = fromSeqs;
  }
}

const HASH_BYTES = 32;
