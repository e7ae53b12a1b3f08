import {
  accountedFor,
  droppedBy,
  type Gone,
  isUpkeep,
  redactedBy,
  type UpkeepRow,
  upkeepKey,
} from '../verify/gone.ts';
import type { StoredRow } from '../verify/verify.ts';

/** Kinds of entries that what is not there in a stream was accounted for with. */
export type LeansOn = ReadonlySet<'retention' | 'redaction'>;

/**
 * What entries of retention and redaction account for, as `log/upkeep.jsonl` has them. They are believed at first, and
 * those that something leans on must be among the entries that are checked. Attacker-controlled.
 */
export class EvidenceGone {
  readonly #entries: readonly UpkeepRow[];
  readonly of: (stream: string) => Gone;
  readonly #verified = new Set<string>();

  constructor(entries: readonly StoredRow[]) {
    this.#entries = entries.map(({ row }) => row);
    this.of = accountedFor(this.#entries);
  }

  /** A row that is checked with its stream. */
  verified(row: UpkeepRow): void {
    if (isUpkeep(row.kind)) this.#verified.add(upkeepKey(row));
  }

  /** Entries that streams lean on, and that were not among the rows that were checked; with their lines, from 1. */
  unproved(
    leans: ReadonlyMap<string, LeansOn>,
  ): readonly { readonly line: number; readonly entry: UpkeepRow }[] {
    return this.#entries.flatMap((entry, i) => {
      const stream = droppedBy(entry)?.stream ?? redactedBy(entry)?.stream ?? '';
      const kind = entry.kind === 'retention' ? 'retention' : 'redaction';
      const isNeeded = leans.get(stream)?.has(kind) === true && !this.#verified.has(upkeepKey(entry));
      return isNeeded ? [{ line: i + 1, entry }] : [];
    });
  }
}
