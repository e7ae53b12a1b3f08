/**
 * SCRAM-SHA-256, the server's side (RFC 5802, RFC 7677), without channel binding. All input is the client's.
 * The exchange for a user that does not exist goes through the same steps, with a verifier that no password fits.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { parseScramVerifier, SCRAM_ITERATIONS, type ScramVerifier } from '../config/scram-verifier.ts';

/** The client's SCRAM message is broken (08P01) or does not prove the password (28P01). */
export class ScramError extends Error {
  override readonly name = 'ScramError';
  readonly code: '08P01' | '28P01';
  constructor(code: '08P01' | '28P01', message: string) {
    super(message);
    this.code = code;
  }
}

/** Longest client message and nonce; Postgres takes what fits its 64 kB password packet. */
const MAX_MESSAGE = 4096;
const MAX_NONCE = 1024;

export type ScramExchange = {
  readonly serverFirst: string;
  /** Checks the proof; returns server-final-message. Throws `ScramError`. */
  readonly finish: (clientFinal: string) => string;
};

/**
 * Begins with client-first-message. `serverNonce`: 18 or more random bytes in base64. `verifier`: null for an
 * unknown user, whose salt is then made from `mockSecret`, so that it is the same each time.
 */
export function beginScram(
  clientFirst: string,
  user: string,
  verifier: string | null,
  serverNonce: string,
  mockSecret: Buffer,
  channelBindingOffered = false,
): ScramExchange {
  if (clientFirst.length > MAX_MESSAGE) throw new ScramError('08P01', 'malformed SCRAM message: too long');
  const match = /^([ny]|p=[^,]*),(a=[^,]*)?,(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+))(?:,.*)?$/s.exec(clientFirst);
  if (match === null) throw new ScramError('08P01', 'malformed SCRAM message');
  const [, flag, authzid, bare, clientNonce] = match;
  if (flag?.startsWith('p'))
    throw new ScramError('08P01', 'the client selected channel binding, which was not offered');
  // "y": the client can bind but believes that we cannot; true here, unless somebody stripped our offer.
  if (flag === 'y' && channelBindingOffered)
    throw new ScramError('28P01', 'SCRAM channel binding negotiation error');
  if (authzid !== undefined)
    throw new ScramError('08P01', 'client uses authorization identity, but it is not supported');
  if (clientNonce === undefined || bare === undefined || clientNonce.length > MAX_NONCE)
    throw new ScramError('08P01', 'malformed SCRAM message: nonce');
  const known = verifier === null ? null : parseScramVerifier(verifier);
  const used = known ?? mockVerifier(user, mockSecret);
  const nonce = clientNonce + serverNonce;
  const serverFirst = `r=${nonce},s=${used.salt.toString('base64')},i=${used.iterations}`;
  const gs2Header = clientFirst.slice(0, clientFirst.indexOf(bare));
  return {
    serverFirst,
    finish: (clientFinal) =>
      finishScram(clientFinal, { used, known: known !== null, nonce, gs2Header, bare, serverFirst }),
  };
}

type Context = {
  readonly used: ScramVerifier;
  readonly known: boolean;
  readonly nonce: string;
  readonly gs2Header: string;
  readonly bare: string;
  readonly serverFirst: string;
};

function finishScram(clientFinal: string, context: Context): string {
  if (clientFinal.length > MAX_MESSAGE) throw new ScramError('08P01', 'malformed SCRAM message: too long');
  const match = /^(c=([A-Za-z0-9+/=]+),r=([^,]+)(?:,.*?)?),p=([A-Za-z0-9+/=]+)$/s.exec(clientFinal);
  if (match === null) throw new ScramError('08P01', 'malformed SCRAM message');
  const [, withoutProof = '', binding = '', nonce = '', proofText = ''] = match;
  if (nonce !== context.nonce) throw new ScramError('08P01', 'invalid SCRAM response: nonce does not match');
  if (Buffer.from(binding, 'base64').toString('utf8') !== context.gs2Header)
    throw new ScramError('08P01', 'unexpected SCRAM channel-binding attribute in client-final-message');
  const proof = Buffer.from(proofText, 'base64');
  // Strict: `Buffer.from` takes loose base64, too.
  if (proof.length !== 32 || proof.toString('base64') !== proofText)
    throw new ScramError('08P01', 'malformed SCRAM message: proof');
  const authMessage = `${context.bare},${context.serverFirst},${withoutProof}`;
  const clientSignature = hmac(context.used.storedKey, authMessage);
  const clientKey = Buffer.alloc(32);
  for (let i = 0; i < 32; i++) clientKey[i] = (proof[i] ?? 0) ^ (clientSignature[i] ?? 0);
  const storedKey = createHash('sha256').update(clientKey).digest();
  const right = timingSafeEqual(storedKey, context.used.storedKey);
  if (!right || !context.known) throw new ScramError('28P01', 'password authentication failed');
  return `v=${hmac(context.used.serverKey, authMessage).toString('base64')}`;
}

/** For `beginScram`: known to nobody, and the same in every process with these agents, however often it starts. */
export function mockSecretOf(verifiers: readonly string[]): Buffer {
  if (verifiers.length === 0) return randomBytes(32);
  const hash = createHash('sha256').update('countersign unknown users');
  for (const verifier of verifiers) hash.update(`\0${verifier}`);
  return hash.digest();
}

function mockVerifier(user: string, secret: Buffer): ScramVerifier {
  const derive = (what: string) => createHmac('sha256', secret).update(`${what}:${user}`).digest();
  return {
    iterations: SCRAM_ITERATIONS,
    salt: derive('salt').subarray(0, 16),
    storedKey: derive('stored'),
    serverKey: derive('server'),
  };
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
