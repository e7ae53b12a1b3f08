/**
 * RFC 8785 (JSON Canonicalization Scheme) for what digests need: null, booleans, strings, safe integers, arrays and
 * objects. Anything else (fractions, undefined, lone surrogates) is a `TypeError`, so that it cannot slip in unnoticed.
 */
export type CanonicalValue =
  | null
  | boolean
  | string
  | number
  | readonly CanonicalValue[]
  | { readonly [key: string]: CanonicalValue };

export function canonicalJson(value: CanonicalValue): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return canonicalString(value);
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new TypeError(`canonical JSON: ${value} is not a safe integer`);
    return String(value === 0 ? 0 : value);
  }
  if (isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object') throw new TypeError(`canonical JSON: no form for ${typeof value}`);
  // Section 3.2.3: by UTF-16 code units, which is what sort() compares.
  const members = Object.keys(value)
    .sort()
    .map((key) => `${canonicalString(key)}:${canonicalJson(member(value, key))}`);
  return `{${members.join(',')}}`;
}

function canonicalString(text: string): string {
  // JSON.stringify writes strings as section 3.2.2.2 asks, but lets lone surrogates through as escapes.
  if (/[\ud800-\udfff]/u.test(text)) throw new TypeError('canonical JSON: lone surrogate');
  return JSON.stringify(text);
}

function member(value: { readonly [key: string]: CanonicalValue }, key: string): CanonicalValue {
  const found = value[key];
  if (found === undefined) throw new TypeError(`canonical JSON: ${key} is undefined`);
  return found;
}

function isArray(value: CanonicalValue): value is readonly CanonicalValue[] {
  return Array.isArray(value);
}
