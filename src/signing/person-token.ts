/** A person's JWT (OpenID Connect, RFC 9068): who it is, and how and when they logged in. Attacker-controlled. */
import type { JWTVerifyGetKey } from 'jose';
import type { PersonJwt } from '../config/config.ts';
import type { Limits } from '../config/limits.ts';
import { payloadCheck, TokenRefused } from './agent-token.ts';
import { issuerKeys } from './issuer-keys.ts';

export type PersonToken = {
  readonly subject: string;
  /** Only one that the issuer says it has verified. */
  readonly email: string | null;
  /** Every name that the token has for the person, verified or not: for forbidding. */
  readonly names: readonly string[];
  /** When the person last proved who they are, milliseconds since 1970; null: the token does not say. */
  readonly authenticatedAt: number | null;
  /** How, in the issuer's words. */
  readonly acr: string | null;
  readonly amr: readonly string[];
  readonly id: string | null;
  /** When it ends, milliseconds since 1970, clock skew included. */
  readonly until: number;
};

/** Verifies one token. Rejects with `TokenRefused`, or `KeysUnavailable` when nothing can be verified. */
export type PersonTokenCheck = (token: string) => Promise<PersonToken>;

/** Types of tokens that say who somebody is; others (proofs, log-outs) may be signed by the same keys. */
const TYPES = new Set(['', 'jwt', 'at+jwt', 'application/at+jwt']);

/** Claims of tokens with which somebody acts for another: an agent's, whoever else they name. */
const DELEGATION = ['act', 'may_act', 'on_behalf_of'] as const;

/** Claims in which identity providers have other names of a person. */
const NAMES = ['email', 'preferred_username', 'upn', 'unique_name', 'oid'] as const;

export function personTokenCheck(
  auth: Pick<PersonJwt, 'issuer' | 'audience' | 'algorithms' | 'keys' | 'kind' | 'clients'>,
  limits: Limits,
  keys: JWTVerifyGetKey = issuerKeys(auth.keys, limits),
): PersonTokenCheck {
  const verified = payloadCheck(auth, limits, keys);
  return async (token) => {
    const { payload, protectedHeader } = await verified(token);
    const { sub, exp, jti } = payload;
    if (typeof sub !== 'string' || sub === '' || typeof exp !== 'number')
      throw new TokenRefused('sub and exp are needed');
    if (!TYPES.has((protectedHeader.typ ?? '').toLowerCase()))
      throw new TokenRefused('it is of another type than tokens of people');
    if (DELEGATION.some((claim) => payload[claim] !== undefined && payload[claim] !== null))
      throw new TokenRefused('it is for acting on behalf of somebody');
    if (!isOfClient(auth.clients, [payload['azp'], payload['client_id']]))
      throw new TokenRefused('another client asked for it than those of the configuration');
    const { email, email_verified, auth_time, acr, amr } = payload;
    const names = [sub, ...NAMES.map((claim) => payload[claim])];
    return {
      subject: sub,
      email: typeof email === 'string' && email !== '' && email_verified === true ? email : null,
      names: names.filter((one) => typeof one === 'string'),
      authenticatedAt: typeof auth_time === 'number' ? auth_time * 1000 : null,
      acr: typeof acr === 'string' ? acr : null,
      amr: Array.isArray(amr) ? amr.filter((one) => typeof one === 'string') : [],
      id: typeof jti === 'string' ? jti : null,
      until: exp * 1000 + limits.tokenClockSkewMs,
    };
  };
}

/** Every client that it names, and at least one. */
function isOfClient(clients: readonly string[] | null, named: readonly unknown[]): boolean {
  if (clients === null) return true;
  const given = named.filter((one) => one !== undefined);
  return given.length > 0 && given.every((one) => typeof one === 'string' && clients.includes(one));
}
