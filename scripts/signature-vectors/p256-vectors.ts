import { createHash } from 'node:crypto';
import {
  add,
  bytes32,
  encodedPoint,
  finite,
  G,
  inverse,
  mod,
  N,
  negative,
  P,
  type Point,
  pointAt,
  power,
  times,
} from './p256-curve.ts';
import type { Vector } from './vector.ts';

const MESSAGE = Buffer.from('Countersign: a request digest');
const E = BigInt(`0x${createHash('sha256').update(MESSAGE).digest('hex')}`);
/** A private key and a secret number, as good as any. */
const D = BigInt(`0x${createHash('sha256').update('vectors: key').digest('hex')}`) % N;
const K = BigInt(`0x${createHash('sha256').update('vectors: nonce').digest('hex')}`) % N;
const Q = finite(times(D, G));

/** DER of an INTEGER, in the shortest form. */
function integer(n: bigint): Buffer {
  let text = n.toString(16);
  if (text.length % 2 === 1) text = `0${text}`;
  const body = Buffer.from(text, 'hex');
  const positive = (body[0] ?? 0) > 127 ? Buffer.concat([Buffer.of(0), body]) : body;
  return tagged(2, positive);
}

function tagged(tag: number, ...content: Buffer[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length > 127) return Buffer.concat([Buffer.of(tag, 0x81, body.length), body]);
  return Buffer.concat([Buffer.of(tag, body.length), body]);
}

const der = (r: bigint, s: bigint) => tagged(0x30, integer(r), integer(s));

function signature(d: bigint, k: bigint): { r: bigint; s: bigint } {
  const r = mod(finite(times(k, G)).x, N);
  return { r, s: mod(inverse(k, N) * (E + r * d), N) };
}

function vector(name: string, valid: boolean, sig: Buffer, key: Buffer = encodedPoint(Q)): Vector {
  return {
    name,
    valid,
    key: key.toString('hex'),
    message: MESSAGE.toString('hex'),
    signature: sig.toString('hex'),
  };
}

const { r: R, s: S } = signature(D, K);
const GOOD = der(R, S);

export function p256Vectors(): readonly Vector[] {
  return [
    vector('a good signature', true, GOOD),
    vector('n - s in place of s', true, der(R, N - S)),
    { ...vector('another message', false, GOOD), message: Buffer.from('another').toString('hex') },
    { ...vector('an empty message with this signature', false, GOOD), message: '' },
    vector('r and s exchanged', false, der(S, R)),
    ...numbers(),
    ...encodings(),
    ...keys(),
    ...chosenKeys(),
    ...chosenMultipliers(),
    ...nearTheOrder(),
    offTheCurve(),
  ];
}

/** Every pair with a number that none may have, or that is no signature's. */
function numbers(): Vector[] {
  const special: readonly (readonly [string, bigint])[] = [
    ['0', 0n],
    ['1', 1n],
    ['2', 2n],
    ['n - 1', N - 1n],
    ['n', N],
    ['n + 1', N + 1n],
    ['p', P],
    ['p + 1', P + 1n],
    ['2^256 - 1', 2n ** 256n - 1n],
    ['2^256', 2n ** 256n],
  ];
  return [
    ...special.flatMap(([rName, r]) =>
      special.map(([sName, s]) => vector(`r is ${rName}, s is ${sName}`, false, der(r, s))),
    ),
    ...special.map(([name, s]) => vector(`s is ${name}`, false, der(R, s))),
    ...special.map(([name, r]) => vector(`r is ${name}`, false, der(r, S))),
    vector('r + n', false, der(R + N, S)),
    vector('s + n', false, der(R, S + N)),
    vector('n - r', false, der(N - R, S)),
    vector('r is negative', false, tagged(0x30, tagged(2, minus(R)), integer(S))),
    vector('s is negative', false, tagged(0x30, integer(R), tagged(2, minus(S)))),
    vector('r is -1', false, tagged(0x30, tagged(2, Buffer.of(0xff)), integer(S))),
  ];
}

