import pg from 'pg';
import type { Logger } from 'pino';
import type { Anchor } from './anchors.ts';
import { type BatchFacts, batchBytes } from './chain.ts';
import {
  checkpointText,
  isSignedWith,
  parseCheckpoint,
  type SignedCheckpoint,
  signedNote,
} from './checkpoint.ts';
import type { LogSigner } from './port.ts';
import { quoteName } from './store.ts';
import { EMPTY_TREE, type Frontier, isFrontier, leafHash, rootOf, withLeaves } from './tree.ts';

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
  /** All its public keys, older ones too. */
  readonly publicKeys: () => readonly { readonly x: string }[];
  /** Milliseconds. */
  readonly everyMs: number;
  readonly anchors: readonly Anchor[];
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>;
};

/** Makes a checkpoint every `everyMs` milliseconds, if there is anything new. */
export async function startCheckpoints(options: CheckpointOptions): Promise<Checkpointer> {
  const { log } = options;
  /** The largest that this installation is known to have made. */
  let known = await newestOf(options);
  let trouble: string | null = null;
  let running: Promise<SignedCheckpoint | null> | null = null;

  async function make(): Promise<SignedCheckpoint | null> {
    const made = await takeOne(options, known);
    if (made === null) return null;
    known = made.checkpoint;
    log.info({ checkpoint: made.note }, 'checkpoint');
    trouble = await publish(options, made.note);
    return made.checkpoint;
  }
  const take = () => {
    running ??= make().finally(() => {
      running = null;
    });
    return running;
  };
  const tick = () =>
    take().catch((error: unknown) => {
      trouble = error instanceof Error ? error.message : String(error);
      const refused = error instanceof CheckpointRefused;
      log[refused ? 'error' : 'warn']({ err: error }, 'no checkpoint of the audit log could be made');
    });
  const timer = setInterval(tick, options.everyMs);
  timer.unref();
  return {
    take,
    trouble: () => trouble,
    close: async () => {
      clearInterval(timer);
      await tick();
    },
  };
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

async function takeOne(
  options: CheckpointOptions,
  known: SignedCheckpoint | null,
): Promise<{ checkpoint: SignedCheckpoint; note: string } | null> {
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
    if (last === undefined) return null;
    const tree = continued(last, known, options);
    const { rows } = await client.query<BatchRow>(
      `SELECT stream, from_seq, to_seq, prev_hash, hash FROM ${schema}.batches_without_leaf($1)`,
      [MOST_LEAVES],
    );
    if (rows.length === 0) return null;
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
    return { checkpoint, note };
  } finally {
    // Ends the transaction, too, if it is still open.
    await client.end();
  }
}

/** The tree that the last checkpoint signed, if it is one of ours. Attacker-controlled: the database has it. */
function continued(last: Last, known: SignedCheckpoint | null, options: CheckpointOptions): Frontier {
  const size = last.size === null ? 0n : BigInt(last.size);
  if (known !== null && known.size > size)
    throw new CheckpointRefused(
      `the audit database knows a checkpoint of ${size} batches, but one of ${known.size} was made before: it was rolled back or cut off; verify it with the checkpoint that was kept (--checkpoint)`,
    );
  if (last.size === null) return EMPTY_TREE;
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
  if (known?.size === size && !known.root.equals(checkpoint.root))
    throw new CheckpointRefused(
      `the audit database has another history: its checkpoint of ${size} batches is another one`,
    );
  return tree;
}

/** Whether a key of ours signed it, under our origin. */
export function isOurs(
  checkpoint: SignedCheckpoint,
  { origin, publicKeys }: Pick<CheckpointOptions, 'origin' | 'publicKeys'>,
): boolean {
  return checkpoint.origin === origin && publicKeys().some(({ x }) => isSignedWith(checkpoint, x));
}

/** What anchors outside still know, from before this process. */
async function newestOf(options: CheckpointOptions): Promise<SignedCheckpoint | null> {
  let newest: SignedCheckpoint | null = null;
  for (const anchor of options.anchors) {
    try {
      const note = await anchor.newest();
      const checkpoint = note === null ? null : parseCheckpoint(note);
      if (checkpoint === null || !isOurs(checkpoint, options)) continue;
      if (newest === null || checkpoint.size > newest.size) newest = checkpoint;
    } catch (error) {
      options.log.warn({ err: error, anchor: anchor.name }, 'an anchor of the audit log cannot be read');
    }
  }
  return newest;
}

/** To every anchor; what one missed, the next checkpoint covers. Gives what went wrong. */
async function publish({ anchors, log }: CheckpointOptions, note: string): Promise<string | null> {
  const failed: string[] = [];
  for (const anchor of anchors) {
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
