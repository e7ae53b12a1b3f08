import { createHash } from 'node:crypto';
import { accessSync, constants, lstatSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { reachableByServer } from './launcher.ts';

/** The data directory cannot be used; says which and why. */
export class DataDirectoryError extends Error {
  override readonly name = 'DataDirectoryError';
}

/**
 * Where the demo keeps its data: the directory that was asked for, or `.countersign` below `cwd`, or, where the
 * server's user could not reach or we could not write that, one below the system's directory for temporary files,
 * always the same for the same `cwd`. It is made. Throws `DataDirectoryError`.
 */
export function chooseDataDirectory(asked: string | undefined, cwd: string): string {
  if (asked !== undefined) {
    const directory = make(resolve(cwd, asked));
    if (!reachableByServer(directory))
      throw new DataDirectoryError(
        `${directory} cannot be reached by the account that the database server runs as (as root it is another): ` +
          'every directory above it must be open to all (chmod o+x), or name another one with --data-dir',
      );
    return directory;
  }
  const local = resolve(cwd, '.countersign');
  return reachableByServer(cwd) && writable(cwd) ? make(local) : make(temporary(cwd));
}

/** In a directory that all may write to, somebody else may have made ours first. */
function temporary(cwd: string): string {
  const uid = process.getuid?.() ?? 0;
  const tag = createHash('sha256').update(resolve(cwd)).digest('hex').slice(0, 8);
  return join(tmpdir(), `countersign-${uid}-${tag}`);
}

function make(directory: string): string {
  try {
    mkdirSync(dirname(directory), { recursive: true });
    mkdirSync(directory, { mode: 0o755 });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    if (code !== 'EEXIST') throw new DataDirectoryError(`${directory} cannot be made (${code})`);
  }
  const stat = lstatSync(directory);
  // Not a symbolic link either: lstat tells it from what it leads to.
  if (!stat.isDirectory()) throw new DataDirectoryError(`${directory} is not a directory`);
  if (process.getuid !== undefined && stat.uid !== process.getuid())
    throw new DataDirectoryError(`${directory} belongs to another account; name another one with --data-dir`);
  return directory;
}

function writable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
