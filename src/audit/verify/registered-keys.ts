import type pg from 'pg';
import type { Finding } from './finding.ts';
import { type BroughtKey, parsed, sameRecord } from './key-check.ts';

/** The register of keys against the rows that brought them. */
export async function checkRegisteredKeys(
  client: pg.ClientBase,
  schema: string,
  brought: readonly BroughtKey[],
): Promise<Finding[]> {
  const { rows } = await client.query<{
    kid: string;
    public_jwk: unknown;
    purpose: string;
    valid_from: string;
    valid_to: string | null;
  }>(
    `SELECT kid, public_jwk, purpose, ${MICROSECONDS('valid_from')} AS valid_from, ${MICROSECONDS('valid_to')} AS valid_to
       FROM ${schema}.signing_keys`,
  );
  return checkKeys(
    rows.map((row) => ({
      kid: row.kid,
      publicJwk: row.public_jwk,
      purpose: row.purpose,
      validFrom: BigInt(row.valid_from),
      validTo: row.valid_to === null ? null : BigInt(row.valid_to),
    })),
    brought,
  );
}

/** SQL for microseconds since 1970 UTC; a time without end or beginning becomes one that no row has. */
export const MICROSECONDS = (time: string): string =>
  `(extract(epoch FROM CASE WHEN isfinite(${time}) IS FALSE THEN '9999-12-31 00:00:00+00' ELSE ${time} END) * 1000000)::bigint`;

/** A public key as the register of keys has it; times are microseconds since 1970 UTC. */
export type RegisteredKey = {
  readonly kid: string;
  readonly publicJwk: unknown;
  readonly purpose: string;
  readonly validFrom: bigint;
  readonly validTo: bigint | null;
};

/**
 * The register of keys against the rows that brought them, which retention never drops. SQL's `verify_keys` finds the
 * same.
 */
export function checkKeys(registered: readonly RegisteredKey[], brought: readonly BroughtKey[]): Finding[] {
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
    if (rows === undefined) found(undefined, `no row brought this key: ${key.kid}`);
    else if (key.validTo !== null || !rows.some((row) => isSame(key, row)))
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
