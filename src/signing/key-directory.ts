import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import {
  isRecord,
  KeyError,
  newPrivateKeyText,
  type PrivateKey,
  type PublicKey,
  privateKeyFrom,
  publicKeyOf,
  secondsIn,
} from './key-text.ts';

/** Why and since when a key is not to be believed. */
export type Revocation = {
  /** Seconds since 1970 UTC: what it signed from then on does not count, whatever time the signature claims. */
  readonly at: number;
  /** `compromised`: somebody else may have had it; `superseded`: nobody has, it is only not used any more. */
  readonly reason: 'compromised' | 'superseded';
};

/** A key that the verifier knows for itself. Times are seconds since 1970 UTC; null: not known, or not yet. */
export type KnownKey = PublicKey & {
  readonly notBefore: number | null;
  /** When another key began to sign in its place. */
  readonly retiredAt: number | null;
  readonly revocation: Revocation | null;
};

export type DirectoryKeys = {
  /** In the order of their numbers: the last that is not revoked signs. */
  readonly signing: readonly (PrivateKey & { readonly number: number })[];
  /** What is left of keys that sign no more. */
  readonly others: readonly (KnownKey & { readonly number: number })[];
};

const KEY_FILE = /^(signing|retired|revoked)-([0-9]{1,6})\.jwk$/;
const KEY_FILE_BYTES = 16 * 1024;

/**
 * What is in the key directory: `signing-<n>.jwk`, private JWKs, and the public parts of those that were replaced,
 * `retired-<n>.jwk`, and of those that were revoked, `revoked-<n>.jwk`. Processes of one installation share the directory. Throws `KeyError`.
 */
export async function readKeyDirectory(directory: string): Promise<DirectoryKeys> {
  await requirePrivate(directory);
  const signing: DirectoryKeys['signing'][number][] = [];
  const others: DirectoryKeys['others'][number][] = [];
  for (const { name, kind, number } of keyFiles(await readdir(directory))) {
    const path = join(directory, name);
    const text = await readPrivateFile(path);
    if (text === null) continue;
    if (kind === 'signing') signing.push({ ...(await signingKey(path, text)), number });
    else others.push({ ...(await otherKey(path, text, kind)), number });
  }
  // One that is revoked comes last, whatever else is said of it.
  others.sort((a, b) => Number(a.revocation !== null) - Number(b.revocation !== null));
  return { signing, others };
}

/** Makes the directory, for its owner alone. */
export async function makeKeyDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
}

/**
 * Makes the next key, with a number above all that are or were there. Two processes that do so at once agree: the one
 * whose `link` comes second finds the other's key. True: this call made it.
 */
export async function addKey(directory: string, nowSeconds: number): Promise<boolean> {
  const numbers = keyFiles(await readdir(directory)).map(({ number }) => number);
  const name = `signing-${Math.max(0, ...numbers) + 1}.jwk`;
  return writeOnce(directory, name, newPrivateKeyText(nowSeconds));
}

/** Its private part is gone after this: what it has signed is verified with the public one. */
export async function retireInDirectory(
  directory: string,
  { jwk, madeAt, number }: PrivateKey & { readonly number: number },
  nowSeconds: number,
): Promise<void> {
  const times = { ...(madeAt === null ? {} : { nbf: madeAt }), retired_at: nowSeconds };
  await writeOnce(directory, `retired-${number}.jwk`, JSON.stringify({ ...jwk, ...times }));
  await unlink(join(directory, `signing-${number}.jwk`)).catch(ignoreMissing);
}

/** Its private part is gone after this; that and why it was revoked stay, for whoever meets what it has signed. */
export async function revokeInDirectory(
  directory: string,
  { jwk, number }: PublicKey & { readonly number: number },
  { at, reason }: Revocation,
): Promise<void> {
  const revoked = { ...jwk, revoked: { revoked_at: at, reason } };
  await writeOnce(directory, `revoked-${number}.jwk`, JSON.stringify(revoked));
  for (const kind of ['signing', 'retired'])
    await unlink(join(directory, `${kind}-${number}.jwk`)).catch(ignoreMissing);
}

