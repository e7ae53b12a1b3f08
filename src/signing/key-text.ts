import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
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

/** Signs in this process' name. `sign` is synchronous Ed25519 (RFC 8032) over exactly these bytes. */
export type Signer = {
  readonly kid: string;
  readonly publicJwk: PublicJwk;
  readonly privateKey: KeyObject;
  readonly sign: (bytes: Uint8Array) => Buffer;
};

export type PrivateKey = PublicKey & {
  readonly privateKey: KeyObject;
  /** Seconds since 1970 UTC when it was made (`iat` of its JWK); null: not written down. */
  readonly madeAt: number | null;
};

export type KeyErrorCode =
  | 'key_file_mode'
  | 'key_file_invalid'
  | 'key_directory'
  | 'key_text_invalid'
  | 'key_revoked'
  | 'key_unknown'
  | 'key_not_rotatable';

/** A key, or the place where keys are, cannot be used as it is; the message says what to do. */
export class KeyError extends Error {
  override readonly name = 'KeyError';
  readonly code: KeyErrorCode;
  constructor(code: KeyErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * A private Ed25519 key as a JWK (RFC 8037) or PKCS #8 PEM, as `openssl genpkey -algorithm ed25519` prints it. Null for
 * anything else; no message quotes the text, which may be a secret of another kind.
 */
export async function privateKeyFrom(text: string): Promise<PrivateKey | null> {
  try {
    if (text.trimStart().startsWith('-----BEGIN')) return await privateKeyOf(createPrivateKey(text), null);
    const jwk: unknown = JSON.parse(text);
    if (!isRecord(jwk) || typeof jwk['d'] !== 'string') return null;
    return await privateKeyOf(createPrivateKey({ key: jwk, format: 'jwk' }), secondsIn(jwk, 'iat'));
  } catch {
    // The parser's message could quote the key.
    return null;
  }
}

/** A new private Ed25519 key, a JWK as text. `iat` is when it was made, seconds since 1970 UTC. */
export function newPrivateKeyText(nowSeconds: number): string {
  const { privateKey } = generateKeyPairSync('ed25519');
  return JSON.stringify({ ...privateKey.export({ format: 'jwk' }), iat: nowSeconds });
}

/** The public key of a JWK, whatever `kid` that claims; null where it is no Ed25519 key. */
export async function publicKeyOf(jwk: unknown): Promise<PublicKey | null> {
  if (!isRecord(jwk) || jwk['kty'] !== 'OKP' || jwk['crv'] !== 'Ed25519' || typeof jwk['x'] !== 'string')
    return null;
  const bare = { kty: 'OKP', crv: 'Ed25519', x: jwk['x'] } as const;
  try {
    const key = createPublicKey({ key: bare, format: 'jwk' });
    const kid = await calculateJwkThumbprint(bare satisfies JWK, 'sha256');
    return { kid, key, jwk: { ...bare, kid, use: 'sig', alg: 'EdDSA' } };
  } catch {
    return null;
  }
}

export function signerOf({ kid, jwk, privateKey }: PrivateKey): Signer {
  return { kid, publicJwk: jwk, privateKey, sign: (bytes) => sign(null, bytes, privateKey) };
}

/** A member that holds whole seconds since 1970, as `NumericDate` (RFC 7519) does; null where it does not. */
export function secondsIn(record: Readonly<Record<string, unknown>>, name: string): number | null {
  const value = record[name];
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function privateKeyOf(privateKey: KeyObject, madeAt: number | null): Promise<PrivateKey | null> {
  const derived = await publicKeyOf(createPublicKey(privateKey).export({ format: 'jwk' }));
  return derived === null ? null : { ...derived, privateKey, madeAt };
}
