import {
  droppedBy,
  type Gone,
  type GoneRange,
  isUpkeep,
  NOTHING_GONE,
  redactedBy,
  type UpkeepRow,
} from './gone.ts';
import type { StoredRow } from './verify.ts';

/** Kinds of entries that what is not there in a stream was accounted for with. */
export type LeansOn = ReadonlySet<'retention' | 'redaction'>;

/**
 * What entries of retention and redaction account for, as `log/upkeep.jsonl` has them. They are believed at first, and
 * those that something leans on must be among the entries that are checked. Attacker-controlled.
 */
export class EvidenceGone {
  readonly #entries: readonly UpkeepRow[];
  readonly #streams = new Map<string, { dropped: GoneRange[]; redacted: Set<bigint> }>();
  readonly #verified = new Set<string>();

  constructor(entries: readonly StoredRow[]) {
    this.#entries = entries.map(({ row }) => row);
    for (const entry of this.#entries) {
      const dropped = droppedBy(entry);
      if (dropped !== null) this.#goneOf(dropped.stream).dropped.push(...dropped.ranges);
      const redacted = redactedBy(entry);
      if (redacted !== null) for (const seq of redacted.seqs) this.#goneOf(redacted.stream).redacted.add(seq);
    }
  }

  of(stream: string): Gone {
    return this.#streams.get(stream) ?? NOTHING_GONE;
  }

  /** A row that is checked with its stream. */
  verified(row: UpkeepRow): void {
    if (isUpkeep(row.kind)) this.#verified.add(keyOf(row));
  }

  /** Entries that streams lean on, and that were not among the rows that were checked; with their lines, from 1. */
  unproved(
    leans: ReadonlyMap<string, LeansOn>,
  ): readonly { readonly line: number; readonly entry: UpkeepRow }[] {
    return this.#entries.flatMap((entry, i) => {
      const stream = droppedBy(entry)?.stream ?? redactedBy(entry)?.stream ?? '';
      const kind = entry.kind === 'retention' ? 'retention' : 'redaction';
      const isNeeded = leans.get(stream)?.has(kind) === true && !this.#verified.has(keyOf(entry));
      return isNeeded ? [{ line: i + 1, entry }] : [];
    });
  }

  #goneOf(stream: string): { dropped: GoneRange[]; redacted: Set<bigint> } {
    const made = this.#streams.get(stream) ?? { dropped: [], redacted: new Set<bigint>() };
    this.#streams.set(stream, made);
    return made;
  }
}

function keyOf({ stream, seq, at, kind, detail }: UpkeepRow): string {
  return JSON.stringify([stream, String(seq), String(at), kind, detail]);
}
