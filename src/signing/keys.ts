import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { calculateJwkThumbprint, type JWK } from 'jose';

/** An Ed25519 key as others may see it. `kid` is the RFC 7638 thumbprint. */
export type PublicKey = { readonly kid: string; readonly key: KeyObject; readonly jwk: PublicJwk };
export type PublicJwk = {
  readonly kty: 'OKP';
  readonly crv: 'Ed25519';
  readonly x: string;
  readonly kid: string;
  readonly use: 'sig';
  readonly alg: 'EdDSA';
};

/** Where a verifier looks up keys: its own set, never what a token carries. */
export type KeySet = { readonly find: (kid: string) => Promise<PublicKey | null> };

/** Signs in this process' name. `sign` is synchronous Ed25519 (RFC 8032) over exactly these bytes. */
export type Signer = {
  readonly kid: string;
  readonly publicJwk: PublicJwk;
  readonly privateKey: KeyObject;
  readonly sign: (bytes: Uint8Array) => Buffer;
};

export type Keys = KeySet & {
  readonly signer: Signer;
  /** All public keys that verify: the present one and older ones (`/.well-known/jwks.json`, RFC 7517 section 5). */
  readonly jwks: () => { readonly keys: readonly PublicJwk[] };
};

/** The key directory cannot be used as it is; the message says what to do. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
  readonly code: 'key_file_mode' | 'key_file_invalid' | 'key_directory';
  constructor(code: 'key_file_mode' | 'key_file_invalid' | 'key_directory', message: string) {
    super(message);
    this.code = code;
  }
}

const KEY_FILE = /^signing-([0-9]{1,6})\.jwk$/;
const KEY_FILE_BYTES = 16 * 1024;

/**
 * Opens the key directory and makes the first key where there is none. Files are `signing-<n>.jwk`, private JWKs; the
 * highest number signs, all verify. Processes of one installation share the directory. Throws `KeyError`.
 */
export async function openKeys(directory: string): Promise<Keys> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await requirePrivate(directory);
  let loaded = await loadKeys(directory);
  if (loaded.length === 0) {
    await createFirstKey(directory);
    loaded = await loadKeys(directory);
  }
  const newest = loaded.at(-1);
  if (newest === undefined)
    throw new KeyError('key_directory', `no signing key could be made in ${directory}`);
  const known = new Map(loaded.map((key) => [key.kid, key]));
  return {
    signer: signerOf(newest),
    jwks: () => ({ keys: [...known.values()].map(({ jwk }) => jwk) }),
    find: async (kid) => {
      // Another process of this installation may have rotated since.
      if (!known.has(kid)) for (const key of await loadKeys(directory)) known.set(key.kid, key);
      return known.get(kid) ?? null;
    },
  };
}

/** A verifier's key set from a JWKS document, for checking receipts offline. Throws `KeyError`. */
export async function keySetFromJwks(document: unknown): Promise<KeySet> {
  const keys = isRecord(document) && Array.isArray(document['keys']) ? document['keys'] : null;
  if (keys === null)
    throw new KeyError('key_file_invalid', 'not a JWKS: an object with a list "keys" is expected');
  const known = new Map<string, PublicKey>();
  for (const jwk of keys) {
    const key = await publicKeyOf(jwk);
    if (key !== null) known.set(key.kid, key);
  }
  return { find: async (kid) => known.get(kid) ?? null };
}

/** Who can write to the directory can put a key of their own there. */
async function requirePrivate(directory: string): Promise<void> {
  const { mode } = await stat(directory);
  if (process.platform !== 'win32' && (mode & 0o022) !== 0) {
    throw new KeyError('key_directory', `${directory} can be written by others: run chmod 700 on it.`);
  }
}

type LoadedKey = PublicKey & { readonly privateKey: KeyObject };

async function loadKeys(directory: string): Promise<readonly LoadedKey[]> {
  const numbers = (await readdir(directory))
    .map((name) => KEY_FILE.exec(name)?.[1])
    .filter((number) => number !== undefined)
    .sort((a, b) => Number(a) - Number(b));
  return Promise.all(numbers.map((number) => loadKey(join(directory, `signing-${number}.jwk`))));
}

async function loadKey(path: string): Promise<LoadedKey> {
  const file = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
  try {
    // The mode of what was opened, not of what the name means a moment later.
    const { mode, size } = await file.stat();
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
      const octal = (mode & 0o777).toString(8).padStart(4, '0');
      throw new KeyError(
        'key_file_mode',
        `${path} has mode ${octal}: others can read or change this private key. Run chmod 600 on it, and rotate the key if it was exposed.`,
      );
    }
    if (size > KEY_FILE_BYTES) throw new KeyError('key_file_invalid', `${path} is too long for a key`);
    return await parseKey(path, await file.readFile('utf8'));
  } finally {
    await file.close();
  }
}

async function parseKey(path: string, text: string): Promise<LoadedKey> {
  try {
    const jwk: unknown = JSON.parse(text);
    if (isRecord(jwk) && typeof jwk['d'] === 'string') {
      const privateKey = createPrivateKey({ key: jwk, format: 'jwk' });
      const derived = await publicKeyOf(createPublicKey(privateKey).export({ format: 'jwk' }));
      if (derived !== null) return { ...derived, privateKey };
    }
  } catch {
    // The parser's message could quote the key.
  }
  throw new KeyError('key_file_invalid', `${path} is not a private Ed25519 key in JWK form`);
}

async function publicKeyOf(jwk: unknown): Promise<PublicKey | null> {
  if (!isRecord(jwk) || jwk['kty'] !== 'OKP' || jwk['crv'] !== 'Ed25519' || typeof jwk['x'] !== 'string')
    return null;
  const bare = { kty: 'OKP', crv: 'Ed25519', x: jwk['x'] } as const;
  const kid = await calculateJwkThumbprint(bare satisfies JWK, 'sha256');
  return {
    kid,
    key: createPublicKey({ key: bare, format: 'jwk' }),
    jwk: { ...bare, kid, use: 'sig', alg: 'EdDSA' },
  };
}

/** Two processes that start at once agree: the one whose `link` comes second reads the other's key. */
async function createFirstKey(directory: string): Promise<void> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const temporary = join(directory, `.new-${randomBytes(8).toString('hex')}`);
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(privateKey.export({ format: 'jwk' }))}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await link(temporary, join(directory, 'signing-1.jwk'));
  } catch (error) {
    if (!(isRecord(error) && error['code'] === 'EEXIST')) throw error;
  } finally {
    await unlink(temporary);
  }
}

function signerOf({ kid, jwk, privateKey }: LoadedKey): Signer {
  return { kid, publicJwk: jwk, privateKey, sign: (bytes) => sign(null, bytes, privateKey) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
