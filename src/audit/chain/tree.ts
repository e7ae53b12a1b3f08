import { sha256 } from './sha256.ts';

/**
 * The Merkle tree of RFC 6962, section 2.1, over the log's batches in the order in which they were taken up: what a
 * checkpoint signs. Only the roots of its whole subtrees are kept (largest first; one for each 1 in the size's binary
 * form), so that adding a leaf costs a few hashes however large the tree is.
 */
export type Frontier = { readonly size: bigint; readonly roots: readonly Buffer[] };

export const EMPTY_TREE: Frontier = { size: 0n, roots: [] };

/** `bytes`: what the leaf stands for (`batchBytes`). */
export function leafHash(bytes: Uint8Array): Buffer {
  return sha256(Buffer.concat([LEAF, bytes]));
}

export function nodeHash(left: Buffer, right: Buffer): Buffer {
  return sha256(Buffer.concat([NODE, left, right]));
}

/** Of no leaves: the hash of the empty string. */
export function rootOf({ roots }: Frontier): Buffer {
  return roots.length === 0
    ? sha256(Buffer.alloc(0))
    : roots.reduceRight((right, left) => nodeHash(left, right));
}

/** The tree with these leaves after those that it has. */
export function withLeaves({ size, roots }: Frontier, leaves: readonly Buffer[]): Frontier {
  const after = [...roots];
  let count = size;
  for (const leaf of leaves) {
    let root = leaf;
    // Each 1 at the end of the size is a whole subtree as large as the one that has just become whole.
    for (let ones = count; ones % 2n === 1n; ones /= 2n) root = nodeHash(after.pop() ?? root, root);
    after.push(root);
    count += 1n;
  }
  return { size: count, roots: after };
}

/** Whether there is a root for each whole subtree of a tree of that size. */
export function isFrontier({ size, roots }: Frontier): boolean {
  let ones = 0;
  for (let rest = size; rest > 0n; rest /= 2n) ones += Number(rest % 2n);
  return roots.length === ones && roots.every((root) => root.length === 32);
}

const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);
