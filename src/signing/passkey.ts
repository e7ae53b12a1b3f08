/** Passkeys: public keys of people's own devices (WebAuthn Level 3, ES256 alone), which the configuration names. */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import type { Passkey, PasskeyJwk, RetiredPasskey } from '../config/config.ts';
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
  return people.flatMap(({ id, passkeys = [] }) => passkeys.map(({ key }) => publishedAs(id, key)));
}

/** As they are published among what is revoked: they verify what was signed before. */
export function publishedRetired(retired: readonly RetiredPasskey[]): readonly (PublishedPasskey & {
  readonly revoked: { readonly revoked_at: number; readonly reason: string };
})[] {
  return retired.map(({ person, key, retiredAt }) => ({
    ...publishedAs(person, key),
    revoked: { revoked_at: retiredAt, reason: 'superseded' },
  }));
}

function publishedAs(person: string, { x, y }: PasskeyJwk): PublishedPasskey {
  const key = { kty: 'EC', crv: 'P-256', x, y } as const;
  return { ...key, kid: passkeyThumbprint(key), use: 'sig', alg: 'ES256', countersign_person: person };
}

/** Whose passkey it is, by the verifier's own key set. */
export type PasskeySet = {
  readonly find: (thumbprint: string) => KnownPasskey | null;
};
export type KnownPasskey = {
  readonly person: string;
  readonly key: PasskeyJwk;
  /** Seconds since 1970 UTC, from which on it counts no more; null: it counts still. */
  readonly retiredAt: number | null;
};

/**
 * The passkeys in a JWKS document, each under its own thumbprint, whatever `kid` it claims. One that is among the revoked
 * ones counts until then, and never where they do not say since when.
 */
export function passkeySetFromJwks(document: unknown): PasskeySet {
  const known = new Map<string, KnownPasskey | null>();
  for (const [jwk, revoked] of [...keysOf(document, 'keys'), ...keysOf(document, 'revoked')]) {
    const passkey = passkeyIn(jwk);
    if (passkey === null) continue;
    const thumbprint = passkeyThumbprint(passkey.key);
    const before = known.get(thumbprint);
    const retiredAt = earlier(before?.retiredAt ?? null, revoked ? revokedAt(jwk) : null);
    // One that two people have is nobody's.
    const same = before === undefined || before?.person === passkey.person;
    known.set(thumbprint, same ? { ...passkey, retiredAt } : null);
  }
  return { find: (thumbprint) => known.get(thumbprint) ?? null };
}

function keysOf(document: unknown, member: 'keys' | 'revoked'): readonly (readonly [unknown, boolean])[] {
  const keys = isRecord(document) && Array.isArray(document[member]) ? document[member] : [];
  return keys.map((jwk) => [jwk, member === 'revoked' || (isRecord(jwk) && 'revoked' in jwk)] as const);
}

function revokedAt(jwk: unknown): number {
  const revoked = isRecord(jwk) ? jwk['revoked'] : undefined;
  const at = isRecord(revoked) ? revoked['revoked_at'] : undefined;
  return typeof at === 'number' ? at : Number.NEGATIVE_INFINITY;
}

function earlier(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.min(a, b);
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
