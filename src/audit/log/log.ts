import { createHash, randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import type { Limits } from '../../config/limits.ts';
import { type AuditLog, AuditUnavailable, type Entry, type EventEntry } from '../entry.ts';
import { Journal } from '../journal/journal.ts';
import { openToJson, unknownOutcome } from '../journal/open-statements.ts';
import {
  beat,
  HEARTBEAT_MS,
  livingStreams,
  makeJournalDirectory,
  makeStreamDirectory,
  readJson,
  removeStreamDirectory,
  streamEnded,
  writeJson,
} from '../journal/stream-directory.ts';
import type { AuditLogger } from '../logger.ts';
import type { LogSigner } from '../port.ts';
import type { Head } from '../shipping/batch.ts';
import { Shipping } from '../shipping/shipping.ts';
import { createStreamKey, keyEntry, streamStart } from '../shipping/stream-key.ts';
import { OPEN_FILE, type RecoveredStream, Recovery } from './recovery.ts';

export type AuditLogOptions = {
  /** The journal directory; made if missing. May be shared by processes. */
  readonly directory: string;
  /** The audit database, as the writer role. */
  readonly url: string;
  readonly schema: string;
  readonly limits: Pick<Limits, 'journalBytes' | 'journalSyncMs'>;
  readonly log: AuditLogger;
  readonly signer: LogSigner;
  /** Whether a key (its thumbprint) is or was the installation's; journals of other installations are left alone. */
  readonly isOurs?: (kid: string) => boolean;
};

export type AuditStats = {
  /** Entries taken in and not yet in the audit database. */
  readonly lagEntries: number;
  /** Bytes of them in the journal. */
  readonly journalBytes: number;
  readonly shippedEntries: number;
  /** Milliseconds for which the audit database has not answered; 0: it does. */
  readonly awayMs: number;
};

export type OpenAuditLog = AuditLog & {
  /** This process' stream. */
  readonly stream: string;
  readonly stats: () => AuditStats;
  /** Resolves when the journals that dead processes left are in the database. */
  readonly recovered: () => Promise<void>;
  /** Ends the stream: what is left is shipped, or stays in the journal for the next start. */
  readonly close: () => Promise<void>;
};

/**
 * Opens this process' stream: a journal here, its rows in the audit database as soon as that can be reached. Streams
 * that dead processes left in the directory are recovered in the background. Throws `JournalRefused`.
 */
export async function openAuditLog(options: AuditLogOptions): Promise<OpenAuditLog> {
  const { directory: root, url, schema, limits, log, signer } = options;
  const group = await makeJournalDirectory(root);
  if (group !== null)
    log.warn(
      { directory: root, group },
      'everybody in this group can put entries into the audit log: keep it to this program',
    );
  const stream = newStreamId();
  const directory = await makeStreamDirectory(root, stream);
  const key = createStreamKey();
  const journal = new Journal({ directory, stream, limitBytes: limits.journalBytes });
  journal.append(streamStart(stream, key, signer, now(), await factsOf(root, stream)));
  journal.append(keyEntry(signer.kid, signer.publicJwk, 'installation', now()));
  await journal.sync();

  const shipping = new Shipping({
    journal,
    key,
    url,
    schema,
    log,
    keepOpen: (seq, open) => writeJson(join(directory, OPEN_FILE), openToJson(seq, open)),
  });
  const recovery = new Recovery({
    ...{ root, stream, key, url, schema, log, now, isOurs: options.isOurs },
    recovered: async (facts) => {
      journal.append(recoveredEntry(facts));
      await rememberEnd(root, facts.stream, facts.head);
    },
  });
  const timers = startTimers(journal, recovery, directory, options);
  return running({ journal, shipping, recovery, timers, root, directory, options });
}

/** An id that sorts by time: start of the stream and 8 random bytes. */
export function newStreamId(): string {
  const stamp = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  return `${stamp}-${randomBytes(8).toString('hex')}`;
}

/**
 * Beside what it is: which journal directory it uses, by a digest of its path, and which streams of others in there are
 * being written. So that one that has not ended counts as lost only if its process is not there any more.
 */
async function factsOf(root: string, stream: string): Promise<Record<string, string>> {
  const others = (await livingStreams(root)).filter((one) => one !== stream);
  return {
    ...processFacts('statements'),
    ...(await previousEnd(root)),
    journal: createHash('sha256').update(resolve(root)).digest('hex').slice(0, 16),
    beside: others.join(' '),
  };
}

/** Facts about this process for the first entry of a stream. */
export function processFacts(purpose: string): Record<string, string> {
  return { purpose, host: hostname(), pid: String(process.pid), node: process.version };
}

/** Microseconds since 1970. */
export function now(): bigint {
  return BigInt(Date.now()) * 1000n;
}

type Parts = {
  readonly journal: Journal;
  readonly shipping: Shipping;
  readonly recovery: Recovery;
  readonly timers: readonly NodeJS.Timeout[];
  readonly root: string;
  readonly directory: string;
  readonly options: AuditLogOptions;
};

function running(parts: Parts): OpenAuditLog {
  const { journal, shipping, recovery, options } = parts;
  let closing: Promise<void> | null = null;
  return {
    stream: journal.stream,
    append: (entry: Entry) => {
      if (closing !== null) throw new AuditUnavailable('the audit log is closed', 'audit_closed');
      if (changes(entry)) requireDatabase(shipping);
      return journal.append(entry);
    },
    write: () => journal.write(),
    sync: () => journal.sync(),
    committed: async (seq) => {
      journal.write();
      await shipping.committed(seq, COMMIT_MS);
    },
    healthy: () =>
      closing === null &&
      journal.failure === null &&
      !shipping.refused &&
      shipping.awayMs() < AWAY_MS &&
      journal.unshippedBytes < options.limits.journalBytes * NEARLY_FULL,
    stats: () => ({
      lagEntries: Number(journal.seq - shipping.shipped.seq),
      journalBytes: journal.unshippedBytes,
      shippedEntries: Number(shipping.shipped.seq),
      awayMs: shipping.awayMs(),
    }),
    recovered: () => recovery.run(),
    close: () => {
      closing ??= close(parts);
      return closing;
    },
  };
}

/**
 * The intent of a statement that runs and does more than read. What is held waits for the commit of its record anyway,
 * and an open transaction may still be ended.
 */
function changes(entry: Entry): boolean {
  return (
    entry.kind === 'intent' &&
    entry.decision === 'allow' &&
    entry.class !== 'read' &&
    entry.class !== 'session'
  );
}

/** A short absence, like the change to a standby, is bridged by the journal. */
function requireDatabase(shipping: Shipping): void {
  const awayMs = shipping.awayMs();
  if (awayMs < AWAY_MS && !shipping.refused) return;
  throw new AuditUnavailable(
    shipping.refused
      ? 'the audit database takes no more entries of this stream: until a person has looked, only reads are started'
      : `the audit database has not answered for ${Math.round(awayMs / 1000)} s: meanwhile only reads are started`,
    'audit_database_away',
  );
}

function startTimers(journal: Journal, recovery: Recovery, directory: string, options: AuditLogOptions) {
  const { log, limits } = options;
  const failed = (what: string) => (error: unknown) =>
    log.error({ err: error, stream: journal.stream }, what);
  const recover = () =>
    void recovery.run().catch(failed('journals of earlier processes could not be looked for'));
  recover();
  return [
    setInterval(
      () => void journal.sync().catch(failed('the journal could not be forced to disk')),
      limits.journalSyncMs,
    ),
    setInterval(() => void beat(directory).catch(failed('the journal directory is gone')), HEARTBEAT_MS),
    setInterval(recover, RECOVER_MS),
  ];
}

/** Ships the rest, says that the log ends here, ships that too. Where the database is away, all of it stays on disk. */
async function close(parts: Parts): Promise<void> {
  const { journal, shipping, recovery, timers, root, directory, options } = parts;
  for (const timer of timers) clearInterval(timer);
  await recovery.stop();
  let whole = false;
  try {
    journal.write();
    await shipping.committed(journal.seq, CLOSE_MS);
    // Statements still open belong to sessions that are gone by now: nobody else will say how they ended.
    for (const statement of await shipping.openStatements(CLOSE_MS))
      journal.append(unknownOutcome(statement, now()));
    journal.append(event('log_stop', { reason: 'closed' }));
    journal.write();
    await shipping.committed(journal.seq, CLOSE_MS);
    whole = true;
  } catch (error) {
    options.log.warn(
      { err: error, stream: journal.stream },
      'the audit log ends with entries in its journal',
    );
  }
  await shipping.stop();
  try {
    await journal.close();
  } finally {
    streamEnded(journal.stream);
  }
  if (!whole) return;
  await rememberEnd(root, journal.stream, shipping.shipped);
  await removeStreamDirectory(directory);
}

function recoveredEntry(facts: RecoveredStream): EventEntry {
  return event('log_recovered', {
    ...endDetail(facts.stream, facts.head),
    unknown_outcomes: String(facts.unknownOutcomes),
  });
}

function event(kind: EventEntry['kind'], detail: Record<string, string>): EventEntry {
  return { kind, at: now(), session: null, requestId: null, people: [], receipt: null, detail };
}

/** The next stream names the end of the one before, so that neither can be cut off or dropped unnoticed. */
const LAST_FILE = 'last.json';

async function rememberEnd(root: string, stream: string, head: Head): Promise<void> {
  await writeJson(join(root, LAST_FILE), endDetail(stream, head));
}

async function previousEnd(root: string): Promise<Record<string, string>> {
  const last = await readJson(join(root, LAST_FILE));
  if (typeof last !== 'object' || last === null) return {};
  return Object.fromEntries(Object.entries(last).map(([name, value]) => [name, String(value)]));
}

function endDetail(stream: string, head: Head): Record<string, string> {
  return {
    previous_stream: stream,
    previous_seq: String(head.seq),
    previous_hash: head.hash.toString('hex'),
  };
}

/** Milliseconds that `committed` waits. */
const COMMIT_MS = 10_000;
/** Milliseconds without an answer after which the log says that it is not healthy. */
const AWAY_MS = 10_000;
const NEARLY_FULL = 0.9;
const CLOSE_MS = 5_000;
/** How often dead streams are looked for, milliseconds. */
const RECOVER_MS = 15_000;
