import type { BoundParameter } from '../approval/port.ts';
import type { Analysis } from '../statement/analysis.ts';

/** What is judged: one string, at one position, with its parameters. */
export type Subject = {
  readonly sql: Buffer;
  readonly analysis: Analysis;
  readonly parameters: readonly BoundParameter[] | null;
  readonly resultFormats: readonly number[];
};
