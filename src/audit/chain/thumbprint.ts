import { createHash } from 'node:crypto';

/** RFC 7638 thumbprint (SHA-256, base64url) of an OKP key. */
export function jwkThumbprint(jwk: Readonly<Record<string, unknown>>): string {
  const members = JSON.stringify({ crv: jwk['crv'], kty: jwk['kty'], x: jwk['x'] });
  return createHash('sha256').update(members).digest('base64url');
}
