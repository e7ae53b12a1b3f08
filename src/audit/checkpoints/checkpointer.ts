import pg from 'pg';
import type { Logger } from 'pino';
import { type BatchFacts, batchBytes } from '../chain/chain.ts';
import { EMPTY_TREE, type Frontier, isFrontier, leafHash, rootOf, withLeaves } from '../chain/tree.ts';
import type { LogSigner } from '../port.ts';
import { quoteName } from '../quote-name.ts';
import type { Anchor } from './anchors.ts';
import {
  checkpointText,
  isSignedWith,
  parseCheckpoint,
  type SignedCheckpoint,
  signedNote,
} from './checkpoint.ts';
import { type KnownCheckpoint, KnownCheckpoints } from './known-checkpoints.ts';

/** The database's last checkpoint is not one that this installation made, or older than one that it did make. */
export class CheckpointRefused extends Error {
  override readonly name = 'CheckpointRefused';
}

export type Checkpointer = {
  /**
   * Signs and publishes a checkpoint now; null: there is nothing new, or another process is at it. Rejects with
   * `CheckpointRefused`, or when the database is away.
   */
  readonly take: () => Promise<SignedCheckpoint | null>;
  /** Why none can be made, in plain words; null: all is well. */
  readonly trouble: () => string | null;
  /** The signed note of the last one that is known here, at most some minutes old; null: there is none so far. */
  readonly newest: () => string | null;
  /** Takes a last one, if that can be done. */
  readonly close: () => Promise<void>;
};

export type CheckpointOptions = {
  /** As the writer's role. */
  readonly url: string;
  readonly schema: string;
  /** Names the log in its checkpoints; the same for all processes, for good. */
  readonly origin: string;
  /** The installation's key at present. */
  readonly signer: () => LogSigner;
  /** All its public keys, older ones too; revoked ones as well: the log grew out of what they signed before. */
  readonly publicKeys: () => readonly { readonly x: string }[];
  /** Milliseconds. */
  readonly everyMs: number;
  readonly anchors: readonly Anchor[];
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>;
};

/**
 * Makes a checkpoint every `everyMs` milliseconds, if there is anything new, and the first one now. What the database
 * has must have grown out of every checkpoint that the anchors know, or none is made: a log that was replaced by another
 * one, however long, is noticed at once.
 */
export async function startCheckpoints(options: CheckpointOptions): Promise<Checkpointer> {
  const { log } = options;
  const known = new KnownCheckpoints({ ...options, isOurs: (checkpoint) => isOurs(checkpoint, options) });
  await known.read();
  let refused: string | null = null;
  let unpublished: string | null = null;
  let running: Promise<SignedCheckpoint | null> | null = null;

  async function make(): Promise<SignedCheckpoint | null> {
    await known.read();
    const step = await takeOne(options, known);
    if (step === 'busy') return null;
    refused = null;
    if (step.last !== null) known.grewTo(step.last);
    if (!step.made || step.last === null) return null;
    log.info({ checkpoint: step.last.note }, 'checkpoint');
    unpublished = await publish(options, known.unread, step.last.note);
    return step.last.checkpoint;
  }
  const take = () => {
    running ??= make()
      .catch((error: unknown) => {
        refused = error instanceof Error ? error.message || error.name : String(error);
        throw error;
      })
      .finally(() => {
        running = null;
      });
    return running;
  };
  const tick = () =>
    take().catch((error: unknown) => {
      const wrong = error instanceof CheckpointRefused;
      log[wrong ? 'error' : 'warn']({ err: error }, 'no checkpoint of the audit log could be made');
    });
  void tick();
  const timer = setInterval(tick, options.everyMs);
  timer.unref();
  return {
    take,
    trouble: () => refused ?? unreadOf(known) ?? unpublished,
    newest: () => known.newest?.note ?? null,
    close: async () => {
      clearInterval(timer);
      // What was under way may have begun before the log's end.
      await running?.catch(() => null);
      await tick();
    },
  };
}

function unreadOf({ unread }: KnownCheckpoints): string | null {
  const names = unread.map(({ name }) => name).join(', ');
  return unread.length === 0 ? null : `not compared with ${names}, which cannot be read`;
}

type Last = {
  readonly size: string | null;
  readonly roots: readonly Buffer[] | null;
  readonly note: string | null;
};
type BatchRow = {
  readonly stream: string;
  readonly from_seq: string;
  readonly to_seq: string;
  readonly prev_hash: Buffer;
  readonly hash: Buffer;
};

/** Batches that are taken into one checkpoint; the rest waits for the next. */
const MOST_LEAVES = 10_000;

/** `last`: the newest now; `made`: it was made here. Busy: another process is at it. */
type Step = 'busy' | { readonly made: boolean; readonly last: KnownCheckpoint | null };

