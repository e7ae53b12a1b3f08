/** A device with passkeys, in software: what a browser and its authenticator answer, and what forgers would. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import type { PasskeyAssertion } from '../../src/approval/guard.ts';
import type { Passkey } from '../../src/config/config.ts';

export type Device = {
  readonly passkey: Passkey;
  /** Signs the request with this digest (hex) on the site with this origin; `changes` is what goes wrong. */
  readonly assertion: (digest: string, origin: string, changes?: Changes) => PasskeyAssertion;
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
    assertion: (digest, origin, changes = {}) => ({ id, ...signed(privateKey, digest, origin, changes) }),
  };
}

function signed(privateKey: KeyObject, digest: string, origin: string, changes: Changes) {
  const client = Buffer.from(
    JSON.stringify({
      type: changes.type ?? 'webauthn.get',
      challenge: changes.challenge ?? Buffer.from(digest, 'hex').toString('base64url'),
      origin: changes.origin ?? origin,
      crossOrigin: false,
      ...changes.client,
    }),
  );
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
