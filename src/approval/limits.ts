import type { Limits } from '../config/limits.ts';

/** Limits of the approval store beside those in the configuration. Milliseconds, unless the name says otherwise. */
export const APPROVAL_LIMITS = {
  /** A process that has not been heard of for this long is dead: longer than a pause for garbage, shorter than patience. */
  processLeaseMs: 15_000,
  /** Connections to the store, without the one that listens. */
  connections: 8,
  /** Time to get a connection, and for one statement on it. */
  connectMs: 5_000,
  statementMs: 10_000,
  /** Changes are looked for this far back at each poll, because transactions commit out of order. */
  pollOverlapMs: 30_000,
  /** Requests that one round of the janitor ends. */
  janitorBatch: 100,
  /** Requests that one listing returns; and characters of a statement, or of its parameters, that it shows of each. */
  listed: 200,
  listedCharacters: 20_000,
  /** Characters of a statement, and of its parameters, that its agent is told of it by SHOW countersign.requests. */
  ownCharacters: 500,
  /** Characters of statement and parameters together that are put to people; a longer question is refused. */
  shownCharacters: 16 * 1024 * 1024,
} as const;

export type ApprovalLimits = Pick<
  Limits,
  | 'openRequestsPerAgent'
  | 'requestsPerMinutePerAgent'
  | 'approvalsPerMinutePerPerson'
  | 'approvalsNoticedPerMinute'
  | 'requestLifetimeMs'
  | 'receiptLifetimeMs'
  | 'denialRepeatMs'
  | 'pollMs'
> & { readonly [K in keyof typeof APPROVAL_LIMITS]?: number };

export type StoreLimits = Required<ApprovalLimits>;

export function withDefaults(limits: ApprovalLimits): StoreLimits {
  return { ...APPROVAL_LIMITS, ...limits };
}