async function takeOne(options: CheckpointOptions, known: KnownCheckpoints): Promise<Step> {
  const schema = quoteName(options.schema);
  const client = new pg.Client({
    connectionString: options.url,
    application_name: 'countersign checkpoint',
    connectionTimeoutMillis: 10_000,
    query_timeout: 60_000,
  });
  // The query that is under way rejects; that is all anybody needs to know.
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query('BEGIN');
    const { rows: begun } = await client.query<Last>(
      `SELECT size, roots, note FROM ${schema}.begin_checkpoint()`,
    );
    const [last] = begun;
    if (last === undefined) return 'busy';
    const { tree, stored } = continued(last, known, options);
    for (const { checkpoint } of known.all) await grewOutOf(client, schema, checkpoint, tree);
    const { rows } = await client.query<BatchRow>(
      `SELECT stream, from_seq, to_seq, prev_hash, hash FROM ${schema}.batches_without_leaf($1)`,
      [MOST_LEAVES],
    );
    if (rows.length === 0) return { made: false, last: stored };
    const leaves = rows.map((row) => leafHash(batchBytes(factsOf(row))));
    const next = withLeaves(tree, leaves);
    const root = rootOf(next);
    const text = checkpointText({ origin: options.origin, size: next.size, root });
    const signer = options.signer();
    const note = signedNote(text, options.origin, rawKey(signer), signer.sign(Buffer.from(text)));
    await client.query(`SELECT ${schema}.add_checkpoint($1, $2, $3, $4, $5, $6, $7)`, [
      String(next.size),
      rows.map(({ stream }) => stream),
      rows.map(({ from_seq }) => from_seq),
      leaves,
      next.roots,
      root,
      note,
    ]);
    await client.query('COMMIT');
    const checkpoint = parseCheckpoint(note);
    if (checkpoint === null) throw new Error('the checkpoint that was just made cannot be read');
    return { made: true, last: { checkpoint, note } };
  } finally {
    // Ends the transaction, too, if it is still open.
    await client.end();
  }
}

/** The tree that the last checkpoint signed, if it is one of ours. Attacker-controlled: the database has it. */
function continued(
  last: Last,
  { newest }: KnownCheckpoints,
  options: CheckpointOptions,
): { readonly tree: Frontier; readonly stored: KnownCheckpoint | null } {
  const size = last.size === null ? 0n : BigInt(last.size);
  if (newest !== null && newest.checkpoint.size > size)
    throw new CheckpointRefused(
      `the audit database knows a checkpoint of ${size} batches, but one of ${newest.checkpoint.size} was made before: it was rolled back or cut off; verify it with the checkpoint that was kept (--checkpoint)`,
    );
  if (last.size === null) return { tree: EMPTY_TREE, stored: null };
  const tree = { size, roots: last.roots ?? [] };
  const checkpoint = last.note === null ? null : parseCheckpoint(last.note);
  const same =
    checkpoint !== null &&
    isFrontier(tree) &&
    checkpoint.size === size &&
    checkpoint.root.equals(rootOf(tree)) &&
    isOurs(checkpoint, options);
  if (!same)
    throw new CheckpointRefused(
      `the last checkpoint in the audit database, of ${size} batches, is not signed with a key of this installation, or not over that tree`,
    );
  return { tree, stored: { checkpoint, note: last.note ?? '' } };
}

/**
 * Throws `CheckpointRefused` unless the database's tree is the known one with leaves after it: from the roots of the
 * known one, which its own root vouches for, and the leaves since then, the tree's root must come out.
 */
async function grewOutOf(
  client: pg.Client,
  schema: string,
  known: SignedCheckpoint,
  tree: Frontier,
): Promise<void> {
  const another = () =>
    new CheckpointRefused(
      `the audit database has another history: its first ${known.size} batches are not those of a checkpoint that was made before; verify it with the checkpoint that was kept (--checkpoint)`,
    );
  let grown: Frontier = tree;
  if (known.size < tree.size) {
    const { rows } = await client.query<{ roots: Buffer[] }>(
      `SELECT roots FROM ${schema}.checkpoint_roots($1)`,
      [String(known.size)],
    );
    grown = { size: known.size, roots: rows[0]?.roots ?? [] };
    if (!isFrontier(grown)) throw another();
  }
  if (!rootOf(grown).equals(known.root)) throw another();
  while (grown.size < tree.size) {
    const { rows } = await client.query<{ hash: Buffer }>(`SELECT hash FROM ${schema}.leaf_hashes($1, $2)`, [
      String(grown.size),
      String(grown.size + BigInt(MOST_LEAVES)),
    ]);
    if (rows.length === 0) throw another();
    grown = withLeaves(
      grown,
      rows.slice(0, Number(tree.size - grown.size)).map(({ hash }) => hash),
    );
  }
  if (!rootOf(grown).equals(rootOf(tree))) throw another();
}

/** Whether a key of ours signed it, under our origin. */
export function isOurs(
  checkpoint: SignedCheckpoint,
  { origin, publicKeys }: Pick<CheckpointOptions, 'origin' | 'publicKeys'>,
): boolean {
  return checkpoint.origin === origin && publicKeys().some(({ x }) => isSignedWith(checkpoint, x));
}

/** To every anchor that was compared; what one missed, the next checkpoint covers. Gives what went wrong. */
async function publish(
  { anchors, log }: CheckpointOptions,
  unread: readonly Anchor[],
  note: string,
): Promise<string | null> {
  const failed: string[] = [];
  for (const anchor of anchors) {
    // Its own newest one would no more be the newest.
    if (unread.includes(anchor)) continue;
    try {
      await anchor.publish(note);
    } catch (error) {
      failed.push(anchor.name);
      log.warn({ err: error, anchor: anchor.name }, 'a checkpoint could not be put at an anchor');
    }
  }
  return failed.length === 0 ? null : `checkpoints do not reach ${failed.join(', ')}`;
}

function rawKey({ publicJwk }: LogSigner): Buffer {
  return Buffer.from(String(publicJwk['x']), 'base64url');
}

function factsOf(row: BatchRow): BatchFacts {
  return {
    stream: row.stream,
    fromSeq: BigInt(row.from_seq),
    toSeq: BigInt(row.to_seq),
    prevHash: row.prev_hash,
    hash: row.hash,
  };
}
