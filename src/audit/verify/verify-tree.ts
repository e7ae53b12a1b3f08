import type { CheckSignature } from '../chain/chain.ts';
import { EMPTY_TREE, type Frontier, rootOf, withLeaves } from '../chain/tree.ts';
import { keyIdOf, parseCheckpoint, type SignedCheckpoint } from '../checkpoints/checkpoint.ts';
import type { Finding } from './finding.ts';

export type StoredLeaf = {
  readonly index: bigint;
  readonly stream: string;
  readonly fromSeq: bigint;
  readonly hash: Buffer;
  /** The hash that the batch gives now; null: there is no such batch. */
  readonly computed: Buffer | null;
};
export type StoredCheckpoint = { readonly size: bigint; readonly root: Buffer; readonly note: string };

/** A key of the installation, which the verifier trusts. */
export type TrustedKey = { readonly kid: string; readonly raw: Buffer };

/**
 * Checks leaves against batches, and checkpoints against leaves and keys: those that are stored, and `kept`, one that
 * was kept elsewhere. Leaves are handed over in order, then `end`. SQL's `verify_checkpoints` finds the same.
 */
export class TreeVerifier {
  readonly findings: Finding[] = [];
  readonly #stored: ReadonlyMap<bigint, StoredCheckpoint>;
  readonly #kept: SignedCheckpoint | null;
  readonly #keys: readonly TrustedKey[];
  readonly #verify: CheckSignature;
  #tree: Frontier = EMPTY_TREE;
  #next = 0n;
  #keptRoot: Buffer | null = null;

  constructor(
    stored: readonly StoredCheckpoint[],
    kept: SignedCheckpoint | null,
    keys: readonly TrustedKey[],
    verify: CheckSignature,
  ) {
    this.#stored = new Map(stored.map((one) => [one.size, one]));
    this.#kept = kept;
    this.#keys = keys;
    this.#verify = verify;
  }

  leaf({ index, stream, fromSeq, hash, computed }: StoredLeaf): void {
    const found = (detail: string) =>
      this.findings.push({ stream, seq: fromSeq, check: 'tree', ok: false, detail });
    if (index !== this.#next) found(`leaves ${this.#next} to ${index - 1n} are missing`);
    else if (computed === null) found(`the batch of leaf ${index} is missing`);
    else if (!computed.equals(hash))
      found(`the batch of leaf ${index} was changed after it was taken into the tree`);
    this.#next = index + 1n;
    this.#tree = withLeaves(this.#tree, [hash]);
    const size = index + 1n;
    if (this.#kept?.size === size) this.#keptRoot = rootOf(this.#tree);
    const stored = this.#stored.get(size);
    if (stored !== undefined) this.#checkpoint(stored, rootOf(this.#tree));
  }

  end(): void {
    const leaves = this.#next;
    for (const { size } of this.#stored.values())
      if (size > leaves)
        this.#found(size, `cut off: a checkpoint covers ${size} batches, here are ${leaves}`);
    const kept = this.#kept;
    if (kept === null) return;
    if (!this.#isSigned(kept))
      this.#found(kept.size, 'the given checkpoint is not signed with a trusted key');
    else if (kept.size > leaves)
      this.#found(kept.size, `cut off: the given checkpoint covers ${kept.size} batches, here are ${leaves}`);
    else if (!(kept.size === 0n ? rootOf(EMPTY_TREE) : this.#keptRoot)?.equals(kept.root))
      this.#found(
        kept.size,
        `another history: the first ${kept.size} batches are not those of the given checkpoint`,
      );
  }

  #checkpoint({ size, root, note }: StoredCheckpoint, computed: Buffer): void {
    const read = parseCheckpoint(note);
    if (read === null || read.size !== size || !computed.equals(root) || !computed.equals(read.root))
      this.#found(size, `the checkpoint of ${size} batches has another root than their tree`);
    else if (!this.#isSigned(read))
      this.#found(size, `the checkpoint of ${size} batches is not signed with a trusted key`);
  }

  #isSigned({ origin, text, signatures }: SignedCheckpoint): boolean {
    return signatures.some(({ name, keyId, signature }) =>
      this.#keys.some(
        ({ kid, raw }) =>
          name === origin &&
          keyId === keyIdOf(origin, raw) &&
          this.#verify(kid, Buffer.from(text), signature) === true,
      ),
    );
  }

  #found(size: bigint, detail: string): void {
    this.findings.push({ stream: null, seq: size, check: 'checkpoint', ok: false, detail });
  }
}
