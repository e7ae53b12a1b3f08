import type { Row } from '../chain/canonical.ts';
import type { Finding } from './finding.ts';

/** Rows of a stream that retention has dropped, between two hashes of its chain. */
export type GoneRange = {
  readonly fromSeq: bigint;
  readonly toSeq: bigint;
  /** Hash of the row before the first one. */
  readonly prevHash: Buffer;
  /** Hash of the last row. */
  readonly hash: Buffer;
};

/** What is not there any more of a stream, and which entries of the log account for. */
export type Gone = {
  /** In order. */
  readonly dropped: readonly GoneRange[];
  /** Rows whose text, digest, parameters and salt were erased. */
  readonly redacted: ReadonlySet<bigint>;
};

export const NOTHING_GONE: Gone = { dropped: [], redacted: new Set() };

/** An entry of retention or redaction. */
export type UpkeepRow = Pick<Row, 'stream' | 'seq' | 'at' | 'kind' | 'detail'>;

export function isUpkeep(kind: string): boolean {
  return kind === 'retention' || kind === 'redaction';
}

/** What an entry of retention says was dropped, and until when; null: it says nothing in the form that counts. */
export type Dropped = {
  readonly stream: string;
  /** Milliseconds since 1970 UTC: the rows are of days before; NaN: it does not say. */
  readonly before: number;
  readonly ranges: readonly GoneRange[];
};

/** Attacker-controlled, until the row is verified. The SQL view `dropped_ranges` reads the same. */
export function droppedBy(entry: UpkeepRow): Dropped | null {
  const { stream, before = '', ranges = '' } = detailOf(entry);
  if (entry.kind !== 'retention' || stream === undefined) return null;
  const found = [...ranges.matchAll(RANGE)].flatMap(([, from = '', to = '', prevHash = '', hash = '']) => ({
    fromSeq: BigInt(from),
    toSeq: BigInt(to),
    prevHash: Buffer.from(prevHash, 'hex'),
    hash: Buffer.from(hash, 'hex'),
  }));
  return {
    stream,
    before: Date.parse(before),
    ranges: found.filter(({ fromSeq, toSeq }) => fromSeq <= toSeq),
  };
}

/** The rows that an entry of redaction names. The SQL view `redacted_rows` reads the same. */
export function redactedBy(
  entry: UpkeepRow,
): { readonly stream: string; readonly seqs: readonly bigint[] } | null {
  const { stream, rows = '' } = detailOf(entry);
  if (entry.kind !== 'redaction' || stream === undefined) return null;
  const seqs: bigint[] = [];
  for (const [, from = '', to = from] of rows.matchAll(NUMBERS)) {
    const last =
      BigInt(to) - BigInt(from) < MOST_IN_A_RANGE ? BigInt(to) : BigInt(from) + MOST_IN_A_RANGE - 1n;
    for (let seq = BigInt(from); seq <= last; seq += 1n) seqs.push(seq);
  }
  return { stream, seqs };
}

/** What these entries account for, by stream. They are believed here; whether each is a row of its stream is for others. */
export function accountedFor(entries: readonly UpkeepRow[]): (stream: string) => Gone {
  const streams = new Map<string, { readonly dropped: GoneRange[]; readonly redacted: Set<bigint> }>();
  const goneOf = (stream: string) => {
    const made = streams.get(stream) ?? { dropped: [], redacted: new Set<bigint>() };
    streams.set(stream, made);
    return made;
  };
  for (const entry of entries) {
    const dropped = droppedBy(entry);
    if (dropped !== null) goneOf(dropped.stream).dropped.push(...dropped.ranges);
    const redacted = redactedBy(entry);
    if (redacted !== null) for (const seq of redacted.seqs) goneOf(redacted.stream).redacted.add(seq);
  }
  for (const { dropped } of streams.values())
    dropped.sort((a, b) => (a.fromSeq < b.fromSeq ? -1 : a.fromSeq > b.fromSeq ? 1 : 0));
  return (stream) => streams.get(stream) ?? NOTHING_GONE;
}

/** Equal for two readings of one entry that say the same. */
export function upkeepKey({ stream, seq, at, kind, detail }: UpkeepRow): string {
  return JSON.stringify([stream, String(seq), String(at), kind, detail]);
}

/** Whether entries say that all of these rows were dropped. */
export function areDropped({ dropped }: Gone, fromSeq: bigint, toSeq: bigint): boolean {
  let next = fromSeq;
  for (const range of dropped) if (range.fromSeq <= next && range.toSeq >= next) next = range.toSeq + 1n;
  return next > toSeq;
}

/** Entries that were not among the rows that were verified, as they were read: what they account for may be forged. */
export function unverified(
  entries: readonly UpkeepRow[],
  verified: readonly UpkeepRow[],
): readonly Finding[] {
  const known = new Set(verified.map(upkeepKey));
  return entries
    .filter((entry) => !known.has(upkeepKey(entry)))
    .map(({ stream, seq, kind }) => ({
      ...{ stream, seq, check: kind === 'retention' ? 'retention' : 'redaction', ok: false },
      detail: `this entry of ${kind} is not a row of its stream: what it accounts for is not accounted for`,
    }));
}

/**
 * What is wrong with the days that an entry of retention covers; null: nothing. They are over when they are dropped, and
 * no row before those that were dropped is of a later day: `isEarly` says whether one is.
 */
export function wrongDays(entry: UpkeepRow, { before }: Dropped, isEarly: boolean): Finding | null {
  if (before * 1000 <= Number(entry.at) && !isEarly) return null;
  const detail = 'it covers days that were not over when it was written';
  return { stream: entry.stream, seq: entry.seq, check: 'retention', ok: false, detail };
}

/** Whether a row that is named as the end of its stream was dropped, with that hash where it is known. */
export function isDroppedEnd({ dropped }: Gone, seq: bigint, hash: string): boolean {
  return dropped.some(
    (range) =>
      range.fromSeq <= seq &&
      seq <= range.toSeq &&
      (range.toSeq !== seq || range.hash.toString('hex') === hash),
  );
}

/** A row's detail by its names. */
export function detailOf({ detail }: Pick<Row, 'detail'>): Record<string, string | undefined> {
  const told: Record<string, string | undefined> = {};
  const pairs = detail ?? [];
  for (let i = 0; i + 1 < pairs.length; i += 2) told[pairs[i] ?? ''] = pairs[i + 1] ?? '';
  return told;
}

const RANGE = /(?:^|;)(\d{1,18})-(\d{1,18}) ([0-9a-f]{64}) ([0-9a-f]{64})(?=;|$)/g;
const NUMBERS = /(?:^|,)(\d{1,18})(?:-(\d{1,18}))?(?=,|$)/g;
const MOST_IN_A_RANGE = 100_000n;