/** A public key with what its JWK tells about it; null where it is no Ed25519 key. */
export async function knownKeyFrom(jwk: unknown): Promise<KnownKey | null> {
  const key = await publicKeyOf(jwk);
  if (key === null || !isRecord(jwk)) return null;
  return {
    ...key,
    notBefore: secondsIn(jwk, 'nbf'),
    retiredAt: secondsIn(jwk, 'retired_at'),
    revocation: revocationIn(jwk),
  };
}

/** Reads `revoked` of a JWK, in the form of OpenID Federation 1.0, section 8.7. Null: it is not revoked. */
function revocationIn(jwk: unknown): Revocation | null {
  const revoked = isRecord(jwk) ? jwk['revoked'] : undefined;
  if (revoked === undefined) return null;
  const at = isRecord(revoked) ? secondsIn(revoked, 'revoked_at') : null;
  const superseded = isRecord(revoked) && revoked['reason'] === 'superseded';
  // Whoever says that it is revoked, and does not say well since when, means: always.
  return { at: at ?? 0, reason: superseded && at !== null ? 'superseded' : 'compromised' };
}

/** Throws `KeyError` where others than its owner can read or change a file that holds a private key. */
export function requirePrivateMode(path: string, mode: number): void {
  if (process.platform === 'win32' || (mode & 0o077) === 0) return;
  const octal = (mode & 0o777).toString(8).padStart(4, '0');
  throw new KeyError(
    'key_file_mode',
    `${path} has mode ${octal}: others can read or change this private key. Run chmod 600 on it, and rotate the key if it was exposed.`,
  );
}

function keyFiles(names: readonly string[]) {
  return names
    .flatMap((name) => {
      const [, kind, number] = KEY_FILE.exec(name) ?? [];
      return kind === undefined ? [] : [{ name, kind, number: Number(number) }];
    })
    .sort((a, b) => a.number - b.number);
}

/** Who can write to the directory can put a key of their own there. That others can list it does no harm. */
async function requirePrivate(directory: string): Promise<void> {
  const { mode } = await stat(directory);
  if (process.platform !== 'win32' && (mode & 0o022) !== 0) {
    throw new KeyError('key_directory', `${directory} can be written by others: run chmod 700 on it.`);
  }
}

/** Null: it was revoked in this moment. */
async function readPrivateFile(path: string): Promise<string | null> {
  const file = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)).catch(ignoreMissing);
  if (file === undefined) return null;
  try {
    // The mode of what was opened, not of what the name means a moment later.
    const { mode, size } = await file.stat();
    requirePrivateMode(path, mode);
    if (size > KEY_FILE_BYTES) throw new KeyError('key_file_invalid', `${path} is too long for a key`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

async function signingKey(path: string, text: string): Promise<PrivateKey> {
  const key = await privateKeyFrom(text);
  if (key === null)
    throw new KeyError('key_file_invalid', `${path} is not a private Ed25519 key in JWK form`);
  return key;
}

async function otherKey(path: string, text: string, kind: string): Promise<KnownKey> {
  const key = await knownKeyFrom(parsed(text));
  // Not left out: then a key that is revoked would be believed again.
  if (key === null || (kind === 'revoked') !== (key.revocation !== null))
    throw new KeyError('key_file_invalid', `${path} is not a ${kind} Ed25519 key in JWK form`);
  return key;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The whole file or none, also when the machine stops in between. */
async function writeOnce(directory: string, name: string, text: string): Promise<boolean> {
  const temporary = join(directory, `.new-${randomBytes(8).toString('hex')}`);
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(`${text}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await link(temporary, join(directory, name));
    return true;
  } catch (error) {
    if (isRecord(error) && error['code'] === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(temporary);
  }
}

function ignoreMissing(error: unknown): undefined {
  if (isRecord(error) && error['code'] === 'ENOENT') return undefined;
  throw error;
}
