import { createHmac } from 'node:crypto';

/** What a Standard Webhooks secret begins with; base64 of 24 to 64 bytes follows. */
const PREFIX = 'whsec_';
const LEAST_BYTES = 24;
const MOST_BYTES = 64;

/** The key in a secret; null where it is none (standardwebhooks.com, "Symmetric" signatures). */
export function secretBytes(secret: string): Buffer | null {
  const encoded = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : '';
  const bytes = Buffer.from(encoded, 'base64');
  const exact = bytes.toString('base64') === encoded;
  return exact && bytes.length >= LEAST_BYTES && bytes.length <= MOST_BYTES ? bytes : null;
}

/**
 * The headers of one attempt: `webhook-signature` is HMAC-SHA256 over `id.timestamp.body`, one for each secret, the
 * newest first: while a secret is changed, receivers that know either one are content. `seconds`: since 1970 UTC.
 */
export function signedHeaders(
  id: string,
  seconds: number,
  body: string,
  keys: readonly Buffer[],
): Readonly<Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string>> {
  const signatures = keys.map(
    (key) => `v1,${createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64')}`,
  );
  return {
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': signatures.join(' '),
  };
}
