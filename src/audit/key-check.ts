import type { Row } from './canonical.ts';
import type { Finding } from './finding.ts';

/** A public key as the register of keys has it; times are microseconds since 1970 UTC. */
export type RegisteredKey = {
  readonly kid: string;
  readonly publicJwk: unknown;
  readonly purpose: string;
  readonly validFrom: bigint;
  readonly validTo: bigint | null;
};

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

/**
 * The register of keys against the rows that brought them. A key of before `logBegins` (the log's first row: what came
 * before was dropped by retention) has none. SQL's `verify_keys` finds the same.
 */
export function checkKeys(
  registered: readonly RegisteredKey[],
  brought: readonly BroughtKey[],
  logBegins: bigint | null,
): Finding[] {
  const findings: Finding[] = [];
  const found = (at: BroughtKey | undefined, detail: string) =>
    findings.push({ stream: at?.stream ?? null, seq: at?.seq ?? 0n, check: 'key', ok: false, detail });
  const byKid = new Map<string, BroughtKey[]>();
  for (const one of [...brought].sort(inTime)) byKid.set(one.kid, [...(byKid.get(one.kid) ?? []), one]);
  const there = new Set(registered.map(({ kid }) => kid));
  for (const [kid, [first]] of byKid)
    if (!there.has(kid)) found(first, `the key that this row brought is not there: ${kid}`);
  for (const key of registered) {
    const rows = byKid.get(key.kid);
    if (rows === undefined) {
      if (logBegins === null || key.validFrom >= logBegins)
        found(undefined, `no row brought this key: ${key.kid}`);
    } else if (key.validTo !== null || !rows.some((row) => isSame(key, row)))
      found(rows[0], `the key is not as the row that brought it says: ${key.kid}`);
  }
  return findings;
}

function isSame(key: RegisteredKey, row: BroughtKey): boolean {
  return (
    row.purpose === key.purpose &&
    row.at === key.validFrom &&
    sameRecord(parsed(row.publicJwk), key.publicJwk)
  );
}

function inTime(a: BroughtKey, b: BroughtKey): number {
  if (a.at !== b.at) return a.at < b.at ? -1 : 1;
  if (a.stream !== b.stream) return a.stream < b.stream ? -1 : 1;
  return a.seq < b.seq ? -1 : 1;
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
