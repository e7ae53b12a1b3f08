/** What a passkey has signed (WebAuthn Level 3, section 7.2), verified offline: a digest, a key, and nothing else. */
import { createHash, verify } from 'node:crypto';
import type { PasskeyAssertion } from '../approval/guard.ts';
import type { PasskeyJwk } from '../config/config.ts';
import { isRecord } from './key-text.ts';
import { publicKeyOf, type RelyingParty } from './passkey.ts';

/** The assertion as a receipt has it: base64url each; `passkey` is the thumbprint of the key. */
export type RecordedAssertion = Omit<PasskeyAssertion, 'id'> & { readonly passkey: string };

const FACTS = ['passkey', 'authenticatorData', 'clientDataJSON', 'signature'] as const;

/** Which check failed; in words: `assertionWords`. */
export type AssertionFault =
  | 'malformed'
  | 'type'
  | 'challenge'
  | 'origin'
  | 'relying_party'
  | 'presence'
  | 'verification'
  | 'signature';

export function assertionWords(fault: AssertionFault): string {
  const words: Readonly<Record<AssertionFault, string>> = {
    malformed: 'it is no assertion of a passkey',
    type: 'it was made for something else than signing',
    challenge: 'it signs another request',
    origin: 'it was made on another site',
    relying_party: 'it was made for another site',
    presence: 'nobody touched the device',
    verification: 'the device did not verify its user (PIN, fingerprint or face)',
    signature: 'the signature does not fit the passkey',
  };
  return words[fault];
}

/** What of the facts of a verdict is the assertion; null: there is none. */
export function recordedAssertion(facts: Readonly<Record<string, string>>): RecordedAssertion | null {
  const { passkey, authenticatorData, clientDataJSON, signature } = facts;
  if (passkey === undefined || authenticatorData === undefined) return null;
  if (clientDataJSON === undefined || signature === undefined) return null;
  return { passkey, authenticatorData, clientDataJSON, signature };
}

/** Facts that only the guard states. */
export function withoutAssertion(facts: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(facts).filter(([name]) => !FACTS.some((one) => one === name)));
}

/** A WebAuthn challenge in `clientDataJSON`: the request's digest (hex), as base64url. */
export function challengeOf(digest: string): string {
  return Buffer.from(digest, 'hex').toString('base64url');
}

/**
 * Null: `key` has signed exactly the request with this digest (hex), for this relying party, with its user present and
 * verified. `party` null, where the verifier does not know it: then the site is whichever the assertion names, and must
 * be the one that the device was asked for. Attacker-controlled: the assertion. Signature counters are not compared: an
 * assertion is good for one digest, whatever the counter says.
 */
export function assertionFault(
  assertion: Omit<PasskeyAssertion, 'id'>,
  key: PasskeyJwk,
  digest: string,
  party: RelyingParty | null,
): AssertionFault | null {
  const data = bytesIn(assertion.authenticatorData, DATA_BYTES);
  const client = bytesIn(assertion.clientDataJSON, CLIENT_BYTES);
  const signature = bytesIn(assertion.signature, SIGNATURE_BYTES);
  const stated = client === null ? null : statedBy(client);
  if (data === null || client === null || signature === null || stated === null) return 'malformed';
  if (!isAuthenticatorData(data)) return 'malformed';
  if (stated['type'] !== 'webauthn.get') return 'type';
  if (stated['challenge'] !== challengeOf(digest)) return 'challenge';
  const site = siteOf(stated, party);
  if (site === null) return 'origin';
  if (!sha256(Buffer.from(site)).equals(data.subarray(0, 32))) return 'relying_party';
  const flags = data[32] ?? 0;
  if ((flags & USER_PRESENT) === 0) return 'presence';
  if ((flags & USER_VERIFIED) === 0) return 'verification';
  const signed = Buffer.concat([data, sha256(client)]);
  return isSignedBy(key, signed, signature) ? null : 'signature';
}

/** The origin that an assertion names, once `assertionFault` has nothing against it. */
export function siteIn({ clientDataJSON }: Pick<PasskeyAssertion, 'clientDataJSON'>): string {
  const origin = statedBy(Buffer.from(clientDataJSON, 'base64url'))?.['origin'];
  return typeof origin === 'string' ? origin : '';
}

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

/** Only the canonical form: of the same bytes there is one text. */
function bytesIn(text: string, most: number): Buffer | null {
  if (text.length > 2 * most || !/^[A-Za-z0-9_-]+$/.test(text)) return null;
  const bytes = Buffer.from(text, 'base64url');
  return bytes.length <= most && bytes.toString('base64url') === text ? bytes : null;
}

/** Keys are attested when they are made, never when they sign. */
function isAuthenticatorData(data: Buffer): boolean {
  if (data.length < PLAIN_BYTES) return false;
  const flags = data[32] ?? 0;
  return (flags & ATTESTED) === 0 && ((flags & EXTENDED) !== 0) === data.length > PLAIN_BYTES;
}

function statedBy(client: Buffer): Readonly<Record<string, unknown>> | null {
  try {
    const stated: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(client));
    return isRecord(stated) ? stated : null;
  } catch {
    return null;
  }
}

/** The host that the device must have been asked for; null: another site, or a page within another's. */
function siteOf(stated: Readonly<Record<string, unknown>>, party: RelyingParty | null): string | null {
  const { origin, crossOrigin, topOrigin } = stated;
  if ((crossOrigin ?? false) !== false || topOrigin !== undefined) return null;
  if (typeof origin !== 'string' || !URL.canParse(origin) || new URL(origin).origin !== origin) return null;
  if (party === null) return new URL(origin).hostname;
  return origin === party.origin ? party.id : null;
}

function isSignedBy(key: PasskeyJwk, signed: Buffer, signature: Buffer): boolean {
  try {
    return verify('sha256', signed, { key: publicKeyOf(key), dsaEncoding: 'der' }, signature);
  } catch {
    return false;
  }
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}
