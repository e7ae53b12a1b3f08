/** Public keys that a verifier was given, or found in the log: which of them count, for what, and until when. */
import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto';
import type { CheckSignature } from '../chain/chain.ts';
import { jwkThumbprint } from '../chain/thumbprint.ts';
import type { Finding } from './finding.ts';
import { passkeysIn, thumbprintOf } from './passkey-keys.ts';
import { checkEndorsement, type Keys, type StoredStream } from './verify.ts';

export type Jwks = {
  readonly keys: readonly Readonly<Record<string, unknown>>[];
  /** Keys that count only for what began before they were revoked, each with `revoked: {revoked_at}`. */
  readonly revoked?: readonly Readonly<Record<string, unknown>>[];
};

/** What is wrong with a key set that an installation's log shall be verified with; null: nothing. */
export function jwksProblem({ keys, revoked = [] }: Jwks): string | null {
  const all = [...keys, ...revoked];
  if (all.some((jwk) => PRIVATE.some((member) => Object.hasOwn(jwk, member))))
    return 'has a private or secret key in it: give the public ones, as /.well-known/jwks.json has them, and see who could read that one';
  return all.some(isEd25519) ? null : 'has no Ed25519 key of an installation in it';
}

/** Members of a JWK that only its owner may know (RFC 7518, section 6; RFC 8037). */
const PRIVATE = ['d', 'k', 'p', 'q', 'dp', 'dq', 'qi', 'oth'];

/** Streams' keys that the installation's keys endorse, and what is wrong with the others. */
export function trustIn(
  { keys: current, revoked: ended = [] }: Jwks,
  streams: readonly { readonly stored: StoredStream; readonly jwk: Jwk; readonly startedUs: bigint }[],
): { readonly keys: Keys; readonly known: readonly Jwk[]; readonly findings: readonly Finding[] } {
  const known = [...current, ...ended];
  const trusted = checker(known);
  const revokedAt = revocations([...current.filter((jwk) => 'revoked' in jwk), ...ended]);
  const findings: Finding[] = [];
  const endorsed = new Set<string>();
  for (const { stored, startedUs } of streams) {
    const finding = checkEndorsement(stored, { trusted }) ?? endorsedTooLate(stored, startedUs, revokedAt);
    if (finding === null) endorsed.add(stored.kid);
    else findings.push(finding);
  }
  const keys: Keys = {
    trusted,
    revoked: (kid, at) => Number(at) >= (revokedAt.get(kid) ?? Number.POSITIVE_INFINITY) * 1e6,
    passkeys: passkeysIn(known),
    ofStreams: checker(streams.map(({ jwk }) => jwk)),
    endorsed: (kid) => endorsed.has(kid),
  };
  return { keys, known, findings };
}

/** The installation's keys, as checkpoints' notes name them. */
export function noteKeys(known: readonly Jwk[]): readonly { readonly kid: string; readonly raw: Buffer }[] {
  return known.flatMap((jwk) =>
    isEd25519(jwk) ? [{ kid: jwkThumbprint(jwk), raw: Buffer.from(jwk.x, 'base64url') }] : [],
  );
}

export type Jwk = Readonly<Record<string, unknown>>;

/** A person's key is none of the installation's, of whatever kind it is. */
function isEd25519(
  jwk: Jwk,
): jwk is Jwk & { readonly kty: string; readonly crv: string; readonly x: string } {
  if ('countersign_person' in jwk) return false;
  return jwk['kty'] === 'OKP' && jwk['crv'] === 'Ed25519' && thumbprintOf(jwk) !== null;
}

/** Seconds since 1970 UTC by thumbprint; a key that does not say since when never counted. */
function revocations(revoked: readonly Jwk[]): ReadonlyMap<string, number> {
  const since = new Map<string, number>();
  for (const jwk of revoked) {
    const kid = thumbprintOf(jwk);
    const at: unknown = Reflect.get(Object(jwk['revoked']), 'revoked_at');
    const end = typeof at === 'number' ? at : Number.NEGATIVE_INFINITY;
    if (kid !== null) since.set(kid, Math.min(end, since.get(kid) ?? end));
  }
  return since;
}

/** A key counts under its own thumbprint only, whatever name it was given. Keys that are not Ed25519 are left out. */
function checker(jwks: readonly Jwk[]): CheckSignature {
  const keys = new Map<string, KeyObject>();
  for (const jwk of jwks) {
    if (!isEd25519(jwk)) continue;
    const { kty, crv, x } = jwk;
    try {
      const publicJwk: JsonWebKey = { kty, crv, x };
      keys.set(jwkThumbprint({ kty, crv, x }), createPublicKey({ key: publicJwk, format: 'jwk' }));
    } catch {
      // Not a point: no signature can be checked with it, which the checks will say.
    }
  }
  return (kid, bytes, signature) => {
    const key = keys.get(kid);
    return key === undefined ? null : verify(null, bytes, key, signature);
  };
}

/** Of a stream that says itself that it began after the key which endorses it was revoked. */
function endorsedTooLate(
  { stream, endorsedBy }: StoredStream,
  startedUs: bigint,
  revokedAt: ReadonlyMap<string, number>,
): Finding | null {
  const end = revokedAt.get(endorsedBy);
  if (end === undefined || Number(startedUs) < end * 1e6) return null;
  const detail = `the stream's key is endorsed by ${endorsedBy}, which was revoked before the stream began`;
  return { stream, seq: 1n, check: 'endorsement', ok: false, detail };
}
