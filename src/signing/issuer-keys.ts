import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type JSONWebKeySet,
  type JWK,
  type JWTVerifyGetKey,
} from 'jose';
import type { KeySource } from '../config/config.ts';
import type { Limits } from '../config/limits.ts';

/** An issuer's keys cannot be had at the moment: nothing can be verified, so nobody is let in. */
export class KeysUnavailable extends Error {
  override readonly name = 'KeysUnavailable';
  readonly code = 'issuer_keys_unavailable';
}

/**
 * Looks up the key of a token's header in its issuer's set. A fetched set is cached for `jwksMaxAgeMs`, then fetched
 * again; an unknown `kid` (rotation) fetches at once, but not within `jwksCooldownMs` of the last fetch. Rejects with
 * `KeysUnavailable` when the set cannot be fetched, with jose's errors when no key, or more than one, fits.
 */
export function issuerKeys(source: KeySource, limits: Limits): JWTVerifyGetKey {
  if (source.kind === 'set') return createLocalJWKSet({ keys: source.keys as readonly JWK[] as JWK[] });
  const remote = createRemoteJWKSet(new URL(source.url), {
    timeoutDuration: limits.jwksFetchMs,
    cooldownDuration: limits.jwksCooldownMs,
    cacheMaxAge: limits.jwksMaxAgeMs,
    [customFetch]: boundedFetch(limits),
  });
  return async (header, token) => {
    try {
      return await remote(header, token);
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys)
        throw error;
      // A key of the set that cannot be used is the token's misfortune, not the set's.
      if (remote.fresh && !(error instanceof KeysUnavailable) && !(error instanceof errors.JWKSTimeout))
        throw error;
      throw new KeysUnavailable(`the keys at ${source.url} cannot be fetched`, { cause: error });
    }
  };
}

/** Fetches at most `jwksBytes`, without following redirects, and not again right after a failure. */
function boundedFetch(limits: Limits) {
  let failedAt = Number.NEGATIVE_INFINITY;
  return async (
    url: string,
    options: Omit<RequestInit, 'headers'> & { headers: Headers },
  ): Promise<Response> => {
    if (performance.now() - failedAt < limits.jwksRetryMs)
      throw new KeysUnavailable('the last fetch has just failed');
    try {
      const response = await fetch(url, { ...options, redirect: 'error' });
      if (response.status !== 200) throw new KeysUnavailable(`status ${response.status}`);
      const text = await boundedText(response, limits.jwksBytes);
      const { keys } = JSON.parse(text) as Partial<JSONWebKeySet>;
      if (!Array.isArray(keys)) throw new KeysUnavailable('it is no key set');
      return new Response(text, { status: 200 });
    } catch (error) {
      failedAt = performance.now();
      throw error;
    }
  };
}

async function boundedText(response: Response, limit: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > limit) throw new KeysUnavailable(`it is longer than ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
