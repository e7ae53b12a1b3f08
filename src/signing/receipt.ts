import { CompactSign, compactVerify, errors } from 'jose';
import * as z from 'zod';
import type { KnownKey } from './key-directory.ts';
import type { Signer } from './key-text.ts';
import type { KeySet } from './keys.ts';

const hex64 = z.string().regex(/^[0-9a-f]{64}$/);

const approverSchema = z.strictObject({
  /** Canonical id in the configuration. */
  person: z.string().min(1),
  channel: z.string(),
  /** What the channel proved, `kind:value` each. */
  ids: z.array(z.string()),
  assurance: z.literal([1, 2, 3]),
  /** Seconds since 1970 UTC. */
  at: z.int(),
  reason: z.string().nullable(),
  facts: z.record(z.string(), z.string()),
});

const claimsSchema = z.strictObject({
  iss: z.literal('countersign'),
  /** The request's id. */
  request: z.string(),
  /** The binding digest (DESIGN.md, section 10), hex. */
  digest: hex64,
  sqlSha256: hex64,
  parametersSha256: hex64,
  agent: z.string(),
  approvers: z.array(approverSchema).min(1),
  policyDigest: z.string(),
  limits: z.strictObject({ rows: z.int().nullable(), bytes: z.int().nullable() }),
  nonce: z.string(),
  /** Seconds since 1970 UTC, by the database's clock. */
  iat: z.int(),
  exp: z.int(),
});

/** What a receipt says: this request, about exactly these bytes, was approved by these people. */
export type ReceiptClaims = z.infer<typeof claimsSchema>;
export type ReceiptApprover = z.infer<typeof approverSchema>;

export type ReceiptCode =
  | 'receipt_malformed'
  | 'receipt_algorithm'
  | 'receipt_unknown_key'
  | 'receipt_key_revoked'
  | 'receipt_key_retired'
  | 'receipt_signature'
  | 'receipt_expired'
  | 'receipt_mismatch';

export class ReceiptError extends Error {
  override readonly name = 'ReceiptError';
  readonly code: ReceiptCode;
  constructor(code: ReceiptCode, message: string) {
    super(message);
    this.code = code;
  }
}

const ALGORITHM = 'EdDSA';
const TYPE = 'countersign-receipt+jws';

/** A JWS in compact form (RFC 7515) with EdDSA over Ed25519 (RFC 8037). */
export async function signReceipt(claims: ReceiptClaims, signer: Signer): Promise<string> {
  const payload = new TextEncoder().encode(JSON.stringify(claimsSchema.parse(claims)));
  return new CompactSign(payload)
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: signer.kid })
    .sign(signer.privateKey);
}

/**
 * What a receipt says, and the key of `keys` that signed it, which may be revoked: for people who look at what was
 * approved once. The token is attacker-controlled: it may name a key of ours and nothing else; keys that it carries or
 * links to are an error. Throws `ReceiptError`.
 */
export async function readReceipt(token: string, keys: KeySet): Promise<SignedReceipt> {
  const { payload, key } = await verifiedPayload(token, keys);
  return { claims: parseClaims(payload), key };
}
export type SignedReceipt = { readonly claims: ReceiptClaims; readonly key: KnownKey };

/**
 * The claims of a receipt that can be acted on: as `readReceipt`, and its key is not revoked. `nowSeconds` (of the
 * database's clock): and it has not expired, and a key that was retired signed it before that and not longer ago than
 * receipts live. Null: time is not looked at. Throws `ReceiptError`.
 */
export async function verifyReceipt(
  token: string,
  keys: KeySet,
  nowSeconds: number | null,
  lifetimeSeconds = Number.POSITIVE_INFINITY,
): Promise<ReceiptClaims> {
  const { claims, key } = await readReceipt(token, keys);
  // Whatever time it claims: who had the key could write any.
  if (key.revocation !== null)
    throw new ReceiptError('receipt_key_revoked', 'the key that signed the receipt is revoked');
  if (nowSeconds === null) return claims;
  if (claims.exp <= nowSeconds) throw new ReceiptError('receipt_expired', 'the receipt has expired');
  const { retiredAt } = key;
  if (retiredAt === null) return claims;
  const late = claims.iat > retiredAt + CLOCKS_SECONDS;
  if (late || nowSeconds > retiredAt + CLOCKS_SECONDS + lifetimeSeconds)
    throw new ReceiptError(
      'receipt_key_retired',
      'the key that signed the receipt had been replaced by then',
    );
  return claims;
}

/** How far apart the clocks of the key directory's machine (rotation) and of the database (receipts) may be. */
export const CLOCKS_SECONDS = 300;

/** The facts that the releasing code knows for itself, to be compared with the receipt's, each by name. */
export type ReceiptFacts = Pick<
  ReceiptClaims,
  'request' | 'digest' | 'sqlSha256' | 'parametersSha256' | 'agent' | 'policyDigest' | 'nonce'
>;

/** Throws `ReceiptError` that names the first fact in which the receipt is about something else. */
export function requireSameFacts(claims: ReceiptClaims, facts: ReceiptFacts): void {
  // The digest comes last: it covers the others, whose names say more.
  const names = [
    'request',
    'sqlSha256',
    'parametersSha256',
    'agent',
    'policyDigest',
    'nonce',
    'digest',
  ] as const;
  const different = names.find((name) => claims[name] !== facts[name]);
  if (different !== undefined) {
    throw new ReceiptError('receipt_mismatch', `the receipt is for another statement: ${different} differs`);
  }
}

async function verifiedPayload(
  token: string,
  keys: KeySet,
): Promise<{ readonly payload: Uint8Array; readonly key: KnownKey }> {
  let used: KnownKey | null = null;
  try {
    const { payload } = await compactVerify(
      token,
      async (header) => {
        if (header.alg !== ALGORITHM || header.typ !== TYPE) {
          throw new ReceiptError('receipt_algorithm', 'the receipt must be EdDSA and of our type');
        }
        if (['jwk', 'jku', 'x5c', 'x5u', 'crit', 'b64'].some((name) => name in header)) {
          throw new ReceiptError('receipt_malformed', 'the receipt brings keys or extensions of its own');
        }
        const key = typeof header.kid === 'string' ? await keys.find(header.kid) : null;
        if (key === null)
          throw new ReceiptError('receipt_unknown_key', 'the receipt is signed by no key of ours');
        used = key;
        return key.key;
      },
      { algorithms: [ALGORITHM] },
    );
    if (used === null)
      throw new ReceiptError('receipt_unknown_key', 'the receipt is signed by no key of ours');
    return { payload, key: used };
  } catch (error) {
    throw asReceiptError(error);
  }
}

function asReceiptError(error: unknown): unknown {
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return new ReceiptError('receipt_signature', 'the signature does not fit the receipt');
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return new ReceiptError('receipt_algorithm', 'the receipt must be EdDSA and of our type');
  }
  if (error instanceof errors.JOSEError || error instanceof TypeError) {
    return new ReceiptError('receipt_malformed', 'not a receipt: a compact JWS is expected');
  }
  return error;
}

function parseClaims(payload: Uint8Array): ReceiptClaims {
  try {
    return claimsSchema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)));
  } catch {
    throw new ReceiptError('receipt_malformed', 'the receipt is signed but its claims are not as expected');
  }
}
