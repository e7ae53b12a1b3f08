/** A device with passkeys, in software: what a browser and its authenticator answer, and what forgers would. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isoCBOR } from '@simplewebauthn/server/helpers';
import type { PasskeyAssertion } from '../../src/approval/guard.ts';
import type { Passkey } from '../../src/config/config.ts';

export type Device = {
  readonly passkey: Passkey;
  /** Signs the request with this digest (hex) on the site with this origin; `changes` is what goes wrong. */
  readonly assertion: (digest: string, origin: string, changes?: Changes) => PasskeyAssertion;
  /** What a browser sends when it has made this passkey for that challenge (base64url). */
  readonly registration: (challenge: string, origin: string, changes?: Changes) => object;
};

export type Changes = {
  readonly type?: string;
  readonly challenge?: string;
  readonly origin?: string;
  readonly rpId?: string;
  /** Default: present and verified. */
  readonly flags?: number;
  readonly counter?: number;
  /** After the 37 bytes. */
  readonly more?: Buffer;
  /** Members of clientDataJSON beside those that it has. */
  readonly client?: Readonly<Record<string, unknown>>;
};

export const PRESENT = 0x01;
export const VERIFIED = 0x04;

export function device(): Device {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const id = randomBytes(16).toString('base64url');
  return {
    passkey: { id, key: { kty: 'EC', crv: 'P-256', x, y } },
    registration: (challenge, origin, changes = {}) =>
      made({ id, x, y }, origin, { type: 'webauthn.create', challenge, ...changes }),
    assertion: (digest, origin, changes = {}) => ({ id, ...signed(privateKey, digest, origin, changes) }),
  };
}

/** Without an attestation of the device's maker (WebAuthn, section 8.7). */
function made({ id, x, y }: { id: string; x: string; y: string }, origin: string, changes: Changes): object {
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64url'));
  const key: [number, number | Uint8Array][] = [
    [1, 2],
    [3, -7],
    [-1, 1],
    [-2, bytes(x)],
    [-3, bytes(y)],
  ];
  const rawId = bytes(id);
  const attested = [Buffer.alloc(16), Buffer.from([0, rawId.length]), rawId, isoCBOR.encode(new Map(key))];
  const flags = (changes.flags ?? PRESENT | VERIFIED) | 0x40;
  const rpId = changes.rpId ?? new URL(origin).hostname;
  const authData = authenticatorData(rpId, { ...changes, flags, more: Buffer.concat(attested) });
  const object: [string, string | Map<string, never> | Uint8Array][] = [
    ['fmt', 'none'],
    ['attStmt', new Map<string, never>()],
    ['authData', new Uint8Array(authData)],
  ];
  const attestationObject = Buffer.from(isoCBOR.encode(new Map(object))).toString('base64url');
  const clientDataJSON = clientData('', origin, changes).toString('base64url');
  return { id, rawId: id, type: 'public-key', response: { clientDataJSON, attestationObject } };
}

function clientData(digest: string, origin: string, changes: Changes): Buffer {
  return Buffer.from(
    JSON.stringify({
      type: changes.type ?? 'webauthn.get',
      challenge: changes.challenge ?? Buffer.from(digest, 'hex').toString('base64url'),
      origin: changes.origin ?? origin,
      crossOrigin: false,
      ...changes.client,
    }),
  );
}

function signed(privateKey: KeyObject, digest: string, origin: string, changes: Changes) {
  const client = clientData(digest, origin, changes);
  const data = authenticatorData(changes.rpId ?? new URL(origin).hostname, changes);
  const signature = sign('sha256', Buffer.concat([data, sha256(client)]), privateKey);
  return {
    authenticatorData: data.toString('base64url'),
    clientDataJSON: client.toString('base64url'),
    signature: signature.toString('base64url'),
  };
}

function authenticatorData(rpId: string, { flags = PRESENT | VERIFIED, counter = 0, more }: Changes): Buffer {
  const rest = Buffer.alloc(5);
  rest.writeUInt8(flags, 0);
  rest.writeUInt32BE(counter, 1);
  return Buffer.concat([sha256(Buffer.from(rpId)), rest, more ?? Buffer.alloc(0)]);
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}
