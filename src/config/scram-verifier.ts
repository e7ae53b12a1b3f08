import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';

/** What a server keeps instead of a password (RFC 5803); it proves a password, it cannot be used as one. */
export type ScramVerifier = {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
};

/** Postgres' own default (scram_iterations). */
export const SCRAM_ITERATIONS = 4096;
/** Work that one log-in attempt may cost us; about 0.1 s. */
const MAX_ITERATIONS = 1_000_000;
const KEY_BYTES = 32;

/**
 * The verifier of a password in pg_authid's form, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`
 * (RFC 5802, section 3; RFC 7677). `salt` is 16 random bytes of the caller's. Passwords of printable ASCII are taken
 * as they are; others are normalised to NFKC, which is SASLprep (RFC 4013) for all but its rarer prohibitions.
 */
export function makeScramVerifier(password: string, salt: Buffer, iterations = SCRAM_ITERATIONS): string {
  const salted = pbkdf2Sync(prepared(password), salt, iterations, KEY_BYTES, 'sha256');
  const storedKey = createHash('sha256').update(hmac(salted, 'Client Key')).digest();
  const serverKey = hmac(salted, 'Server Key');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey.toString('base64')}:${serverKey.toString('base64')}`;
}

/** Reads pg_authid's form; null for anything else. The text may be a password in the wrong place: never print it. */
export function parseScramVerifier(text: string): ScramVerifier | null {
  const match = /^SCRAM-SHA-256\$(\d{1,7}):([^$:]+)\$([^$:]+):([^$:]+)$/.exec(text);
  if (match === null) return null;
  const iterations = Number(match[1]);
  const [salt, storedKey, serverKey] = [match[2], match[3], match[4]].map((part) => base64(part ?? ''));
  if (!salt || !storedKey || !serverKey) return null;
  if (storedKey.length !== KEY_BYTES || serverKey.length !== KEY_BYTES) return null;
  if (iterations < 1 || iterations > MAX_ITERATIONS) return null;
  return { iterations, salt, storedKey, serverKey };
}

function prepared(password: string): string {
  return /^[\x20-\x7e]*$/.test(password) ? password : password.normalize('NFKC');
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

/** Strict: `Buffer.from` would skip what is not base64. */
function base64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.length > 0 && bytes.toString('base64') === text ? bytes : null;
}
