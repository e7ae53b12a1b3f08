/**
 * Checkpoints in the forms of C2SP: a tlog-checkpoint in a signed-note, which people and programs of other logs can read
 * and witness, too. https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note
 */
import { createHash, createPublicKey, verify } from 'node:crypto';

/** The state of a log: this many leaves, under this root. */
export type TreeHead = {
  /** Names the log; the same in all its checkpoints. */
  readonly origin: string;
  readonly size: bigint;
  readonly root: Buffer;
};

export type NoteSignature = {
  readonly name: string;
  /** 4 bytes that name the key, hexadecimal. */
  readonly keyId: string;
  readonly signature: Buffer;
};

export type SignedCheckpoint = TreeHead & {
  /** What the signatures are over, UTF-8. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
};

/** Throws `RangeError` where the origin cannot stand in a note. */
export function checkpointText({ origin, size, root }: TreeHead): string {
  if (!ORIGIN.test(origin))
    throw new RangeError(`${JSON.stringify(origin)} cannot be an origin: no blanks, control characters or +`);
  return `${origin}\n${size}\n${root.toString('base64')}\n`;
}

/** A note of that text with one signature, by the Ed25519 key of the log, under the name of its origin. */
export function signedNote(text: string, name: string, publicKey: Buffer, signature: Buffer): string {
  const line = Buffer.concat([Buffer.from(keyIdOf(name, publicKey), 'hex'), signature]).toString('base64');
  return `${text}\n— ${name} ${line}\n`;
}

/** The first 4 bytes of SHA-256(name, newline, 0x01 for Ed25519, public key); hexadecimal. */
export function keyIdOf(name: string, publicKey: Buffer): string {
  const hash = createHash('sha256');
  hash.update(name).update(Buffer.of(0x0a, 0x01)).update(publicKey);
  return hash.digest('hex').slice(0, 8);
}

/** Whether the log's own signature (that under its origin's name) is by this Ed25519 key; `x` as in its JWK. */
export function isSignedWith({ origin, text, signatures }: SignedCheckpoint, x: string): boolean {
  const raw = Buffer.from(x, 'base64url');
  const id = keyIdOf(origin, raw);
  return signatures.some(({ name, keyId, signature }) => {
    if (name !== origin || keyId !== id || signature.length !== 64) return false;
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    return verify(null, Buffer.from(text), key, signature);
  });
}

/** Null: it is no signed checkpoint. Attacker-controlled. */
export function parseCheckpoint(note: string): SignedCheckpoint | null {
  const end = note.lastIndexOf('\n\n');
  if (end < 0 || note.length > MOST_CHARACTERS) return null;
  const text = note.slice(0, end + 1);
  const [origin = '', size = '', root = ''] = text.split('\n');
  const lines = note.slice(end + 2).split('\n');
  if (lines.pop() !== '' || lines.length === 0 || CONTROL.test(note)) return null;
  const signatures = lines.map(signatureOf);
  if (!ORIGIN.test(origin) || !/^(?:0|[1-9]\d{0,18})$/.test(size) || !BASE64_32.test(root)) return null;
  if (signatures.includes(null)) return null;
  return {
    origin,
    size: BigInt(size),
    root: Buffer.from(root, 'base64'),
    text,
    signatures: signatures as NoteSignature[],
  };
}

function signatureOf(line: string): NoteSignature | null {
  const [, name, encoded] = /^— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u.exec(line) ?? [];
  if (name === undefined || encoded === undefined) return null;
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.length < 5 || bytes.toString('base64') !== encoded) return null;
  return { name, keyId: bytes.toString('hex', 0, 4), signature: bytes.subarray(4) };
}

const MOST_CHARACTERS = 16_384;
const ORIGIN = /^[^\s+\p{Cc}]{1,200}$/u;
/** 32 bytes; the last character's spare bits are zero, so that each value has one form. */
const BASE64_32 = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f]/;
