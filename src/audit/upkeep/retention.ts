import { asOwner, byStream, type Upkeep, UpkeepRefused, type UpkeepWork, upkeepId } from './upkeep.ts';

export type RetentionOptions = Upkeep & {
  /** Whole days that are kept, besides today (UTC). */
  readonly keepDays: number;
  readonly reason: string;
  /** Say what would be dropped, and drop nothing. */
  readonly dryRun: boolean;
};

export type RetentionResult = {
  /** Null: nothing was to be dropped. */
  readonly retention: string | null;
  /** The first day that is kept, `YYYY-MM-DD`. */
  readonly before: string;
  readonly rows: bigint;
  readonly streams: number;
  readonly days: readonly string[];
};

/**
 * Drops the rows of days long over, in one transaction with a signed entry for each stream that had some. What says how
 * to verify the rest (starts and ends of streams, keys, policies, configurations, other upkeep) is kept for good, like
 * batches. The days are verified first: what was altered is not dropped, for that would hide it. Throws
 * `UpkeepRefused`: `legal_hold`, `audit_altered`, `audit_busy`.
 */
export function dropOldDays(options: RetentionOptions): Promise<RetentionResult> {
  return asOwner(options, async (work) => {
    const { client, schema } = work;
    const before = await firstKeptDay(work, options.keepDays);
    const { rows: days } = await client.query<{ day: string }>(
      `SELECT to_char(day, 'YYYY-MM-DD') AS day FROM ${schema}.days_before($1)`,
      [before],
    );
    await requireNoHold(work, before);
    const ranges = await rangesBefore(work, before);
    const streams = byStream(ranges);
    const found = {
      before,
      rows: ranges.reduce((sum, { from_seq, to_seq }) => sum + BigInt(to_seq) - BigInt(from_seq) + 1n, 0n),
      streams: streams.length,
      days: days.map(({ day }) => day),
    };
    if (ranges.length === 0) return { ...found, retention: null };
    await requireWhole(work, before);
    if (options.dryRun) return { ...found, retention: null };
    const retention = upkeepId('retention');
    await work.append(
      streams.map(([stream, ofStream]) => entryOf(retention, before, options, stream, ofStream)),
    );
    const dropped = await client.query<{ rows: string }>(`SELECT ${schema}.drop_days($1, $2) AS rows`, [
      retention,
      before,
    ]);
    if (BigInt(dropped.rows[0]?.rows ?? -1) !== found.rows)
      throw new UpkeepRefused(
        'audit_busy',
        'other rows were there than before: nothing was dropped, try again',
      );
    return { ...found, retention };
  });
}

type Range = {
  readonly stream: string;
  readonly from_seq: string;
  readonly to_seq: string;
  readonly prev_hash: Buffer;
  readonly hash: Buffer;
};

async function firstKeptDay({ client }: UpkeepWork, keepDays: number): Promise<string> {
  // The database's clock, as it is what days are over by.
  const { rows } = await client.query<{ before: string }>(
    `SELECT to_char((clock_timestamp() AT TIME ZONE 'UTC')::date - $1::int, 'YYYY-MM-DD') AS before`,
    [keepDays],
  );
  return rows[0]?.before ?? '';
}

async function requireNoHold({ client, schema }: UpkeepWork, before: string): Promise<void> {
  const { rows } = await client.query<{ hold: string; reason: string | null }>(
    `SELECT h.hold, h.reason FROM ${schema}.legal_holds h WHERE h.hold IN (SELECT ${schema}.holds_before($1))`,
    [before],
  );
  if (rows.length > 0)
    throw new UpkeepRefused(
      'legal_hold',
      `rows before ${before} are under legal hold (${rows.map(({ hold, reason }) => `${hold}: ${reason}`).join('; ')}): nothing was dropped`,
    );
}

async function rangesBefore({ client, schema }: UpkeepWork, before: string): Promise<readonly Range[]> {
  const { rows } = await client.query<Range>(`SELECT * FROM ${schema}.droppable($1)`, [before]);
  return rows;
}

async function requireWhole({ client, schema }: UpkeepWork, before: string): Promise<void> {
  const { rows } = await client.query<{ stream: string; seq: string; check: string; detail: string }>(
    `SELECT stream, seq, "check", detail FROM ${schema}.verify_chain(NULL, $1::date::timestamp AT TIME ZONE 'UTC')
      WHERE NOT ok AND seq IS NOT NULL LIMIT 1`,
    [before],
  );
  const [first] = rows;
  if (first !== undefined)
    throw new UpkeepRefused(
      'audit_altered',
      `stream ${first.stream} row ${first.seq}: ${first.check}: ${first.detail}: nothing was dropped, for that would hide it`,
    );
}

function entryOf(
  retention: string,
  before: string,
  { reason, keepDays }: RetentionOptions,
  stream: string,
  ranges: readonly Range[],
) {
  const rows = ranges.reduce((sum, one) => sum + BigInt(one.to_seq) - BigInt(one.from_seq) + 1n, 0n);
  return {
    kind: 'retention' as const,
    detail: {
      retention,
      reason,
      before: `${before}T00:00:00Z`,
      keep: `${keepDays}d`,
      stream,
      rows: String(rows),
      // As the view dropped_ranges reads it.
      ranges: ranges
        .map(
          (one) =>
            `${one.from_seq}-${one.to_seq} ${one.prev_hash.toString('hex')} ${one.hash.toString('hex')}`,
        )
        .join(';'),
    },
  };
}
