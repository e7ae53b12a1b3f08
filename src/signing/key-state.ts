import type { KnownKey, Revocation } from './key-directory.ts';
import { KeyError, type PrivateKey, type PublicJwk } from './key-text.ts';

/** A public key as it is published; `revoked` in the form of OpenID Federation 1.0, section 8.7. */
export type PublishedJwk = PublicJwk & {
  readonly nbf?: number;
  readonly retired_at?: number;
  readonly revoked?: { readonly revoked_at: number; readonly reason: string };
};

/**
 * RFC 7517, section 5. Revoked keys are beside `keys`, in a member that other programs pass over: what does not know of
 * revocation must not believe them.
 */
export type PublishedKeys = {
  readonly keys: readonly PublishedJwk[];
  readonly revoked?: readonly PublishedJwk[];
};

export type KeyState = ReturnType<typeof keyState>;

/** What one process knows of the installation's keys. A revocation that it heard of stays. */
export function keyState() {
  let own: readonly PrivateKey[] = [];
  let known = new Map<string, KnownKey>();
  /** Outlives every reading of the directory. */
  const distrusted = new Map<string, Revocation>();

  const trusted = (kid: string) => (known.get(kid)?.revocation ?? null) === null;
  return {
    /** `signing` in the order of their age; `others` verify, or are revoked. */
    set: (signing: readonly PrivateKey[], others: readonly KnownKey[]): void => {
      const next = new Map<string, KnownKey>();
      signing.forEach(({ kid, key, jwk, madeAt }, at) => {
        const retiredAt = signing[at + 1]?.madeAt ?? null;
        next.set(kid, { kid, key, jwk, notBefore: madeAt, retiredAt, revocation: null });
      });
      for (const key of others) next.set(key.kid, { ...next.get(key.kid), ...key });
      for (const [kid, revocation] of distrusted) {
        const key = next.get(kid);
        if (key !== undefined) next.set(kid, { ...key, revocation: earlier(key.revocation, revocation) });
      }
      own = signing;
      known = next;
    },
    distrust: (kid: string, revocation: Revocation): void => {
      distrusted.set(kid, earlier(distrusted.get(kid) ?? null, revocation));
      const key = known.get(kid);
      if (key !== undefined) known.set(kid, { ...key, revocation: earlier(key.revocation, revocation) });
    },
    signing: (): PrivateKey | null => own.findLast(({ kid }) => trusted(kid)) ?? null,
    find: (kid: string): KnownKey | null => known.get(kid) ?? null,
    known: (kid: string): KnownKey => {
      const key = known.get(kid);
      if (key === undefined) throw new KeyError('key_unknown', `there is no key ${kid}`);
      return key;
    },
    all: (): readonly KnownKey[] => [...known.values()],
  };
}

function earlier(one: Revocation | null, other: Revocation): Revocation {
  if (one === null) return other;
  const worse = one.reason === 'compromised' ? one.reason : other.reason;
  return { at: Math.min(one.at, other.at), reason: worse };
}

/** What `/.well-known/jwks.json` says of these keys. */
export function published(all: readonly KnownKey[]): PublishedKeys {
  const jwks = all.map(({ jwk, notBefore, retiredAt, revocation }) => ({
    ...jwk,
    ...(notBefore === null ? {} : { nbf: notBefore }),
    ...(retiredAt === null ? {} : { retired_at: retiredAt }),
    ...(revocation === null ? {} : { revoked: { revoked_at: revocation.at, reason: revocation.reason } }),
  }));
  const revoked = jwks.filter((jwk) => 'revoked' in jwk);
  return {
    keys: jwks.filter((jwk) => !('revoked' in jwk)),
    ...(revoked.length === 0 ? {} : { revoked }),
  };
}
