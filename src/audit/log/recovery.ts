import { join } from 'node:path';
import type { EventEntry } from '../entry.ts';
import { Journal } from '../journal/journal.ts';
import { firstEntry } from '../journal/journal-reader.ts';
import { openToJson, unknownOutcome } from '../journal/open-statements.ts';
import { scanJournal } from '../journal/scan.ts';
import { segmentPath } from '../journal/segment-files.ts';
import {
  claim,
  type DeadStream,
  deadStreams,
  giveBack,
  readJson,
  removeStreamDirectory,
  writeJson,
} from '../journal/stream-directory.ts';
import type { AuditLogger } from '../logger.ts';
import type { Head } from '../shipping/batch.ts';
import { Shipping } from '../shipping/shipping.ts';
import type { StreamKey } from '../shipping/stream-key.ts';

export const OPEN_FILE = 'open.json';

export type RecoveryOptions = {
  /** The journal directory. */
  readonly root: string;
  /** The recovering process' stream, and the key that signs what the dead one could not. */
  readonly stream: string;
  readonly key: StreamKey;
  readonly url: string;
  readonly schema: string;
  readonly log: AuditLogger;
  /** Whether a key (its thumbprint) is or was the installation's. Left out: every journal here is its own. */
  readonly isOurs?: ((kid: string) => boolean) | undefined;
  readonly now: () => bigint;
  /** Called for each stream that is whole in the database again. */
  readonly recovered: (facts: RecoveredStream) => Promise<void>;
};

export type RecoveredStream = {
  readonly stream: string;
  readonly head: Head;
  readonly unknownOutcomes: number;
};

/**
 * Ships what processes that died left behind, each under its own stream: its entries as they are, an `unknown` outcome
 * for every statement that has none, and an entry that says who did this and with which key the rest is signed.
 */
export class Recovery {
  readonly #options: RecoveryOptions;
  /** How often streams could not be recovered. One that never can must not stand in the way of those behind it. */
  readonly #failures = new Map<string, number>();
  /** Streams of other installations. */
  readonly #foreign = new Set<string>();
  #shipping: Shipping | null = null;
  #running: Promise<void> | null = null;
  #stopped = false;

  constructor(options: RecoveryOptions) {
    this.#options = options;
  }

  /** Looks for dead streams and recovers them, one after the other. Resolves when there are none left. */
  run(): Promise<void> {
    this.#running ??= this.#all().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  /** What is not finished stays on disk, for the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#shipping?.stop();
    await this.#running;
  }

  async #all(): Promise<void> {
    for (const dead of await deadStreams(this.#options.root)) {
      if (this.#stopped) return;
      try {
        if (await this.#isForeign(dead)) continue;
        await this.#one(dead);
      } catch (error) {
        if (this.#stopped) return;
        await this.#failed(dead.stream, error);
      }
    }
  }

  /** Left alone, for whose it is: here its entries would be somebody else's, and there they would be missing. */
  async #isForeign({ stream, directory }: DeadStream): Promise<boolean> {
    if (this.#foreign.has(stream)) return true;
    const { isOurs, log } = this.#options;
    if (isOurs === undefined) return false;
    const first = await firstEntry(segmentPath(directory, 1));
    const endorser = first?.kind === 'log_start' ? first.detail['endorsed_by'] : undefined;
    // Whatever else is wrong with it shows in its recovery.
    if (endorser === undefined || isOurs(endorser)) return false;
    this.#foreign.add(stream);
    const facts = { stream, kid: endorser };
    log.error(facts, FOREIGN);
    return true;
  }

  /** What a dead process sent last may still arrive after it was asked for: the second look finds it. */
  async #failed(stream: string, error: unknown): Promise<void> {
    const { root, stream: claimer, log } = this.#options;
    const failures = (this.#failures.get(stream) ?? 0) + 1;
    this.#failures.set(stream, failures);
    const again = failures < TRIES;
    const facts = { err: error, stream, again };
    log.error(facts, 'a journal could not be recovered; it is kept, and the next start tries again');
    if (again) await giveBack(root, stream, claimer);
  }

  async #one(dead: DeadStream): Promise<void> {
    const { root, stream: claimer, log } = this.#options;
    const directory = await claim(root, dead, claimer);
    if (directory === null) return;
    const kept = join(directory, OPEN_FILE);
    const scanned = await scanJournal(directory, dead.stream, await readJson(kept));
    if (scanned === null) {
      await removeStreamDirectory(directory);
      return;
    }
    const { end, open } = scanned;
    const journal = new Journal({ directory, stream: dead.stream, limitBytes: NO_LIMIT, resume: end });
    try {
      for (const statement of open.list()) journal.append(unknownOutcome(statement, this.#options.now()));
      journal.append(this.#recoveredEntry(open.size));
      await journal.sync();
      // From here on the journal itself says that nothing is open.
      await writeJson(kept, openToJson(journal.seq, []));
      const head = await this.#ship(journal);
      await this.#options.recovered({ stream: dead.stream, head, unknownOutcomes: open.size });
    } finally {
      await journal.close();
    }
    await removeStreamDirectory(directory);
    log.info({ stream: dead.stream, entries: String(end.seq), unknown: open.size }, 'journal recovered');
  }

  async #ship(journal: Journal): Promise<Head> {
    const { key, url, schema, log } = this.#options;
    const shipping = new Shipping({ journal, key, url, schema, log, keepOpen: async () => {} });
    this.#shipping = shipping;
    try {
      await shipping.committed(journal.seq, 0);
      return shipping.shipped;
    } finally {
      this.#shipping = null;
      await shipping.stop();
    }
  }

  #recoveredEntry(unknown: number): EventEntry {
    return {
      kind: 'log_recovered',
      at: this.#options.now(),
      session: null,
      requestId: null,
      people: [],
      receipt: null,
      detail: {
        by_stream: this.#options.stream,
        by_kid: this.#options.key.kid,
        unknown_outcomes: String(unknown),
      },
    };
  }
}

const NO_LIMIT = Number.MAX_SAFE_INTEGER;
const FOREIGN =
  'a journal of another installation is in the journal directory, and left alone: move it to where it belongs, or, if this key was this installation’s, put it into keys.verifying';
/** In one process; each try is an entry in the journal. */
const TRIES = 3;
