import { closeSync, fdatasync, fsync, fsyncSync, openSync, renameSync, writeSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** The files of one stream's journal: preallocated, so that forcing them to disk changes no metadata. */

export const SPARE = 'spare.next';

export function segmentPath(directory: string, number: number): string {
  return join(directory, `${String(number).padStart(8, '0')}.segment`);
}

/** The number in a segment's file name; null: another file. */
export function segmentNumber(name: string): number | null {
  const match = /^(\d{8})\.segment$/.exec(name);
  return match === null ? null : Number(match[1]);
}

/** Makes a zeroed file aside, forces it to disk, and only then gives it the name of the spare. */
export async function prepareSpare(directory: string, bytes: number): Promise<void> {
  const aside = join(directory, `${SPARE}.making`);
  const handle = await open(aside, 'w', 0o600);
  try {
    const zeros = Buffer.alloc(Math.min(bytes, CHUNK));
    for (let at = 0; at < bytes; at += zeros.length) {
      await handle.write(zeros, 0, Math.min(zeros.length, bytes - at), at);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(aside, join(directory, SPARE));
}

/** Makes a segment at once, for when no spare is ready. Throws what the file system says. */
export function createSegment(path: string, bytes: number): number {
  const fd = openSync(path, 'wx+', 0o600);
  try {
    const zeros = Buffer.alloc(Math.min(bytes, CHUNK));
    for (let at = 0; at < bytes; at += zeros.length) {
      writeAll(fd, zeros.subarray(0, Math.min(zeros.length, bytes - at)), at);
    }
    fsyncSync(fd);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Takes the spare as a segment. Throws when there is none. */
export function takeSpare(directory: string, path: string): number {
  renameSync(join(directory, SPARE), path);
  return openSync(path, 'r+');
}

/** A shipped segment becomes the spare (its blocks continue another chain, so they are never taken for new ones). */
export async function recycle(path: string, directory: string, keep: boolean): Promise<void> {
  if (keep) await rename(path, join(directory, SPARE));
  else await rm(path, { force: true });
}

/** Writes all of it, or throws. */
export function writeAll(fd: number, bytes: Buffer, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
  }
}

export const dataSync = promisify(fdatasync);
const fullSync = promisify(fsync);

/** Forces a directory's entries to disk; platforms that cannot are left alone. */
export async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const fd = openSync(directory, 'r');
  try {
    await fullSync(fd);
  } finally {
    closeSync(fd);
  }
}

const CHUNK = 1024 * 1024;
