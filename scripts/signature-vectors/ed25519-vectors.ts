import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import type { Vector } from './vector.ts';

const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const MESSAGE = Buffer.from('Countersign: a batch of rows');

function littleEndian(n: bigint): Buffer {
  return Buffer.from(n.toString(16).padStart(64, '0'), 'hex').reverse();
}

function numberOf(bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
}

const SEED = createHash('sha256').update('vectors: key').digest();
const PRIVATE = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), SEED]),
  format: 'der',
  type: 'pkcs8',
});
const KEY = Buffer.from(createPublicKey(PRIVATE).export({ format: 'jwk' }).x ?? '', 'base64url');
const GOOD = sign(null, MESSAGE, PRIVATE);
const R = GOOD.subarray(0, 32);
const S = numberOf(GOOD.subarray(32));
const SIGN = 2n ** 255n;

function vector(
  name: string,
  valid: boolean,
  signature: Buffer,
  key: Buffer = KEY,
  stricter?: string,
): Vector {
  return {
    name,
    valid,
    key: key.toString('hex'),
    message: MESSAGE.toString('hex'),
    signature: signature.toString('hex'),
    ...(stricter === undefined ? {} : { stricter }),
  };
}

const withS = (s: bigint) => Buffer.concat([R, littleEndian(s)]);
const withR = (r: Buffer) => Buffer.concat([r, GOOD.subarray(32)]);

export function ed25519Vectors(): readonly Vector[] {
  return [
    vector('a good signature', true, GOOD),
    { ...vector('another message', false, GOOD), message: '00' },
    ...lengths(),
    ...scalars(),
    ...points(),
    ...smallOrder(),
  ];
}

function lengths(): Vector[] {
  return [
    vector('empty', false, Buffer.alloc(0)),
    vector('R alone', false, R),
    vector('a byte short', false, GOOD.subarray(0, -1)),
    vector('a byte long', false, Buffer.concat([GOOD, Buffer.of(0)])),
    vector('twice', false, Buffer.concat([GOOD, GOOD])),
    vector('R and S exchanged', false, Buffer.concat([GOOD.subarray(32), R])),
    vector('zeros', false, Buffer.alloc(64)),
    vector('ones', false, Buffer.alloc(64, 0xff)),
    vector('the key is empty', false, GOOD, Buffer.alloc(0)),
    vector('the key is a byte short', false, GOOD, KEY.subarray(0, -1)),
    vector('the key is a byte long', false, GOOD, Buffer.concat([KEY, Buffer.of(0)])),
  ];
}

/** S must be below the order: S plus the order would be a second signature of the same. */
function scalars(): Vector[] {
  const special: readonly (readonly [string, bigint])[] = [
    ['0', 0n],
    ['1', 1n],
    ['S - 1', S - 1n],
    ['S + 1', S + 1n],
    ['the order - 1', ORDER - 1n],
    ['the order', ORDER],
    ['the order + 1', ORDER + 1n],
    ['S + the order', S + ORDER],
    ['S + twice the order', S + 2n * ORDER],
    ['S + 8 times the order', S + 8n * ORDER],
    ['S + 15 times the order', (S % 2n ** 252n) + 15n * ORDER],
    ['the order - S', ORDER - S],
    ['2^252', 2n ** 252n],
    ['2^253', 2n ** 253n],
    ['2^255', 2n ** 255n],
    ['2^256 - 1', 2n ** 256n - 1n],
    ['S with its highest bit', S + SIGN],
  ];
  return special.map(([name, s]) => vector(`S is ${name}`, false, withS(s)));
}

function points(): Vector[] {
  const r = numberOf(R);
  const key = numberOf(KEY);
  const others: readonly (readonly [string, bigint])[] = [
    ['0', 0n],
    ['1', 1n],
    ['2, which is no point', 2n],
    ['p - 1', P - 1n],
    ['p', P],
    ['p + 1', P + 1n],
    ['2^255 - 1', SIGN - 1n],
    ['2^256 - 1', 2n ** 256n - 1n],
  ];
  return [
    vector('R with the other sign', false, withR(littleEndian(r ^ SIGN))),
    vector('R with one bit changed', false, withR(littleEndian(r ^ 1n))),
    vector('the key with the other sign', false, GOOD, littleEndian(key ^ SIGN)),
    ...others.map(([name, y]) => vector(`R is ${name}`, false, withR(littleEndian(y)))),
    ...others.map(([name, y]) => vector(`the key is ${name}`, false, GOOD, littleEndian(y))),
  ];
}

/** Of the eight points of small order, that many times the first of order 8, and whether this is their one encoding. */
type Small = {
  readonly name: string;
  readonly bytes: Buffer;
  readonly index: number;
  readonly canonical: boolean;
};

/** Points of small order as keys: what they "sign" depends on the message's hash, or on nothing at all. */
function smallOrder(): Vector[] {
  const eight = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
  const small: readonly Small[] = [
    { name: 'the neutral element', bytes: littleEndian(1n), index: 0, canonical: true },
    { name: 'of order 2', bytes: littleEndian(P - 1n), index: 4, canonical: true },
    { name: 'of order 4', bytes: littleEndian(0n), index: 2, canonical: true },
    { name: 'of order 4, with a sign', bytes: littleEndian(SIGN), index: 6, canonical: true },
    { name: 'of order 8', bytes: littleEndian(eight), index: 1, canonical: true },
    { name: 'of order 8, with a sign', bytes: littleEndian(eight + SIGN), index: 7, canonical: true },
    { name: 'of order 8, the other y', bytes: littleEndian(P - eight), index: 3, canonical: true },
    { name: 'the neutral element, plus p', bytes: littleEndian(P + 1n), index: 0, canonical: false },
    { name: 'of order 4, plus p', bytes: littleEndian(P), index: 2, canonical: false },
    { name: 'the neutral element, signed', bytes: littleEndian(1n + SIGN), index: 0, canonical: false },
    { name: 'of order 2, signed', bytes: littleEndian(P - 1n + SIGN), index: 4, canonical: false },
  ];
  return small.flatMap((key) =>
    small.map((r) => {
      const holds = r.canonical && r.index === (8 - ((hashOf(r.bytes, key.bytes) * key.index) % 8)) % 8;
      const name = `S is 0, the key is ${key.name}, R is ${r.name}`;
      const why = 'the key has another encoding, which is the one that we take';
      const signature = Buffer.concat([r.bytes, littleEndian(0n)]);
      return vector(
        name,
        holds && key.canonical,
        signature,
        key.bytes,
        holds && !key.canonical ? why : undefined,
      );
    }),
  );
}

/** The hash that the key is multiplied with, mod 8. */
function hashOf(r: Buffer, key: Buffer): number {
  const hash = createHash('sha512').update(r).update(key).update(MESSAGE).digest();
  return Number((BigInt(`0x${hash.reverse().toString('hex')}`) % ORDER) % 8n);
}
