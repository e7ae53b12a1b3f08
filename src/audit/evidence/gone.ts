import type { Row } from '../chain/canonical.ts';
import type { Finding } from '../verify/finding.ts';
import {
  accountedFor,
  type Dropped,
  droppedBy,
  type Gone,
  type UpkeepRow,
  unverified,
  wrongDays,
} from '../verify/gone.ts';

/**
 * What entries of retention and redaction account for. They are believed before they are checked with their streams:
 * `findings` says of each whether it was. Attacker-controlled.
 */
export class EvidenceGone {
  readonly #entries: readonly UpkeepRow[];
  readonly of: (stream: string) => Gone;
  /** By the stream that rows were dropped of. */
  readonly #claims = new Map<string, Claim[]>();

  constructor(entries: readonly UpkeepRow[]) {
    this.#entries = entries;
    this.of = accountedFor(entries);
    for (const entry of entries) {
      const dropped = droppedBy(entry);
      const last = dropped?.ranges.at(-1)?.fromSeq;
      if (dropped === null || last === undefined) continue;
      const claims = this.#claims.get(dropped.stream) ?? [];
      this.#claims.set(dropped.stream, claims);
      claims.push({ entry, dropped, last, isEarly: false });
    }
  }

  /** A stream that is there, with its beginning in µs since 1970 UTC. */
  begins(stream: string, startedUs: bigint): void {
    for (const claim of this.#claims.get(stream) ?? [])
      if (Number(startedUs) >= claim.dropped.before * 1000) claim.isEarly = true;
  }

  row({ stream, seq, at }: Row): void {
    for (const claim of this.#claims.get(stream) ?? [])
      if (seq < claim.last && Number(at) >= claim.dropped.before * 1000) claim.isEarly = true;
  }

  /** Rows of a stream that are not there. */
  droppedOf(stream: string): bigint {
    return this.of(stream).dropped.reduce((sum, { fromSeq, toSeq }) => sum + toSeq - fromSeq + 1n, 0n);
  }

  /** `verified`: those that were among the rows that were checked. */
  findings(verified: readonly UpkeepRow[]): readonly Finding[] {
    const claims = [...this.#claims.values()].flat();
    return [
      ...unverified(this.#entries, verified),
      ...claims.flatMap(({ entry, dropped, isEarly }) => wrongDays(entry, dropped, isEarly) ?? []),
    ];
  }
}

type Claim = {
  readonly entry: UpkeepRow;
  readonly dropped: Dropped;
  /** The first row of the last range. */
  readonly last: bigint;
  isEarly: boolean;
};
