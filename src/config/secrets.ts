import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { SecretShape } from './secret-schema.ts';

/** Time for a command that prints a secret, milliseconds; the start of the program waits for it. */
const COMMAND_MS = 10_000;
/** Longest secret, bytes: a certificate chain fits. */
const SECRET_BYTES = 64 * 1024;

/** Why a secret could not be had; says where it was looked for, never what was found. */
export class SecretUnavailable extends Error {
  override readonly name = 'SecretUnavailable';
}

/**
 * Fetches a secret from the environment, a file (relative to `directory`) or a command's output. One line end at its
 * end is dropped. Throws `SecretUnavailable`, also for an empty one.
 */
export async function readSecret(
  secret: SecretShape,
  directory: string,
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const found = (await fetchSecret(secret, directory, env)).replace(/\r?\n$/, '');
  if (found === '') throw new SecretUnavailable(`${place(secret)} is empty`);
  if (found.includes('\0')) throw new SecretUnavailable(`${place(secret)} has a NUL byte in it`);
  return found;
}

async function fetchSecret(secret: SecretShape, directory: string, env: NodeJS.ProcessEnv): Promise<string> {
  if (secret.env !== undefined) {
    const value = env[secret.env];
    if (value === undefined) throw new SecretUnavailable(`${place(secret)} is not set`);
    return value;
  }
  if (secret.file !== undefined) return readTextFile(resolve(directory, secret.file), place(secret));
  return runCommand(secret.command ?? [], directory, env);
}

/** A file's text; throws `SecretUnavailable` with the operating system's code. */
export async function readTextFile(path: string, what: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new SecretUnavailable(`${what} cannot be read (${error.code ?? 'unknown'})`);
  });
  if (text.length > SECRET_BYTES) throw new SecretUnavailable(`${what} is longer than ${SECRET_BYTES} bytes`);
  return text;
}

function runCommand(command: readonly string[], cwd: string, env: NodeJS.ProcessEnv): Promise<string> {
  const [program = '', ...args] = command;
  return new Promise((done, failed) => {
    execFile(program, args, { cwd, env, timeout: COMMAND_MS, maxBuffer: SECRET_BYTES }, (error, stdout) => {
      if (error === null) return done(stdout);
      // Not error.message: it holds the arguments and what the command printed.
      const why = error.killed
        ? `gave no answer in ${COMMAND_MS} ms`
        : `failed (${error.code ?? error.signal})`;
      failed(new SecretUnavailable(`command ${program} ${why}`));
    });
  });
}

function place(secret: SecretShape): string {
  if (secret.env !== undefined) return `environment variable ${secret.env}`;
  if (secret.file !== undefined) return `file ${secret.file}`;
  return `command ${secret.command?.[0] ?? ''}`;
}
