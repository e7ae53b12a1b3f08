import { batchBytes } from '../chain/chain.ts';
import { leafHash } from '../chain/tree.ts';
import type { BatchLine, LeafLine } from './lines.ts';

/** The leaves of the tree that checkpoints sign, and which of them batches have claimed. 33 bytes for each. */
export class EvidenceLeaves {
  #hashes = Buffer.alloc(0);
  #claimed = Buffer.alloc(0);
  #count = 0;
  /** Streams whose batches were handed over up to one that is in no leaf. */
  #open: string | null = null;

  get count(): number {
    return this.#count;
  }

  /** In order. What is wrong with it; null: nothing. */
  add({ index, hash }: LeafLine): string | null {
    if (index !== BigInt(this.#count)) return `leaf ${this.#count} is missing`;
    if (hash.length !== 32) return `leaf ${index} is no hash`;
    if (this.#count === this.#claimed.length) this.#grow();
    hash.copy(this.#hashes, this.#count * 32);
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
    if (leafHash(batchBytes(batch)).equals(this.hash(index))) return null;
    return `the batch of leaf ${index} was changed after it was taken into the tree`;
  }

  hash(index: number): Buffer {
    return this.#hashes.subarray(index * 32, index * 32 + 32);
  }

  /** Leaves whose batch is not there. */
  *unclaimed(): Generator<number> {
    for (let i = 0; i < this.#count; i += 1) if (this.#claimed[i] !== 1) yield i;
  }

  #grow(): void {
    const room = Math.max(1024, this.#claimed.length * 2);
    this.#hashes = Buffer.concat([this.#hashes, Buffer.alloc((room - this.#claimed.length) * 32)]);
    this.#claimed = Buffer.concat([this.#claimed, Buffer.alloc(room - this.#claimed.length)]);
  }
}
