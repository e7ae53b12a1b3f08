import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataDirectoryError } from './data-directory.ts';

/** A process that has only just begun may not have its server up yet, milliseconds. */
const STARTING_MS = 60_000;
/** Time for a server that was left behind to shut down, milliseconds. */
const STOP_MS = 20_000;

/**
 * Takes the data directory for this process. A server that an earlier process left running there (it was killed) is
 * shut down first. Throws `DataDirectoryError` while another process uses it. Returns what gives it back.
 */
export async function claimDataDirectory(directory: string): Promise<() => void> {
  const file = join(directory, 'demo.pid');
  const data = join(directory, 'pgdata');
  const holder = readPid(file);
  const server = readPid(join(data, 'postmaster.pid'));
  const serverAlive = server !== null && isServerOf(server, data);
  if (holder !== null && holder !== process.pid && isAlive(holder) && (serverAlive || isRecent(file)))
    throw new DataDirectoryError(
      `${directory} is in use by process ${holder}; stop that one, or name another with --data-dir`,
    );
  if (serverAlive) await stopServer(server, data);
  writeFileSync(file, `${process.pid}\n`);
  return () => rmSync(file, { force: true });
}

async function stopServer(pid: number, data: string): Promise<void> {
  process.kill(pid, 'SIGINT');
  for (let waited = 0; waited < STOP_MS; waited += 50) {
    if (!isServerOf(pid, data)) return;
    await sleep(50);
  }
  throw new DataDirectoryError(`the database server ${pid} that was left running on ${data} does not stop`);
}

/** Process ids are used again: the process must be a server on this very directory. */
function isServerOf(pid: number, data: string): boolean {
  if (!isAlive(pid)) return false;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(data);
  } catch {
    // No /proc (macOS, Windows): Postgres' own lock file decides, when it starts.
    return false;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function isRecent(file: string): boolean {
  return Date.now() - statSync(file).mtimeMs < STARTING_MS;
}

function readPid(file: string): number | null {
  try {
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10);
    return pid > 0 ? pid : null;
  } catch {
    return null;
  }
}
