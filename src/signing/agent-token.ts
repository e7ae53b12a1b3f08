/** An agent's JWT (RFC 7519): who it is, for whom it works, in which run. The token is attacker-controlled. */
import {
  decodeJwt,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyResult,
  jwtVerify,
} from 'jose';
import type { JwtAuth } from '../config/config.ts';
import type { Limits } from '../config/limits.ts';
import { issuerKeys, KeysUnavailable } from './issuer-keys.ts';

export type VerifiedToken = {
  readonly subject: string;
  /** The person it acts for: `act.sub` or `on_behalf_of`. */
  readonly onBehalfOf: string | null;
  readonly run: string | null;
  /** When it ends, milliseconds since 1970, clock skew included. */
  readonly until: number;
};

/** The token is not taken. The message says why, without quoting it. */
export class TokenRefused extends Error {
  override readonly name = 'TokenRefused';
  readonly code = 'token_refused';
}

/** Verifies one token. Rejects with `TokenRefused`, or `KeysUnavailable` when nothing can be verified. */
export type TokenCheck = (token: string) => Promise<VerifiedToken>;

/**
 * Verifies signature (algorithms of the list, keys of the issuer alone), `iss`, `aud`, `exp`, `nbf` and `sub`. Claims
 * about people that cannot be understood refuse the token: ignoring them would let its person approve its requests.
 */
export function tokenCheck(
  auth: JwtAuth,
  limits: Limits,
  keys: JWTVerifyGetKey = issuerKeys(auth.keys, limits),
): TokenCheck {
  const verified = payloadCheck(auth, limits, keys);
  return async (token) => readClaims((await verified(token)).payload, limits.tokenClockSkewMs);
}

/** What every token of an issuer must stand up to. Rejects as `TokenCheck` does. */
export function payloadCheck(
  { issuer, audience, algorithms }: JwtAuth,
  limits: Limits,
  keys: JWTVerifyGetKey,
): (token: string) => Promise<JWTVerifyResult> {
  const clockTolerance = limits.tokenClockSkewMs / 1000;
  return (token) =>
    jwtVerify(token, keys, {
      issuer,
      audience,
      algorithms: [...algorithms],
      requiredClaims: ['exp', 'sub'],
      clockTolerance,
    }).catch((error: unknown) => {
      throw error instanceof KeysUnavailable ? error : new TokenRefused(why(error));
    });
}

/** Whose hands a token claims to be in, without verifying anything: for refusing only. */
export type Claimed = {
  readonly issuer: string | null;
  /** Who it is of, which client asked for it (OpenID Connect, RFC 9068), and who acts with it (RFC 8693). */
  readonly parties: readonly string[];
};

/** Null for what is no JWT. */
export function claimedBy(token: string): Claimed | null {
  try {
    const { iss, sub, azp, client_id, act } = decodeJwt<{
      azp?: unknown;
      client_id?: unknown;
      act?: unknown;
    }>(token);
    const actor: unknown = typeof act === 'object' && act !== null && 'sub' in act ? act.sub : undefined;
    const parties = [sub, azp, client_id, actor].filter((claim) => typeof claim === 'string');
    return { issuer: typeof iss === 'string' ? iss : null, parties };
  } catch {
    return null;
  }
}

function readClaims(payload: JWTPayload, skewMs: number): VerifiedToken {
  const { sub, exp } = payload;
  if (typeof sub !== 'string' || typeof exp !== 'number') throw new TokenRefused('sub and exp are needed');
  const actor = actorOf(payload['act']);
  const named = shortText('on_behalf_of', payload['on_behalf_of']);
  if (actor !== null && named !== null && actor !== named)
    throw new TokenRefused('act.sub and on_behalf_of name two people');
  return {
    subject: sub,
    onBehalfOf: actor ?? named,
    run: shortText('run', payload['run']),
    until: exp * 1000 + skewMs,
  };
}

/** RFC 8693, section 4.1; a chain of actors names more people than can be kept from approving. */
function actorOf(act: unknown): string | null {
  if (act === undefined || act === null) return null;
  if (typeof act !== 'object' || !('sub' in act)) throw new TokenRefused('act has no sub');
  if ('act' in act) throw new TokenRefused('act holds a chain of actors; one is expected');
  return shortText('act.sub', act.sub);
}

/** Longest claim that is recorded, characters; an e-mail address has at most 254. */
const CLAIM = 256;

function shortText(claim: string, value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string' || value.trim() === '' || value.length > CLAIM || /\p{Cc}/u.test(value))
    throw new TokenRefused(`${claim} is not a text of 1 to ${CLAIM} characters`);
  return value;
}

/** For the client and the log: which check failed, in words of ours. */
function why(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'it has expired';
  if (error instanceof errors.JWTClaimValidationFailed)
    return error.reason === 'missing'
      ? `it has no ${CLAIMS.get(error.claim) ?? 'claim that is needed'}`
      : error.claim === 'nbf'
        ? 'it is not valid yet'
        : `its ${CLAIMS.get(error.claim) ?? 'claims'} is not the expected one`;
  if (error instanceof errors.JOSEAlgNotAllowed) return 'its algorithm is not allowed';
  if (error instanceof errors.JWKSNoMatchingKey) return 'its issuer has no such key';
  if (error instanceof errors.JWKSMultipleMatchingKeys) return 'it does not say which key signed it (kid)';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'its signature is wrong';
  return 'it is no token that can be verified';
}

const CLAIMS = new Map(['iss', 'aud', 'sub', 'exp', 'nbf', 'iat'].map((claim) => [claim, claim]));
