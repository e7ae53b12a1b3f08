/**
 * SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side (RFC 5802, RFC 7677), as Postgres' auth-scram.c has it. All
 * input is the client's.
 * The exchange for a user that does not exist goes through the same steps, with a verifier that no password fits.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { parseScramVerifier, SCRAM_ITERATIONS, type ScramVerifier } from '../config/scram-verifier.ts';

/**
 * The client's SCRAM message is broken (08P01), does not prove the password (28P01), or was not meant for this channel
 * (28000): somebody may stand in between.
 */
export class ScramError extends Error {
  override readonly name = 'ScramError';
  readonly code: ScramErrorCode;
  constructor(code: ScramErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

type ScramErrorCode = '08P01' | '28P01' | '28000';

/** Whether the channel is bound, as the mechanism says that the client selected. */
export type ChannelBinding =
  /** SCRAM-SHA-256; `offered`: the client could have had the other. */
  | { readonly kind: 'none'; readonly offered: boolean }
  /** SCRAM-SHA-256-PLUS; `endPoint`: what `tls-server-end-point` is on our side. */
  | { readonly kind: 'bound'; readonly endPoint: Buffer };

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
  channel: ChannelBinding = { kind: 'none', offered: false },
): ScramExchange {
  if (clientFirst.length > MAX_MESSAGE) throw new ScramError('08P01', 'malformed SCRAM message: too long');
  const match = /^([ny]|p=[^,]*),(a=[^,]*)?,(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+))(?:,.*)?$/s.exec(clientFirst);
  if (match === null) throw new ScramError('08P01', 'malformed SCRAM message');
  const [, flag, authzid, bare, clientNonce] = match;
  checkFlag(flag ?? '', channel);
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
      finishScram(clientFinal, { used, known: known !== null, nonce, gs2Header, bare, serverFirst, channel }),
  };
}

function checkFlag(flag: string, channel: ChannelBinding): void {
  if (flag.startsWith('p')) {
    if (channel.kind === 'none')
      throw new ScramError(
        '08P01',
        'malformed SCRAM message: channel binding data without SCRAM-SHA-256-PLUS',
      );
    if (flag !== 'p=tls-server-end-point')
      throw new ScramError('08P01', 'unsupported SCRAM channel-binding type');
  } else if (channel.kind === 'bound')
    throw new ScramError('08P01', 'malformed SCRAM message: SCRAM-SHA-256-PLUS without channel binding data');
  // "y": the client can bind but believes that we cannot. Somebody stripped our offer.
  else if (flag === 'y' && channel.offered)
    throw new ScramError('28000', 'SCRAM channel binding negotiation error');
}

function checkBinding(binding: string, context: Context): void {
  const { channel } = context;
  const header = Buffer.from(context.gs2Header);
  const wanted = channel.kind === 'bound' ? Buffer.concat([header, channel.endPoint]) : header;
  if (binding === wanted.toString('base64')) return;
  throw channel.kind === 'bound'
    ? new ScramError('28000', 'SCRAM channel binding check failed')
    : new ScramError('08P01', 'unexpected SCRAM channel-binding attribute in client-final-message');
}

type Context = {
  readonly used: ScramVerifier;
  readonly known: boolean;
  readonly nonce: string;
  readonly gs2Header: string;
  readonly bare: string;
  readonly serverFirst: string;
  readonly channel: ChannelBinding;
};

function finishScram(clientFinal: string, context: Context): string {
  if (clientFinal.length > MAX_MESSAGE) throw new ScramError('08P01', 'malformed SCRAM message: too long');
  const match = /^(c=([A-Za-z0-9+/=]+),r=([^,]+)(?:,.*?)?),p=([A-Za-z0-9+/=]+)$/s.exec(clientFinal);
  if (match === null) throw new ScramError('08P01', 'malformed SCRAM message');
  const [, withoutProof = '', binding = '', nonce = '', proofText = ''] = match;
  // As in Postgres, the channel comes first.
  checkBinding(binding, context);
  if (nonce !== context.nonce) throw new ScramError('08P01', 'invalid SCRAM response: nonce does not match');
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

/**
 * For `beginScram`, from secrets of the configuration: known to nobody, and the same in every process with these,
 * however often it starts.
 */
export function mockSecretOf(secrets: readonly string[]): Buffer {
  if (secrets.length === 0) return randomBytes(32);
  const hash = createHash('sha256').update('countersign unknown users');
  for (const secret of secrets) hash.update(`\0${secret}`);
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
