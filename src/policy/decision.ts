import type { StatementClass } from '../statement/analysis.ts';
import type { OnCall, ParameterRecording } from './rule.ts';

/** What policy says of a statement. `rule` names why: `default:<class>`, `floor:<name>`, or the rule's own name. */
export type Decision = {
  readonly decision: 'allow' | 'hold' | 'deny';
  readonly rule: string;
  /** Digest of the policy that was in force; empty: none was asked (a rule of the program itself). */
  readonly policy: string;
  readonly class: StatementClass;
  readonly reasons: readonly string[];
  /** `class` is not that of the statements themselves: something beside them made it higher. */
  readonly raised?: true;
  /** For `hold`: what the rule asks of approvers; absent values take the configuration's defaults. */
  readonly approval: ApprovalDemand | null;
  /** Most that the result of each of its statements may be; absent: the rule sets no limit. */
  readonly limits?: DecisionLimits;
  /** What the log has of bind parameters, which a string of one statement alone can have; absent: as the configuration says. */
  readonly parameters?: ParameterRecording;
  /** What rules in mode observe would have decided, at most one for each statement; absent: none matched. */
  readonly observed?: readonly ObservedRule[];
};

/** Null: not limited. */
export type DecisionLimits = { readonly rows: number | null; readonly bytes: number | null };

/** The first rule in mode observe that matched a statement before one that decides did. */
export type ObservedRule = {
  /** Place of the statement in its string, from 0. */
  readonly statement: number;
  readonly rule: string;
  readonly decision: 'allow' | 'hold' | 'deny';
};

export type ApprovalDemand = {
  /** Names of people (`id`) or groups that may answer; empty: every person with the `approver` right. */
  readonly approvers: readonly string[];
  /** Distinct people needed. */
  readonly quorum: number;
  /** 1 chat click, 2 fresh log-in, 3 passkey. */
  readonly assurance: 1 | 2 | 3;
  /** Life of the request, milliseconds; absent: the configuration's `requestLifetimeMs`. */
  readonly expiryMs?: number;
  /** How long its connection waits, milliseconds; absent: the configuration's `holdTimeoutMs`. No part of what is approved. */
  readonly holdMs?: number;
  /** Slack channel for the card; absent: the configuration's. It routes, and is no part of what is approved. */
  readonly channel?: string;
  /** Windows in which only those on call may approve; each that holds at a moment narrows `approvers`. Absent: none. */
  readonly onCall?: readonly DemandWindow[];
  /** Most approvals by one person within a minute, over all requests, this one among them; absent: the configuration's. */
  readonly maxPerMinute?: number;
  /** Absent: nobody is asked later on. */
  readonly escalation?: Escalation;
};

/** `later`: whom the escalation of the window's own rule brings in, and so into it; absent: nobody. */
export type DemandWindow = OnCall & { readonly later?: readonly string[] };

/** Part of the demand from the beginning, so that nothing is added later; counts only from its time on. */
export type Escalation = {
  /** After the request was opened, milliseconds. */
  readonly afterMs: number;
  /** Who may answer from then on as well; empty: the same people as before, who are asked again. */
  readonly approvers: readonly string[];
  /** Slack channel that gets a card then. It routes, and is no part of what is approved. */
  readonly channel?: string;
};

/** Who asks, and when, for rules that match on it. */
export type DecisionContext = {
  readonly agent: string;
  readonly owner: string | null;
  readonly database: string;
  readonly role: string;
  /** Microseconds since 1970 UTC; absent: not known, so a rule with times holds and denies always and never allows. */
  readonly at?: number;
};
