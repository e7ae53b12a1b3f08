import type { Logger } from 'pino';
import type { Anchor } from './anchors.ts';
import { parseCheckpoint, type SignedCheckpoint } from './checkpoint.ts';

export type KnownCheckpoint = { readonly checkpoint: SignedCheckpoint; readonly note: string };

export type KnownOptions = {
  readonly anchors: readonly Anchor[];
  /** Whether a checkpoint is one that this installation signed. */
  readonly isOurs: (checkpoint: SignedCheckpoint) => boolean;
  readonly log: Pick<Logger, 'warn'>;
};

/**
 * The checkpoints that this process knows of, from anchors outside the audit database and from what it saw itself: what
 * the database has must have grown out of each of them.
 */
export class KnownCheckpoints {
  readonly #options: KnownOptions;
  /** Those that were not read yet; an anchor that was away is asked again. */
  #unread: readonly Anchor[];
  #known: readonly KnownCheckpoint[] = [];

  constructor(options: KnownOptions) {
    this.#options = options;
    this.#unread = options.anchors;
  }

  get all(): readonly KnownCheckpoint[] {
    return this.#known;
  }

  /** The largest. */
  get newest(): KnownCheckpoint | null {
    return this.#known.reduce<KnownCheckpoint | null>(
      (newest, one) => (newest === null || one.checkpoint.size > newest.checkpoint.size ? one : newest),
      null,
    );
  }

  /** Anchors that could not be read so far: what they know was not compared, and must not be written over. */
  get unread(): readonly Anchor[] {
    return this.#unread;
  }

  /** Asks the anchors that did not answer yet. */
  async read(): Promise<void> {
    const unread: Anchor[] = [];
    for (const anchor of this.#unread) {
      try {
        const note = await anchor.newest();
        const checkpoint = note === null ? null : parseCheckpoint(note);
        // What is not signed by us proves nothing: whoever may write there could stop this log with it.
        if (note === null || checkpoint === null || !this.#options.isOurs(checkpoint)) continue;
        this.#known = [...this.#known, { checkpoint, note }];
      } catch (error) {
        unread.push(anchor);
        const facts = { err: error, anchor: anchor.name };
        this.#options.log.warn(facts, 'an anchor of the audit log cannot be read');
      }
    }
    this.#unread = unread;
  }

  /** This one grew out of all that were known. */
  grewTo(one: KnownCheckpoint): void {
    this.#known = [one];
  }
}
