import {
  addKey,
  type DirectoryKeys,
  type KnownKey,
  knownKeyFrom,
  makeKeyDirectory,
  type Revocation,
  readKeyDirectory,
  retireInDirectory,
  revokeInDirectory,
} from './key-directory.ts';
import { type KeyState, keyState, type PublishedKeys, published } from './key-state.ts';
import { isRecord, KeyError, type PrivateKey, privateKeyFrom, type Signer, signerOf } from './key-text.ts';

/** Where a verifier looks up keys: its own set, never what a token carries. Also those that are revoked, as such. */
export type KeySet = { readonly find: (kid: string) => Promise<KnownKey | null> };

export type Keys = KeySet & {
  /** The key that signs now. Throws `KeyError` (`key_revoked`) when there is none left. */
  readonly signer: Signer;
  readonly all: () => readonly KnownKey[];
  /** For `/.well-known/jwks.json`. */
  readonly jwks: () => PublishedKeys;
  /** Learns what other processes of this installation have changed: a rotation, a revocation. */
  readonly refresh: () => Promise<void>;
  /** Believes this key no more, in this process. There is no way back. */
  readonly distrust: (kid: string, revocation: Revocation) => void;
  /** Null where the key comes from a secret, which whoever keeps it changes. */
  readonly directory: KeyDirectory | null;
};

export type KeyDirectory = {
  /** Makes a new key, which signs from now on; earlier ones still verify. Returns it. */
  readonly rotate: (nowSeconds: number) => Promise<KnownKey>;
  /** Destroys its private part. The one that signs is replaced first. */
  readonly revoke: (kid: string, revocation: Revocation, nowSeconds: number) => Promise<void>;
};

/** The installation's keys from a directory, with a first one where there is none. Throws `KeyError`. */
export async function openKeys(directory: string): Promise<Keys> {
  await makeKeyDirectory(directory);
  const read = () => readKeyDirectory(directory);
  const now = () => Math.floor(Date.now() / 1000);
  let found = await read();
  if (usable(found).length === 0) {
    await addKey(directory, now());
    found = await read();
  }
  const state = keyState();
  const refresh = async () => {
    const { signing, others } = await read();
    state.set(signing, others);
  };
  await refresh();
  if (state.signing() === null)
    throw new KeyError('key_directory', `no signing key could be made in ${directory}`);
  const rotate = async (nowSeconds: number) => {
    await addKey(directory, nowSeconds);
    const { signing } = await read();
    for (const key of signing.slice(0, -1)) await retireInDirectory(directory, key, nowSeconds);
    await refresh();
    return state.known(signerIn(state).kid);
  };
  return keysOf(state, refresh, {
    rotate,
    revoke: async (kid, revocation, nowSeconds) => {
      await refresh();
      if (state.signing()?.kid === kid) await rotate(nowSeconds);
      const { signing, others } = await read();
      const key = [...signing, ...others].find((one) => one.kid === kid);
      if (key !== undefined) await revokeInDirectory(directory, key, revocation);
      state.distrust(kid, revocation);
      await refresh();
    },
  });
}

/**
 * The same with the signing key from elsewhere (a secret's text: JWK or PKCS #8 PEM), and public keys that verify beside
 * it: those that signed before, and the next one, so that no process meets a receipt whose key it does not know yet.
 */
export async function keysFrom(signingKey: string, verifying: readonly unknown[]): Promise<Keys> {
  const own = await privateKeyFrom(signingKey);
  if (own === null)
    throw new KeyError(
      'key_text_invalid',
      'keys.signing is not a private Ed25519 key as JWK or PEM; "countersign keys new" makes one',
    );
  const others = await Promise.all(verifying.map(knownKeyFrom));
  const state = keyState();
  // What says of the signing key itself that it is revoked counts.
  state.set(
    [own],
    others
      .filter((key) => key !== null)
      .filter(({ kid, revocation }) => kid !== own.kid || revocation !== null),
  );
  return keysOf(state, async () => {}, null);
}

/** A verifier's key set from a JWKS document, for checking receipts offline. Throws `KeyError`. */
export async function keySetFromJwks(document: unknown): Promise<KeySet> {
  const keys = isRecord(document) && Array.isArray(document['keys']) ? document['keys'] : null;
  if (keys === null)
    throw new KeyError('key_file_invalid', 'not a JWKS: an object with a list "keys" is expected');
  const revoked = isRecord(document) && Array.isArray(document['revoked']) ? document['revoked'] : [];
  const known = new Map<string, KnownKey>();
  for (const jwk of keys) {
    const key = await knownKeyFrom(jwk);
    if (key !== null) known.set(key.kid, key);
  }
  // After the others: who is in both lists is revoked.
  for (const jwk of revoked) {
    const key = await knownKeyFrom({ revoked: {}, ...(isRecord(jwk) ? jwk : {}) });
    if (key !== null) known.set(key.kid, key);
  }
  return { find: async (kid) => known.get(kid) ?? null };
}

function keysOf(state: KeyState, refresh: () => Promise<void>, directory: KeyDirectory | null): Keys {
  return {
    get signer() {
      return signerOf(signerIn(state));
    },
    all: state.all,
    jwks: () => published(state.all()),
    refresh,
    distrust: state.distrust,
    directory,
    find: async (kid) => {
      // Another process of this installation may have rotated since.
      if (state.find(kid) === null) await refresh();
      return state.find(kid);
    },
  };
}

function signerIn(state: KeyState): PrivateKey {
  const key = state.signing();
  if (key === null)
    throw new KeyError(
      'key_revoked',
      'the signing key is revoked: run "countersign keys rotate", or put a new one where keys.signing says and restart',
    );
  return key;
}

function usable({ signing, others }: DirectoryKeys) {
  const revoked = others.filter(({ revocation }) => revocation !== null);
  return signing.filter(({ kid }) => !revoked.some((one) => one.kid === kid));
}
