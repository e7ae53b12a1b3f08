import { type Directory, resolvePerson } from '../../approval/eligibility.ts';
import type { Identity } from '../../approval/guard.ts';
import type { PersonJwt, Scope } from '../../config/config.ts';
import { claimedBy, TokenRefused } from '../../signing/agent-token.ts';
import { KeysUnavailable } from '../../signing/issuer-keys.ts';
import type { PersonToken, PersonTokenCheck } from '../../signing/person-token.ts';
import { type Caller, type Credential, PERSON_SCOPES, type PersonTokens } from './credentials.ts';

/** Tokens of the people's issuer as credentials. */
export function personTokens(
  jwt: PersonJwt,
  verify: PersonTokenCheck,
  directory: Directory,
  now: () => number = Date.now,
): PersonTokens {
  return async (token): Promise<Credential | null> => {
    if (claimedBy(token)?.issuer !== jwt.issuer) return null;
    try {
      return callerOf(jwt, directory, await verify(token), now());
    } catch (error) {
      if (error instanceof TokenRefused)
        return { kind: 'refused', code: 'token_refused', why: `The token is not taken: ${error.message}.` };
      if (error instanceof KeysUnavailable)
        return {
          kind: 'refused',
          code: 'issuer_unavailable',
          why: "The issuer's keys cannot be had at the moment, so no token of it is taken.",
        };
      throw error;
    }
  };
}

function callerOf(jwt: PersonJwt, directory: Directory, token: PersonToken, nowMs: number): Caller {
  const identities = identitiesOf(jwt.issuer, directory, token);
  return {
    kind: 'caller',
    identities,
    alsoKnownAs: [...token.names, `${jwt.issuer}#${token.subject}`],
    name: `token:${jwt.issuer}#${token.subject}`,
    scopes: scopesOf(jwt, directory, identities),
    assurance: isFresh(jwt, token, nowMs) ? 2 : 1,
    facts: {
      issuer: jwt.issuer,
      subject: token.subject,
      ...(token.id === null ? {} : { jti: token.id }),
      ...(token.acr === null ? {} : { acr: token.acr }),
    },
    until: token.until,
  };
}

/**
 * The subject, where somebody has it, and with it the address that the issuer verified: both must then be of one person.
 * The address alone counts for whoever has no subject of this issuer in the configuration: addresses change hands.
 */
function identitiesOf(
  issuer: string,
  directory: Directory,
  { subject, email }: PersonToken,
): readonly Identity[] {
  const bySubject: Identity = { kind: 'oidc', value: `${issuer}#${subject}` };
  if (email === null) return [bySubject];
  const byEmail: Identity = { kind: 'email', value: email };
  const addressed = resolvePerson(directory, [byEmail]);
  if (addressed.kind === 'nobody') return [bySubject];
  if (resolvePerson(directory, [bySubject]).kind !== 'nobody') return [bySubject, byEmail];
  const elsewhere =
    addressed.kind === 'person' && addressed.person.oidc.some((known) => known.startsWith(`${issuer}#`));
  return [elsewhere ? bySubject : byEmail];
}

function scopesOf(
  { auditors }: PersonJwt,
  directory: Directory,
  identities: readonly Identity[],
): readonly Scope[] {
  const resolved = resolvePerson(directory, identities);
  if (resolved.kind !== 'person') return PERSON_SCOPES;
  const { id, groups } = resolved.person;
  return auditors.some((name) => name === id || groups.includes(name))
    ? [...PERSON_SCOPES, 'audit']
    : PERSON_SCOPES;
}

/** A log-in that the configuration calls sure, and not longer ago than it says. */
function isFresh({ freshLogin }: PersonJwt, token: PersonToken, nowMs: number): boolean {
  const { authenticatedAt, acr, amr } = token;
  if (freshLogin === null || authenticatedAt === null) return false;
  const sure =
    (acr !== null && freshLogin.acr.includes(acr)) || amr.some((one) => freshLogin.amr.includes(one));
  // Of the future is a clock that goes wrong, which says nothing about how old the log-in is.
  const age = nowMs - authenticatedAt;
  return sure && age >= -SKEW_MS && age <= freshLogin.maxAgeMs;
}

const SKEW_MS = 30_000;
