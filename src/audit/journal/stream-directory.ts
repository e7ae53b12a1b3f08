import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';

/**
 * Each stream has a directory of its own in the journal directory, which says whose it is. Several processes, and
 * several machines with a shared disk, may use one journal directory.
 */
export type Owner = {
  readonly host: string;
  /** Of the machine's last start; '' where the system does not tell. */
  readonly boot: string;
  readonly pid: number;
  /** In the system's own unit; '' where it does not tell. */
  readonly started: string;
};

const OWNER_FILE = 'owner.json';

export function thisProcess(): Owner {
  return { host: hostname(), boot: bootId(), pid: process.pid, started: startOf(process.pid) };
}

/** The journal directory cannot be used, and what to do about it. */
export class JournalRefused extends Error {
  override readonly name = 'JournalRefused';
  readonly code = 'audit_journal_directory';
}

/**
 * Makes the journal directory where it is missing. Who can write to it can leave a journal there that a start takes for
 * that of a process that died, and signs into the log: throws `JournalRefused` where others can. Gives the group that can,
 * where it is one of this process' own and the directory was handed to it with setgid, as orchestrators do at each start
 * with volumes that they mount (Kubernetes: `fsGroup`); null: nobody else can.
 */
export async function makeJournalDirectory(root: string): Promise<number | null> {
  await mkdir(root, { recursive: true, mode: 0o700 });
  if (process.platform === 'win32') return null;
  const { mode, uid, gid } = await stat(root);
  const group = (mode & 0o020) !== 0;
  const handed = (mode & 0o2000) !== 0 && ownGroups().has(gid);
  if ((mode & 0o002) !== 0 || (group && !handed))
    throw new JournalRefused(
      `${root} can be written by others, who could put entries into the log: look at what is in it, and run chmod 700 on it.`,
    );
  const own = process.geteuid?.() ?? 0;
  if (own !== 0 && uid !== own && uid !== 0)
    throw new JournalRefused(
      `${root} belongs to user ${uid}, and this program runs as ${own}: give it a data directory of its own.`,
    );
  return group ? gid : null;
}

function ownGroups(): ReadonlySet<number> {
  return new Set([...(process.getgroups?.() ?? []), process.getegid?.() ?? -1]);
}

export async function makeStreamDirectory(root: string, stream: string): Promise<string> {
  const directory = join(root, stream);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeOwner(directory);
  liveStreams.add(stream);
  return directory;
}

/** Says that the owner is alive; called every `HEARTBEAT_MS`. */
export async function beat(directory: string): Promise<void> {
  const now = new Date();
  await utimes(join(directory, OWNER_FILE), now, now);
}
export const HEARTBEAT_MS = 10_000;
/** An owner on another machine that was silent for so long is dead. */
const SILENT_MS = 60_000;

/** A stream's directory that nobody writes to any more. */
export type DeadStream = { readonly stream: string; readonly directory: string };

/** Streams whose process is gone. */
export async function deadStreams(root: string): Promise<DeadStream[]> {
  const dead: DeadStream[] = [];
  const found = await readdir(root, { withFileTypes: true });
  // A link leads to what somebody else may write.
  const names = found.filter((one) => one.isDirectory()).map(({ name }) => name);
  for (const name of names.sort()) {
    const [stream = '', claimer] = name.split('.');
    if (!STREAM_ID.test(stream) || liveStreams.has(stream)) continue;
    if (claimer !== undefined && (liveStreams.has(claimer) || (await isAlive(join(root, claimer))))) continue;
    if (!(await isAlive(join(root, name)))) dead.push({ stream, directory: join(root, name) });
  }
  return dead;
}

/** Streams that somebody writes to: not those that are taken over from a process that is gone. */
export async function livingStreams(root: string): Promise<string[]> {
  const living: string[] = [];
  for (const name of (await readdir(root)).sort()) {
    if (STREAM_ID.test(name) && (liveStreams.has(name) || (await isAlive(join(root, name)))))
      living.push(name);
  }
  return living;
}

/** Takes over a dead stream's directory; null: another process was faster. A rename is atomic: one of them wins. */
export async function claim(root: string, dead: DeadStream, claimer: string): Promise<string | null> {
  const claimed = join(root, `${dead.stream}.${claimer}`);
  try {
    if (dead.directory !== claimed) await rename(dead.directory, claimed);
    await writeOwner(claimed);
    return claimed;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** Leaves a claimed directory to be claimed again, by this process or, when it is gone, by another. */
export async function giveBack(root: string, stream: string, claimer: string): Promise<void> {
  try {
    await rename(join(root, `${stream}.${claimer}`), join(root, stream));
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** Removes a directory whose entries are all in the database. */
export async function removeStreamDirectory(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}

/** This process' stream ended: what it left may be recovered, also by this process. */
export function streamEnded(stream: string): void {
  liveStreams.delete(stream);
}

/** A file of JSON, replaced whole or not at all. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFile(`${path}.new`, JSON.stringify(value), { mode: 0o600, flush: true });
  await rename(`${path}.new`, path);
}

/** Undefined where the file is missing or not JSON. */
export async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const STREAM_ID = /^\d{8}T\d{6}Z-[0-9a-f]+$/;
/** Streams of this very process. */
const liveStreams = new Set<string>();

async function writeOwner(directory: string): Promise<void> {
  await writeJson(join(directory, OWNER_FILE), thisProcess());
}

async function isAlive(directory: string): Promise<boolean> {
  const path = join(directory, OWNER_FILE);
  const owner = (await readJson(path)) as Partial<Owner> | undefined;
  if (owner?.pid === undefined) return false;
  const { host, boot } = thisProcess();
  if (owner.host === host && owner.boot !== boot) return false;
  if (owner.host === host) {
    // A stream of this process that is not live any more was left by a failed close.
    return owner.pid !== process.pid && processExists(owner.pid) && startOf(owner.pid) === owner.started;
  }
  try {
    return Date.now() - (await stat(path)).mtimeMs < SILENT_MS;
  } catch (error) {
    // Taken over or removed in this moment.
    if (isMissing(error)) return false;
    throw error;
  }
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** Field 22 of /proc/<pid>/stat: tells a process from a later one with its number. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return '';
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
