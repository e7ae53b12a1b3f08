/** The two ceremonies of WebAuthn, by the library: a passkey is made, and it signs. */

import { createHash } from 'node:crypto';
import type {
  AuthenticationResponseJSON,
  PublicKeyCredentialCreationOptionsJSON,
  RegistrationResponseJSON,
} from '@simplewebauthn/server';
import type { PasskeyAssertion } from '../approval/guard.ts';
import type { Passkey, PasskeyJwk } from '../config/config.ts';
import { challengeOf } from './assertion.ts';
import { isRecord } from './key-text.ts';
import { passkeyFault, type RelyingParty } from './passkey.ts';

/** COSE (RFC 9053): ECDSA with SHA-256. The only algorithm that is asked for and taken. */
const ES256 = -7;
/** COSE key parameters (RFC 9052, section 7; RFC 9053, section 7.1). */
const COSE = { kty: 1, alg: 3, crv: -1, x: -2, y: -3 } as const;
const COSE_EC2 = 2;
const COSE_P256 = 1;

/** Milliseconds that the browser gives its user. */
export const CEREMONY_MS = 120_000;

/** Longest answer of a browser that is looked at, characters. */
const ANSWER_CHARACTERS = 32_768;

// Loaded when the first passkey comes: most of what these packages can do is not used here.
const library = () => import('@simplewebauthn/server');
const helpers = () => import('@simplewebauthn/server/helpers');

/** What the browser of this person (their id) is asked to make. `known`: passkeys that they have already. */
export async function creationOptions(
  party: RelyingParty,
  person: string,
  known: readonly { readonly id: string }[],
  challenge: Uint8Array,
): Promise<PublicKeyCredentialCreationOptionsJSON> {
  const { generateRegistrationOptions } = await library();
  return generateRegistrationOptions({
    rpName: 'Countersign',
    rpID: party.id,
    userID: new Uint8Array(createHash('sha256').update(`countersign person ${person}`).digest()),
    userName: person,
    userDisplayName: person,
    challenge: new Uint8Array(challenge),
    timeout: CEREMONY_MS,
    attestationType: 'none',
    excludeCredentials: known.map(({ id }) => ({ id })),
    authenticatorSelection: { residentKey: 'preferred', userVerification: 'required' },
    supportedAlgorithmIDs: [ES256],
  });
}

/**
 * The passkey that a browser made (attacker-controlled JSON text), for a challenge of ours; null where it did not, with
 * its user verified, on our site. It may do nothing until it is in the configuration.
 */
export async function madePasskey(
  text: string,
  party: RelyingParty,
  isOurs: (challenge: string) => Promise<boolean>,
): Promise<Passkey | null> {
  const response = registrationIn(text);
  if (response === null) return null;
  const { verifyRegistrationResponse } = await library();
  try {
    const { verified, registrationInfo } = await verifyRegistrationResponse({
      response,
      expectedChallenge: isOurs,
      expectedOrigin: party.origin,
      expectedRPID: party.id,
      requireUserVerification: true,
      supportedAlgorithmIDs: [ES256],
    });
    if (!verified || registrationInfo === undefined) return null;
    const { id, publicKey } = registrationInfo.credential;
    const key = await jwkOf(publicKey);
    return key === null || passkeyFault(key) !== null ? null : { id, key };
  } catch {
    // The library throws for whatever does not fit.
    return null;
  }
}

/** The library's judgement of an assertion; ours is `assertionFault`, and both must agree. */
export async function libraryAccepts(
  assertion: PasskeyAssertion,
  passkey: Passkey,
  digest: string,
  party: RelyingParty,
): Promise<boolean> {
  const { id, authenticatorData, clientDataJSON, signature } = assertion;
  const response: AuthenticationResponseJSON = {
    id,
    rawId: id,
    type: 'public-key',
    response: { authenticatorData, clientDataJSON, signature },
    clientExtensionResults: {},
  };
  const { verifyAuthenticationResponse } = await library();
  try {
    const { verified } = await verifyAuthenticationResponse({
      response,
      expectedChallenge: challengeOf(digest),
      expectedOrigin: party.origin,
      expectedRPID: party.id,
      requireUserVerification: true,
      credential: { id: passkey.id, publicKey: await coseOf(passkey.key), counter: 0 },
    });
    return verified;
  } catch {
    return false;
  }
}

function registrationIn(text: string): RegistrationResponseJSON | null {
  if (text.length > ANSWER_CHARACTERS) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (!isRecord(value) || !isRecord(value['response'])) return null;
    const { id, rawId } = value;
    const { clientDataJSON, attestationObject } = value['response'];
    if (typeof id !== 'string' || typeof rawId !== 'string') return null;
    if (typeof clientDataJSON !== 'string' || typeof attestationObject !== 'string') return null;
    return {
      id,
      rawId,
      type: 'public-key',
      response: { clientDataJSON, attestationObject },
      clientExtensionResults: {},
    };
  } catch {
    return null;
  }
}

async function jwkOf(cose: Uint8Array<ArrayBuffer>): Promise<PasskeyJwk | null> {
  const { isoCBOR } = await helpers();
  const key: unknown = isoCBOR.decodeFirst(cose);
  if (!(key instanceof Map) || key.get(COSE.kty) !== COSE_EC2 || key.get(COSE.crv) !== COSE_P256) return null;
  const [x, y]: readonly unknown[] = [key.get(COSE.x), key.get(COSE.y)];
  if (!(x instanceof Uint8Array) || !(y instanceof Uint8Array)) return null;
  const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url');
  return { kty: 'EC', crv: 'P-256', x: text(x), y: text(y) };
}

async function coseOf({ x, y }: PasskeyJwk): Promise<Uint8Array<ArrayBuffer>> {
  const { isoCBOR } = await helpers();
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64url'));
  const members: [number, number | Uint8Array][] = [
    [COSE.kty, COSE_EC2],
    [COSE.alg, ES256],
    [COSE.crv, COSE_P256],
    [COSE.x, bytes(x)],
    [COSE.y, bytes(y)],
  ];
  return isoCBOR.encode(new Map(members));
}
