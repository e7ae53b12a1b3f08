/** Passkeys: public keys of people's own devices (WebAuthn Level 3, ES256 alone), which the configuration names. */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import type { Passkey, PasskeyJwk } from '../config/config.ts';
import { isRecord } from './key-text.ts';

/** Where passkeys of this installation are made and used; browsers bind each of them to `id`. */
export type RelyingParty = {
  /** The host of `http.publicUrl`. */
  readonly id: string;
  /** Its origin: with scheme and port. */
  readonly origin: string;
};

/**
 * Null where browsers have no passkeys: at an address instead of a name, or over http, except on this machine
 * (WebAuthn, section 5.1.3; Secure Contexts, section 3.1).
 */
export function relyingPartyOf(publicUrl: string): RelyingParty | null {
  const { protocol, hostname, origin } = new URL(publicUrl);
  if (isIP(hostname.replace(/^\[|\]$/g, '')) !== 0) return null;
  const local = hostname === 'localhost' || hostname.endsWith('.localhost');
  if (protocol !== 'https:' && !(protocol === 'http:' && local)) return null;
  return { id: hostname, origin };
}

/** Why a JWK cannot be a passkey's; null: it is a point of P-256. */
export function passkeyFault(key: PasskeyJwk): string | null {
  if (![key.x, key.y].every(isCoordinate)) return 'x and y must be 32 bytes each, in base64url';
  try {
    publicKeyOf(key);
    return null;
  } catch {
    return 'it is no point of P-256';
  }
}

/** RFC 7638: how receipts and key sets name it. */
export function passkeyThumbprint({ x, y }: PasskeyJwk): string {
  const members = `{"crv":"P-256","kty":"EC","x":"${x}","y":"${y}"}`;
  return createHash('sha256').update(members).digest('base64url');
}

/** Throws where the point is not on the curve. */
export function publicKeyOf({ x, y }: PasskeyJwk): KeyObject {
  return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });
}

/** As it is published beside the installation's keys. It verifies assertions of that person and nothing else. */
export type PublishedPasskey = PasskeyJwk & {
  readonly kid: string;
  readonly use: 'sig';
  readonly alg: 'ES256';
  readonly countersign_person: string;
};

export function publishedPasskeys(
  people: readonly { readonly id: string; readonly passkeys?: readonly Passkey[] }[],
): readonly PublishedPasskey[] {
  return people.flatMap(({ id, passkeys = [] }) =>
    passkeys.map(({ key: { x, y } }) => {
      const key = { kty: 'EC', crv: 'P-256', x, y } as const;
      const kid = passkeyThumbprint(key);
      return { ...key, kid, use: 'sig', alg: 'ES256', countersign_person: id } as const;
    }),
  );
}

/** Whose passkey it is, by the verifier's own key set. */
export type PasskeySet = {
  readonly find: (thumbprint: string) => { readonly person: string; readonly key: PasskeyJwk } | null;
};

/** The passkeys in a JWKS document, each under its own thumbprint, whatever `kid` it claims. */
export function passkeySetFromJwks(document: unknown): PasskeySet {
  const keys = isRecord(document) && Array.isArray(document['keys']) ? document['keys'] : [];
  const known = new Map<string, { readonly person: string; readonly key: PasskeyJwk } | null>();
  for (const jwk of keys) {
    const passkey = passkeyIn(jwk);
    if (passkey === null) continue;
    const thumbprint = passkeyThumbprint(passkey.key);
    const before = known.get(thumbprint);
    // One that two people have is nobody's.
    known.set(thumbprint, before === undefined || before?.person === passkey.person ? passkey : null);
  }
  return { find: (thumbprint) => known.get(thumbprint) ?? null };
}

function passkeyIn(jwk: unknown): { readonly person: string; readonly key: PasskeyJwk } | null {
  if (!isRecord(jwk)) return null;
  const { kty, crv, x, y, countersign_person: person } = jwk;
  if (kty !== 'EC' || crv !== 'P-256' || typeof x !== 'string' || typeof y !== 'string') return null;
  if (typeof person !== 'string' || person === '') return null;
  const key = { kty, crv, x, y } as const;
  return passkeyFault(key) === null ? { person, key } : null;
}

/** Canonical, so that a key has one thumbprint. */
function isCoordinate(text: string): boolean {
  return /^[A-Za-z0-9_-]{43}$/.test(text) && Buffer.from(text, 'base64url').toString('base64url') === text;
}
