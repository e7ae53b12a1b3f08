import type { StatementClass } from '../statement/analysis.ts';

/** What policy says of a statement. `rule` names why: `default:<class>`, `floor:<name>`, or the rule's own name. */
export type Decision = {
  readonly decision: 'allow' | 'hold' | 'deny';
  readonly rule: string;
  /** Digest of the policy that was in force; empty: none was asked (a rule of the program itself). */
  readonly policy: string;
  readonly class: StatementClass;
  readonly reasons: readonly string[];
  /** For `hold`: what the rule asks of approvers; absent values take the configuration's defaults. */
  readonly approval: ApprovalDemand | null;
};

export type ApprovalDemand = {
  /** Names of people (`id`) or groups that may answer; empty: every person with the `approver` right. */
  readonly approvers: readonly string[];
  /** Distinct people needed. */
  readonly quorum: number;
  /** 1 chat click, 2 fresh log-in, 3 passkey. */
  readonly assurance: 1 | 2 | 3;
};

/** Who asks, for rules that match on it. */
export type DecisionContext = {
  readonly agent: string;
  readonly owner: string | null;
  readonly database: string;
  readonly role: string;
};
