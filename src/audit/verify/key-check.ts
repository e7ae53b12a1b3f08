import type { Row } from '../chain/canonical.ts';

/** A key as an entry brought it. */
export type BroughtKey = {
  readonly stream: string;
  readonly seq: bigint;
  readonly at: bigint;
  readonly kid: string;
  readonly publicJwk: string;
  readonly purpose: string;
};

/** The key that a row brings; null: it brings none. */
export function broughtKey(
  { stream, seq, at }: Row,
  detail: Readonly<Record<string, string | undefined>>,
): BroughtKey | null {
  const { kid, public_jwk, purpose } = detail;
  if (kid === undefined || public_jwk === undefined || purpose === undefined) return null;
  return { stream, seq, at, kid, publicJwk: public_jwk, purpose };
}

/** JSON; undefined, which no value equals, where it is none. Attacker-controlled. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether two flat objects have the same members, in whatever order (jsonb has an order of its own). */
export function sameRecord(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const [left, right] = [membersOf(a), membersOf(b)];
  return left.length === right.length && left.every((member, i) => member === right[i]);
}

function membersOf(value: object): string[] {
  return Object.entries(value)
    .map((member) => JSON.stringify(member))
    .sort();
}
