import type pg from 'pg';
import type { Finding } from './finding.ts';
import { accountedFor, droppedBy, type Gone, type UpkeepRow, unverified, wrongDays } from './gone.ts';

export type GoneRows = {
  readonly of: (stream: string) => Gone;
  /** Entries that say what cannot be, or that were not among the rows that were verified. */
  readonly findings: (verified: readonly UpkeepRow[]) => Promise<readonly Finding[]>;
};

/**
 * What entries of retention and redaction account for. They are believed before they are verified: `findings` says of
 * each whether it was among the verified rows, as it was read here. `schema` is quoted.
 */
export async function goneIn(client: pg.ClientBase, schema: string): Promise<GoneRows> {
  const entries = await upkeepRows(client, schema);
  return {
    of: accountedFor(entries),
    // One snapshot, and still: a view may show one thing here and another there.
    findings: async (verified) => [
      ...unverified(entries, verified),
      ...(await tooEarly(client, schema, entries)),
    ],
  };
}

async function upkeepRows(client: pg.ClientBase, schema: string): Promise<readonly UpkeepRow[]> {
  const { rows } = await client.query<{
    stream: string;
    seq: string;
    at: string;
    kind: string;
    detail: (string | null)[] | null;
  }>(
    `SELECT stream, seq, (extract(epoch FROM at) * 1000000)::bigint AS at, kind, detail FROM ${schema}.entries
      WHERE kind IN ('retention', 'redaction') ORDER BY stream, seq`,
  );
  return rows.map((row) => ({ ...row, seq: BigInt(row.seq), at: BigInt(row.at) }));
}

/** Days are over when they are dropped, and no row before those that were dropped is of a later day. */
async function tooEarly(
  client: pg.ClientBase,
  schema: string,
  entries: readonly UpkeepRow[],
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const entry of entries) {
    const dropped = droppedBy(entry);
    if (dropped === null || dropped.ranges.length === 0) continue;
    const { stream, before, ranges } = dropped;
    const isEarly =
      !Number.isNaN(before) &&
      (await hasLaterDay(client, schema, stream, ranges.at(-1)?.fromSeq ?? 0n, new Date(before)));
    const finding = wrongDays(entry, dropped, isEarly);
    if (finding !== null) findings.push(finding);
  }
  return findings;
}

async function hasLaterDay(
  client: pg.ClientBase,
  schema: string,
  stream: string,
  seq: bigint,
  since: Date,
): Promise<boolean> {
  const { rows } = await client.query<{ early: boolean }>(
    `SELECT EXISTS (SELECT FROM ${schema}.entries e WHERE e.stream = $1 AND e.seq < $2 AND e.at >= $3)
         OR EXISTS (SELECT FROM ${schema}.streams s WHERE s.stream = $1 AND s.started_at >= $3) AS early`,
    [stream, String(seq), since.toISOString()],
  );
  return rows[0]?.early === true;
}
