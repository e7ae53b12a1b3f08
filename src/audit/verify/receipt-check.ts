import type { CheckSignature } from '../chain/chain.ts';

/** `typ` of the header, as src/signing/receipt.ts writes it; part of what is signed. */
const TYPE = 'countersign-receipt+jws';

/**
 * What is wrong with the receipt (compact JWS, RFC 7515) that a row about a request has; null: nothing, a trusted key
 * signed it for that request, and was not revoked by then. Attacker-controlled. SQL's `receipt_problem` says the same.
 */
export function receiptProblem(
  receipt: string,
  requestId: string | null,
  trusted: CheckSignature,
  revokedThen: (kid: string) => boolean = () => false,
): string | null {
  const parts = receipt.split('.');
  const [head = '', body = '', signature = ''] = parts;
  const header = jsonOf(head);
  const claims = jsonOf(body);
  if (parts.length !== 3 || header === null || claims === null) return 'the receipt is none';
  if (header['alg'] !== 'EdDSA' || header['typ'] !== TYPE) return 'the receipt is none';
  const kid = typeof header['kid'] === 'string' ? header['kid'] : '';
  const ok = trusted(kid, Buffer.from(`${head}.${body}`), Buffer.from(signature, 'base64url'));
  if (ok === null) return `the receipt is signed with a key that is not among the trusted ones: ${kid}`;
  if (!ok) return 'the signature does not fit the receipt';
  if (revokedThen(kid)) return `the receipt is signed with a key that was revoked by then: ${kid}`;
  if (claims['request'] !== requestId) return `the receipt is for another request: ${claims['request']}`;
  return null;
}

/** A part of a JWS as what it says; null: it is no JSON object. */
export function jsonOf(part: string): Record<string, unknown> | null {
  if (!/^[A-Za-z0-9_-]+$/.test(part)) return null;
  try {
    const value: unknown = JSON.parse(
      new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(part, 'base64url')),
    );
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
