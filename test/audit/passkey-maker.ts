import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { thumbprintOf } from '../../src/audit/verify/passkey-keys.ts';

/** A device with a passkey, in software, and how what it signs can be wrong. */
export type Device = {
  readonly kid: string;
  readonly jwk: Jwk;
  /** As the key set has it, as that person's. */
  readonly of: (person: string) => Jwk;
  /** The facts of an approver who signed this digest (hex). */
  readonly sign: (digest: string, changes?: Changes) => Record<string, unknown>;
};
type Jwk = Readonly<Record<string, string>>;

export type Changes = {
  /** Members of clientDataJSON; undefined leaves one out. */
  readonly client?: Readonly<Record<string, unknown>>;
  /** clientDataJSON, whole. */
  readonly clientBytes?: Buffer;
  readonly flags?: number;
  /** rpId, whose hash is in authenticatorData. */
  readonly rpId?: string;
  /** After the 37 bytes. */
  readonly more?: Buffer;
  /** authenticatorData, whole. */
  readonly data?: Buffer;
  readonly signature?: (good: Buffer) => Buffer;
  /** Members of the facts. */
  readonly facts?: Readonly<Record<string, unknown>>;
};

export const SITE = { origin: 'https://countersign.example.com', rpId: 'countersign.example.com' };

export function makeDevice(): Device {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const jwk = { kty: 'EC', crv: 'P-256', x, y };
  const kid = thumbprintOf(jwk) ?? '';
  return {
    kid,
    jwk,
    of: (person) => ({ ...jwk, kid, use: 'sig', alg: 'ES256', countersign_person: person }),
    sign: (digest, changes = {}) => assertion(kid, privateKey, digest, changes),
  };
}

function assertion(kid: string, key: KeyObject, digest: string, changes: Changes): Record<string, unknown> {
  const client =
    changes.clientBytes ??
    Buffer.from(
      JSON.stringify({
        type: 'webauthn.get',
        challenge: Buffer.from(digest, 'hex').toString('base64url'),
        origin: SITE.origin,
        crossOrigin: false,
        ...changes.client,
      }),
    );
  const data =
    changes.data ??
    Buffer.concat([
      sha256(Buffer.from(changes.rpId ?? SITE.rpId)),
      Buffer.of(changes.flags ?? 0x05, 0, 0, 0, 7),
      changes.more ?? Buffer.alloc(0),
    ]);
  const good = sign('sha256', Buffer.concat([data, sha256(client)]), key);
  const signature = changes.signature?.(good) ?? good;
  return {
    passkey: kid,
    authenticatorData: data.toString('base64url'),
    clientDataJSON: client.toString('base64url'),
    signature: signature.toString('base64url'),
    ...changes.facts,
  };
}

/** Somebody who approved. */
export function approver(person: string, facts: unknown = {}, assurance: unknown = 3) {
  return {
    person,
    channel: 'console',
    ids: [],
    assurance,
    at: 1_790_000_000,
    reason: null,
    facts,
  };
}

export function newDigest(): string {
  return randomBytes(32).toString('hex');
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}
