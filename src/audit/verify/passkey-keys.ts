import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { jwkThumbprint } from '../chain/thumbprint.ts';
import type { TrustedPasskey } from './passkey-check.ts';

type Jwk = Readonly<Record<string, unknown>>;

/** The passkeys in a key set, by thumbprint, whatever name it gives them. One that two people have is nobody's. */
export function passkeysIn(jwks: readonly Jwk[]): (kid: string) => TrustedPasskey | null {
  const known = new Map<string, TrustedPasskey | null>();
  for (const jwk of jwks) {
    const person = jwk['countersign_person'];
    const kid = jwk['kty'] === 'EC' ? thumbprintOf(jwk) : null;
    if (kid === null || typeof person !== 'string' || person === '') continue;
    const before = known.get(kid);
    const same = before === undefined || before?.person === person;
    known.set(kid, same ? { person, isSigned: checkOf(jwk) } : null);
  }
  return (kid) => known.get(kid) ?? null;
}

/** RFC 7638 thumbprint of a key of a kind that is used here; null: of another kind. SQL's `jwk_thumbprint`. */
export function thumbprintOf(jwk: Jwk): string | null {
  const { kty, crv, x, y } = jwk;
  if (typeof x !== 'string') return null;
  if (kty === 'OKP' && crv === 'Ed25519') return /^[A-Za-z0-9_-]{43}$/.test(x) ? jwkThumbprint(jwk) : null;
  if (kty !== 'EC' || crv !== 'P-256' || typeof y !== 'string') return null;
  return COORDINATE.test(x) && COORDINATE.test(y) ? ecThumbprint(x, y) : null;
}

/** 32 bytes in their one encoding: the last character has four bits of them. */
const COORDINATE = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

function ecThumbprint(x: string, y: string): string {
  const members = `{"crv":"P-256","kty":"EC","x":"${x}","y":"${y}"}`;
  return createHash('sha256').update(members).digest('base64url');
}

function checkOf({ x, y }: Jwk): TrustedPasskey['isSigned'] {
  const key = pointOf(String(x), String(y));
  return (bytes, signature) => {
    if (key === null) return false;
    return verify('sha256', bytes, { key, dsaEncoding: 'der' }, signature);
  };
}

/** Null: no point of the curve; no signature fits it. */
function pointOf(x: string, y: string): KeyObject | null {
  try {
    return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });
  } catch {
    return null;
  }
}
