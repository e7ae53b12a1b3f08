import type { HoldEnd } from '../session/effect.ts';

/** Told for metrics; must be cheap. */
export type RelayObserver = {
  readonly statement: (decision: 'allow' | 'hold' | 'deny', statementClass: string) => void;
  readonly held: () => void;
  readonly holdEnded: (end: HoldEnd, seconds: number) => void;
};
