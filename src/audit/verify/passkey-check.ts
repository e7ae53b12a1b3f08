import { sha256 } from '../chain/sha256.ts';
import { jsonOf } from './receipt-check.ts';

/** A passkey that the verifier knows for itself. */
export type TrustedPasskey = {
  /** Canonical id of the person whose it is. */
  readonly person: string;
  /** ECDSA over P-256 with SHA-256, in strict DER. */
  readonly isSigned: (bytes: Buffer, signature: Buffer) => boolean;
};

/**
 * What is wrong with the passkeys of a receipt (compact JWS, RFC 7515), whoever signed that; null: nothing. Each approver
 * who is not of assurance 1 or 2 must have signed the receipt's digest with a device of their own, which no key of the
 * installation can do in their place. Attacker-controlled: all of it. SQL's `passkey_problem` says the same.
 */
export function passkeyProblem(
  receipt: string,
  passkeys: (kid: string) => TrustedPasskey | null,
  revokedThen: (kid: string) => boolean = () => false,
): string | null {
  const parts = receipt.split('.');
  const claims = parts.length === 3 ? jsonOf(parts[1] ?? '') : null;
  const approvers = claims?.['approvers'];
  if (claims === null || !Array.isArray(approvers)) return null;
  for (const approver of approvers) {
    const problem = approverProblem(approver, claims['digest'], passkeys, revokedThen);
    if (problem !== null) return problem;
  }
  return null;
}

function approverProblem(
  approver: unknown,
  digest: unknown,
  passkeys: (kid: string) => TrustedPasskey | null,
  revokedThen: (kid: string) => boolean,
): string | null {
  const assurance = member(approver, 'assurance');
  if (assurance === 1 || assurance === 2) return null;
  const person = member(approver, 'person');
  const who = typeof person === 'string' ? person : '';
  const assertion = assertionIn(member(approver, 'facts'));
  if (assertion === null) return `assurance 3 of ${who} is claimed without an assertion of a passkey`;
  const { passkey: kid } = assertion;
  const passkey = passkeys(kid);
  if (passkey === null) return `the passkey of ${who} is not among the trusted ones: ${kid}`;
  if (passkey.person !== who) return `the passkey of ${who} is another person's, ${passkey.person}: ${kid}`;
  if (revokedThen(kid)) return `the passkey of ${who} was revoked by then: ${kid}`;
  const problem = assertionProblem(assertion, passkey, digest);
  return problem === null ? null : `the passkey of ${who}: ${problem}`;
}

type Assertion = {
  readonly passkey: string;
  readonly authenticatorData: string;
  readonly clientDataJSON: string;
  readonly signature: string;
};

function assertionIn(facts: unknown): Assertion | null {
  const passkey = member(facts, 'passkey');
  const authenticatorData = member(facts, 'authenticatorData');
  const clientDataJSON = member(facts, 'clientDataJSON');
  const signature = member(facts, 'signature');
  if (typeof passkey !== 'string' || typeof authenticatorData !== 'string') return null;
  if (typeof clientDataJSON !== 'string' || typeof signature !== 'string') return null;
  return { passkey, authenticatorData, clientDataJSON, signature };
}

/** WebAuthn Level 3, section 7.2. SQL's `assertion_problem` says the same, in the same order. */
function assertionProblem(assertion: Assertion, passkey: TrustedPasskey, digest: unknown): string | null {
  const data = bytesIn(assertion.authenticatorData, DATA_BYTES);
  const client = bytesIn(assertion.clientDataJSON, CLIENT_BYTES);
  const signature = bytesIn(assertion.signature, SIGNATURE_BYTES);
  const stated = client === null ? null : jsonOf(assertion.clientDataJSON);
  if (data === null || client === null || signature === null) return MALFORMED;
  if (stated === null || Array.isArray(stated)) return MALFORMED;
  const flags = data[32];
  if (flags === undefined || data.length < PLAIN_BYTES) return MALFORMED;
  // No key is attested when it signs; extensions are there if and only if the flag says so.
  if ((flags & ATTESTED) !== 0 || ((flags & EXTENDED) !== 0) !== data.length > PLAIN_BYTES) return MALFORMED;
  if (stated['type'] !== 'webauthn.get') return 'it was made for something else than signing';
  if (typeof digest !== 'string' || !/^[0-9a-f]{64}$/.test(digest)) return 'it signs another request';
  if (stated['challenge'] !== Buffer.from(digest, 'hex').toString('base64url'))
    return 'it signs another request';
  const host = siteOf(stated);
  if (host === null) return 'it was made on another site';
  if (!sha256(Buffer.from(host)).equals(data.subarray(0, 32))) return 'it was made for another site';
  if ((flags & USER_PRESENT) === 0) return 'nobody touched the device';
  if ((flags & USER_VERIFIED) === 0) return 'the device did not verify its user (PIN, fingerprint or face)';
  if (passkey.isSigned(Buffer.concat([data, sha256(client)]), signature)) return null;
  return 'the signature does not fit the passkey';
}

const MALFORMED = 'it is no assertion of a passkey';

/** Longest that is looked at, bytes: devices give 37, some 200, and 72. */
const DATA_BYTES = 2_048;
const CLIENT_BYTES = 4_096;
const SIGNATURE_BYTES = 80;
/** Of `authenticatorData` without extensions: rpIdHash, flags, signCount. */
const PLAIN_BYTES = 37;
const USER_PRESENT = 0x01;
const USER_VERIFIED = 0x04;
const ATTESTED = 0x40;
const EXTENDED = 0x80;

/** The host of the page that asked the device; null: none, or a page within another's, which is not the approval page. */
function siteOf({ origin, crossOrigin, topOrigin }: Readonly<Record<string, unknown>>): string | null {
  if (topOrigin !== undefined || (crossOrigin ?? false) !== false || typeof origin !== 'string') return null;
  return ORIGIN.exec(origin)?.[1] ?? null;
}

const ORIGIN = /^https?:\/\/([a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?)(?::[1-9][0-9]{0,4})?$/;

/** Bytes in the one encoding that they have; null for anything else, for none, and for more than `most`. */
function bytesIn(text: string, most: number): Buffer | null {
  if (text.length > 2 * most || !/^[A-Za-z0-9_-]+$/.test(text)) return null;
  const bytes = Buffer.from(text, 'base64url');
  return bytes.length <= most && bytes.toString('base64url') === text ? bytes : null;
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