/** Two's complement in 33 bytes. */
function minus(n: bigint): Buffer {
  return Buffer.from((2n ** 264n - n).toString(16), 'hex');
}

/** The same numbers in other forms. */
function encodings(): Vector[] {
  const r = integer(R);
  const s = integer(S);
  const body = Buffer.concat([r, s]);
  const long = (bytes: Buffer, at: number) =>
    Buffer.concat([bytes.subarray(0, at), Buffer.of(0x81), bytes.subarray(at)]);
  const set = (at: number, value: number) => {
    const copy = Buffer.from(GOOD);
    copy.writeUInt8(value, at);
    return copy;
  };
  const zero = (n: bigint) => tagged(2, Buffer.of(0), integer(n).subarray(2));
  const bad: readonly (readonly [string, Buffer])[] = [
    ['empty', Buffer.alloc(0)],
    ['one byte', Buffer.of(0x30)],
    ['an empty sequence', Buffer.of(0x30, 0)],
    ['r and s as 64 bytes', Buffer.concat([bytes32(R), bytes32(S)])],
    ['72 zeros', Buffer.alloc(72)],
    ['without the sequence', body],
    ['r alone', tagged(0x30, r)],
    ['three numbers', tagged(0x30, r, s, integer(1n))],
    ['with a null in it', tagged(0x30, r, s, Buffer.of(5, 0))],
    ['with a zero byte after it', Buffer.concat([GOOD, Buffer.of(0)])],
    ['with a zero byte in it', tagged(0x30, r, s, Buffer.of(0))],
    ['with end-of-contents', Buffer.concat([Buffer.of(0x30, 0x80), body, Buffer.of(0, 0)])],
    ['long form of the length', long(GOOD, 1)],
    ['longer form of the length', Buffer.concat([Buffer.of(0x30, 0x82, 0, body.length), body])],
    ['a length of 2^32', Buffer.concat([Buffer.of(0x30, 0x85, 1, 0, 0, 0, body.length), body])],
    ['long form of r’s length', tagged(0x30, long(r, 1), s)],
    ['long form of s’s length', tagged(0x30, r, long(s, 1))],
    ['length one too many', set(1, body.length + 1)],
    ['length one too few', set(1, body.length - 1)],
    ['length 0', set(1, 0)],
    ['length 255', set(1, 255)],
    ['r’s length one too many', set(3, (r[1] ?? 0) + 1)],
    ['r’s length one too few', set(3, (r[1] ?? 0) - 1)],
    ['r’s length 255', set(3, 255)],
    ['s’s length one too many', set(2 + r.length + 1, (s[1] ?? 0) + 1)],
    ['s’s length one too few', set(2 + r.length + 1, (s[1] ?? 0) - 1)],
    ['a zero in front of r', tagged(0x30, tagged(2, Buffer.of(0), r.subarray(2)), s)],
    ['a zero in front of s', tagged(0x30, r, tagged(2, Buffer.of(0), s.subarray(2)))],
    ['r of no bytes', tagged(0x30, tagged(2), s)],
    ['s of no bytes', tagged(0x30, r, tagged(2))],
    ['r is a zero of two bytes', tagged(0x30, tagged(2, Buffer.of(0, 0)), s)],
    ['r of 40 zeros and itself', tagged(0x30, tagged(2, Buffer.alloc(40), r.subarray(2)), s)],
    ['set in place of sequence', set(0, 0x31)],
    ['a sequence that is not constructed', set(0, 0x10)],
    ['an octet string in place of r', set(2, 4)],
    ['a bit string in place of s', set(2 + r.length, 3)],
    ['r with a context tag', set(2, 0x82)],
    ['the last byte is missing', GOOD.subarray(0, -1)],
    ['the first byte is missing', GOOD.subarray(1)],
    ['the half of it', GOOD.subarray(0, GOOD.length >> 1)],
    ['twice', Buffer.concat([GOOD, GOOD])],
    ['in another sequence', tagged(0x30, GOOD)],
    ['one bit of r changed', set(10, (GOOD[10] ?? 0) ^ 1)],
    ['one bit of s changed', set(GOOD.length - 3, (GOOD[GOOD.length - 3] ?? 0) ^ 0x40)],
  ];
  // Numbers below 2^255 need no zero in front, those above do.
  const [low, high] = [S, N - S].sort((a, b) => (a < b ? -1 : 1));
  return [
    ...bad.map(([name, bytes]) => vector(`encoding: ${name}`, false, bytes)),
    vector('encoding: s below 2^255', true, der(R, low ?? 0n)),
    vector('encoding: s above 2^255, with its zero', true, der(R, high ?? 0n)),
    vector('encoding: s below 2^255 with a zero', false, tagged(0x30, r, zero(low ?? 0n))),
    vector(
      'encoding: s above 2^255 without its zero',
      false,
      tagged(0x30, r, tagged(2, bytes32(high ?? 0n))),
    ),
  ];
}

