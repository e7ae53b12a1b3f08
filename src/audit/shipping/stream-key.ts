import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { endorsementBytes } from '../chain/chain.ts';
import { jwkThumbprint } from '../chain/thumbprint.ts';
import type { EventEntry } from '../entry.ts';
import type { LogSigner } from '../port.ts';
import type { BatchSigner } from './batch.ts';

/** A stream's own key: made at its start, kept in memory alone, gone with the process. */
export type StreamKey = BatchSigner & { readonly publicJwk: PublicJwk; readonly privateKey: KeyObject };

type PublicJwk = { readonly kty: string; readonly crv: string; readonly x: string };

/** A new Ed25519 key pair for a stream. */
export function createStreamKey(): StreamKey {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const { kty = '', crv = '', x = '' } = publicKey.export({ format: 'jwk' });
  const publicJwk = { kty, crv, x };
  return {
    kid: jwkThumbprint(publicJwk),
    publicJwk,
    privateKey,
    sign: (bytes) => sign(null, bytes, privateKey),
  };
}

/** The first entry of a stream: its key, endorsed by the installation's, and facts about the process. */
export function streamStart(
  stream: string,
  key: StreamKey,
  signer: LogSigner,
  at: bigint,
  facts: Readonly<Record<string, string>>,
): EventEntry {
  return {
    kind: 'log_start',
    at,
    session: null,
    requestId: null,
    people: [],
    receipt: null,
    detail: {
      ...facts,
      stream_kid: key.kid,
      stream_jwk: JSON.stringify(key.publicJwk),
      endorsed_by: signer.kid,
      endorsement: signer.sign(endorsementBytes(stream, key.kid)).toString('hex'),
    },
  };
}

/** The entry that brings a public key into `signing_key`. */
export function keyEntry(kid: string, publicJwk: unknown, purpose: string, at: bigint): EventEntry {
  return {
    kind: 'key',
    at,
    session: null,
    requestId: null,
    people: [],
    receipt: null,
    detail: { kid, public_jwk: JSON.stringify(publicJwk), purpose },
  };
}
