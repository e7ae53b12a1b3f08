import { createPublicKey, type JsonWebKey } from 'node:crypto';

/** RFC 7518, section 3.3. */
const MIN_RSA_BITS = 2048;

/** Why a JWK is no public key to check signatures with (null: it is one); `secret`: it holds what must not be known. */
export function publicKeyFault(
  key: Readonly<Record<string, unknown>>,
): { readonly secret: boolean; readonly problem: string } | null {
  if (['d', 'k', 'p', 'q'].some((member) => member in key))
    return { secret: true, problem: 'is private or symmetric: expected public keys' };
  try {
    const { asymmetricKeyDetails } = createPublicKey({ key: key as JsonWebKey, format: 'jwk' });
    const bits = asymmetricKeyDetails?.modulusLength;
    if (bits === undefined || bits >= MIN_RSA_BITS) return null;
    return { secret: false, problem: `has ${bits} bits; expected ${MIN_RSA_BITS} or more` };
  } catch {
    return { secret: false, problem: 'is no RSA, EC or Ed25519 key in JWK form (RFC 7517)' };
  }
}
