import { createHash, X509Certificate } from 'node:crypto';
import { signatureAlgorithmHashFromCertificate } from 'pg/lib/crypto/cert-signatures.js';

/**
 * The channel binding `tls-server-end-point` (RFC 5929, section 4): the hash of the server's own certificate, by the
 * hash of its signature algorithm, SHA-256 in place of MD5 and SHA-1. `pem`: the chain, the server's first. Null where
 * the algorithm has no such hash (Ed25519, Ed448): then no channel binding is offered.
 */
export function serverEndPoint(pem: string): Buffer | null {
  const { raw } = new X509Certificate(pem);
  if (isSignedWithEd25519(raw)) return null;
  try {
    const hash = signatureAlgorithmHashFromCertificate(raw);
    const used = hash === 'MD5' || hash === 'SHA-1' ? 'SHA-256' : hash;
    return createHash(used.replace(/^SHA-/, 'SHA')).update(raw).digest();
  } catch {
    return null;
  }
}

/** A certificate ends with the algorithm's identifier and a bit string of 64 bytes (RFC 8410); libpq knows no hash for it. */
function isSignedWithEd25519(raw: Buffer): boolean {
  return raw.subarray(-74, -64).toString('hex') === '300506032b6570034100';
}
