import { STREAMS } from './base-log.ts';
import { keyCases } from './cases-of-keys.ts';
import { receiptCases } from './cases-of-receipts.ts';
import { rowCases } from './cases-of-rows.ts';
import { treeCases } from './cases-of-trees.ts';
import type { Log } from './log-model.ts';

/** A check, and the row where it must be found; a checkpoint is named by its size, a key that no row brought by 0. */
export type Expected = readonly [check: string, stream: string | null, seq: number];

export type TamperingCase = {
  readonly name: string;
  /** What else than the database is in the hands of whoever did it; left out: nothing. */
  readonly has?: 'stream key' | 'installation key';
  readonly change?: (log: Log) => void;
  /** Statements beside those that the change comes to: before and after them. */
  readonly before?: readonly string[];
  readonly after?: readonly string[];
  readonly finds: readonly Expected[];
  /**
   * What an evidence folder shows by itself where that is something else: it has no rows of times before and after its
   * period, so where all rows of a batch are missing it can only say that they may be of the period.
   */
  readonly inFolder?: readonly Expected[];
  /** Found only with a checkpoint that was kept elsewhere; without it the log must pass for whole. */
  readonly onlyWithCheckpoint?: true;
  /** A range of time in which `audit.verify` must find it, too, and one in which there is nothing to be found. */
  readonly within?: readonly [from: string, to: string];
  readonly outside?: readonly [from: string, to: string];
};

export const CASES: readonly TamperingCase[] = [
  ...rowCases(),
  ...keyCases(),
  ...receiptCases(),
  ...treeCases(),
];

/** The same with the stream's own name. */
export function named([check, stream, seq]: Expected): Expected {
  return [
    check,
    (stream !== null && new Map<string, string>(Object.entries(STREAMS)).get(stream)) || stream,
    seq,
  ];
}
