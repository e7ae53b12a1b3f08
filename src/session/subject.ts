import type { BoundParameter } from '../approval/port.ts';
import type { Analysis } from '../statement/analysis.ts';

export type NamedText = {
  readonly name: string;
  readonly sql: Buffer;
  readonly secrets: readonly (readonly [number, number])[];
};

/** What is judged: one string, at one position, with its parameters. */
export type Subject = {
  readonly sql: Buffer;
  readonly analysis: Analysis;
  readonly parameters: readonly BoundParameter[] | null;
  readonly resultFormats: readonly number[];
  /** What names meant when it was analysed. */
  readonly scopeKey: string;
  /** Statements of other messages that it runs by name, for the people who are asked. */
  readonly named: readonly NamedText[];
};