function keys(): Vector[] {
  const point = encodedPoint(Q);
  const off = encodedPoint({ x: Q.x, y: mod(Q.y + 1n, P) });
  const raw = (x: bigint, y: bigint) => Buffer.concat([Buffer.of(4), bytes32(x), bytes32(y)]);
  const small = smallest(0n);
  const bad: readonly (readonly [string, Buffer])[] = [
    ['not on the curve', off],
    ['y is 0', raw(Q.x, 0n)],
    ['0, 0', raw(0n, 0n)],
    ['1, 1', raw(1n, 1n)],
    ['all ones', Buffer.concat([Buffer.of(4), Buffer.alloc(64, 0xff)])],
    ['p, 0', raw(P, 0n)],
    ['x and y exchanged', raw(Q.y, Q.x)],
    ['the other y', encodedPoint(negative(Q))],
    ['x + p', raw(small.x + P, small.y)],
    ['infinity', Buffer.of(0)],
    ['infinity in 65 bytes', Buffer.alloc(65)],
    ['compressed', Buffer.concat([Buffer.of(2 + Number(Q.y & 1n)), bytes32(Q.x)])],
    ['hybrid', Buffer.concat([Buffer.of(6 + Number(Q.y & 1n)), bytes32(Q.x), bytes32(Q.y)])],
    ['without its first byte', point.subarray(1)],
    ['a byte short', point.subarray(0, -1)],
    ['a byte long', Buffer.concat([point, Buffer.of(0)])],
    ['empty', Buffer.alloc(0)],
    ['somebody else’s', encodedPoint(finite(times(D + 1n, G)))],
  ];
  return bad.map(([name, bytes]) => vector(`key: ${name}`, false, GOOD, bytes));
}

/** Keys with which the sums on the way meet: G + Q is infinity, or the double of G, or a point twice. */
function chosenKeys(): Vector[] {
  const special: readonly (readonly [string, bigint])[] = [
    ['G', 1n],
    ['-G', N - 1n],
    ['2G', 2n],
    ['-2G', N - 2n],
    ['3G', 3n],
    ['4G', 4n],
    ['-4G', N - 4n],
    ['G/2', (N + 1n) / 2n],
    ['-G/2', N - (N + 1n) / 2n],
    ['G/3', inverse(3n, N)],
    ['2^128 G', 2n ** 128n],
    ['-2^128 G', N - 2n ** 128n],
    ['2^255 G', 2n ** 255n],
  ];
  return special.flatMap(([name, d]) => {
    const key = encodedPoint(finite(times(d, G)));
    const { r, s } = signature(d, K);
    // With this one uG + vQ is infinity.
    const nowhere = mod(-E * inverse(d, N), N);
    return [
      vector(`the key is ${name}`, true, der(r, s), key),
      vector(`the key is ${name}, another r`, false, der(mod(r + 1n, N), s), key),
      vector(`the key is ${name}, the sum is infinity`, false, der(nowhere, S), key),
    ];
  });
}

