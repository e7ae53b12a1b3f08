import { join } from 'node:path';
import { AuditUnavailable, type EventEntry } from '../entry.ts';
import { Journal } from '../journal/journal.ts';
import { openToJson, unknownOutcome } from '../journal/open-statements.ts';
import { scanJournal } from '../journal/scan.ts';
import {
  claim,
  type DeadStream,
  deadStreams,
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
  /** Streams that could not be recovered; the next start tries again. */
  readonly #left = new Set<string>();
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
      if (this.#left.has(dead.stream)) continue;
      try {
        await this.#one(dead);
      } catch (error) {
        if (this.#stopped) return;
        this.#left.add(dead.stream);
        this.#options.log.error(
          { err: error, stream: dead.stream },
          'a journal could not be recovered; it is kept',
        );
      }
    }
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
    let watch: NodeJS.Timeout | undefined;
    // A stream that the database does not take must not keep those behind it waiting.
    const refused = new Promise<never>((_, reject) => {
      const check = () => {
        if (shipping.refused) reject(new AuditUnavailable(REFUSED, 'audit_stream_refused'));
      };
      watch = setInterval(check, REFUSED_MS);
    });
    try {
      await Promise.race([shipping.committed(journal.seq, 0), refused]);
      return shipping.shipped;
    } finally {
      clearInterval(watch);
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
const REFUSED = 'the audit database has another history of this stream than its journal';
/** How often it is looked whether the database refused, milliseconds. */
const REFUSED_MS = 250;
