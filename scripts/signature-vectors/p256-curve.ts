/** P-256 (FIPS 186-5, SP 800-186), with whole numbers and slowly, to make signatures that no library would make. */
export const P = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
export const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;

export type Point = { readonly x: bigint; readonly y: bigint };
/** Null: infinity. */
export type Place = Point | null;

export const G: Point = {
  x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
  y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
};

export function mod(a: bigint, m: bigint): bigint {
  return ((a % m) + m) % m;
}

export function power(base: bigint, exponent: bigint, m: bigint): bigint {
  let result = 1n;
  for (let b = mod(base, m), e = exponent; e > 0n; e >>= 1n, b = (b * b) % m)
    if (e & 1n) result = (result * b) % m;
  return result;
}

/** Of a prime. */
export function inverse(a: bigint, prime: bigint): bigint {
  return power(a, prime - 2n, prime);
}

export function add(a: Place, b: Place): Place {
  if (a === null) return b;
  if (b === null) return a;
  if (a.x === b.x && mod(a.y + b.y, P) === 0n) return null;
  const slope =
    a.x === b.x ? (3n * a.x * a.x - 3n) * inverse(2n * a.y, P) : (b.y - a.y) * inverse(mod(b.x - a.x, P), P);
  const x = mod(slope * slope - a.x - b.x, P);
  return { x, y: mod(slope * (a.x - x) - a.y, P) };
}

export function times(k: bigint, point: Place): Place {
  let sum: Place = null;
  for (let e = mod(k, N), at = point; e > 0n; e >>= 1n, at = add(at, at)) if (e & 1n) sum = add(sum, at);
  return sum;
}

export function finite(place: Place): Point {
  if (place === null) throw new RangeError('infinity has no coordinates');
  return place;
}

export function negative({ x, y }: Point): Point {
  return { x, y: P - y };
}

/** A point with this x; null: there is none. */
export function pointAt(x: bigint): Point | null {
  const square = mod(x * x * x - 3n * x + B, P);
  const y = power(square, (P + 1n) / 4n, P);
  return (y * y) % P === square ? { x, y } : null;
}

export function bytes32(n: bigint): Buffer {
  return Buffer.from(n.toString(16).padStart(64, '0'), 'hex');
}

/** SEC 1, section 2.3.3, uncompressed. */
export function encodedPoint({ x, y }: Point): Buffer {
  return Buffer.concat([Buffer.of(4), bytes32(x), bytes32(y)]);
}