/** Chosen u = e/s or v = r/s, by the key that makes the signature good: Q = (R - uG) / v. */
function chosenMultipliers(): Vector[] {
  const special: readonly (readonly [string, bigint])[] = [
    ['1', 1n],
    ['2', 2n],
    ['3', 3n],
    ['4', 4n],
    ['2^30', 2n ** 30n],
    ['2^30 - 1', 2n ** 30n - 1n],
    ['2^128', 2n ** 128n],
    ['2^255', 2n ** 255n],
    ['2^255 - 1', 2n ** 255n - 1n],
    ['n - 1', N - 1n],
    ['n - 2', N - 2n],
    ['(n + 1) / 2', (N + 1n) / 2n],
  ];
  const ks: readonly (readonly [string, bigint])[] = [
    ['1', 1n],
    ['2', 2n],
    ['n - 1', N - 1n],
    ['any', K],
  ];
  const made = ks.flatMap(([kName, k]) =>
    special.flatMap(([name, target]) => {
      const point = finite(times(k, G));
      const r = mod(point.x, N);
      return [
        chosen(`k is ${kName}, e/s is ${name}`, point, r, mod(E * inverse(target, N), N)),
        chosen(`k is ${kName}, r/s is ${name}`, point, r, mod(r * inverse(target, N), N)),
      ];
    }),
  );
  const small = ks.flatMap(([kName, k]) => {
    const { r, s } = signature(D, k);
    return [
      vector(`k is ${kName}`, true, der(r, s)),
      vector(`k is ${kName}, r + 1`, false, der(mod(r + 1n, N), s)),
    ];
  });
  return [...made.flat(), ...small];
}

/** A good one, and one with s + 1. */
function chosen(name: string, point: Point, r: bigint, s: bigint): Vector[] {
  const u = mod(E * inverse(s, N), N);
  const v = mod(r * inverse(s, N), N);
  const key = times(inverse(v, N), add(point, negative(finite(times(u, G)))));
  if (key === null) return [];
  return [
    vector(name, true, der(r, s), encodedPoint(key)),
    vector(`${name}, s + 1`, false, der(r, mod(s + 1n, N)), encodedPoint(key)),
  ];
}

/** Points whose x is n or more, so that r is x - n; and points whose x is as small as that r. */
function nearTheOrder(): Vector[] {
  const over = smallest(N);
  const under = smallest(0n);
  const last = lastPoint();
  return [
    ...chosen('x of the point is n or more, r is x - n', over, over.x - N, S),
    ...chosen('x of the point is as small as can be', under, mod(under.x, N), S),
    ...chosen('x of the point is as great as can be', last, mod(last.x, N), S),
    vector('r is the whole x, which is n or more', false, der(over.x, S), chosenKey(over, mod(over.x, N))),
  ];
}

function chosenKey(point: Point, r: bigint): Buffer {
  const u = mod(E * inverse(S, N), N);
  const v = mod(r * inverse(S, N), N);
  return encodedPoint(finite(times(inverse(v, N), add(point, negative(finite(times(u, G)))))));
}

/** With the smallest x from there whose r is not 0. */
function smallest(from: bigint): Point {
  for (let x = from + 1n; ; x += 1n) {
    const point = pointAt(x);
    if (point !== null) return point;
  }
}

function lastPoint(): Point {
  for (let x = P - 1n; ; x -= 1n) {
    const point = pointAt(x);
    if (point !== null) return point;
  }
}

/**
 * A key off the curve with which the sums come out all the same, since adding does not ask for the curve: s = r, so that v
 * is 1 and u even, and the key such that uG and it add up to r.
 */
function offTheCurve(): Vector {
  for (let r = 2n; ; r += 1n) {
    const u = mod(E * inverse(r, N), N);
    const point = finite(times(u, G));
    const x = mod(point.x + r, P);
    const square = mod(r + point.x + x, P);
    const slope = power(square, (P + 1n) / 4n, P);
    if (u % 2n === 1n || (slope * slope) % P !== square) continue;
    const key = { x, y: mod(point.y + slope * (x - point.x), P) };
    return vector('key: not on the curve, but the sums come out', false, der(r, r), encodedPoint(key));
  }
}
