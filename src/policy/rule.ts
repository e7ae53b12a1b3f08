/** Policy as data: what the `policy` part of the configuration becomes. */
export type Policy = { readonly digest: string; readonly rules: readonly PolicyRule[] };

/**
 * The first rule whose every condition holds decides; after the last, the default table of classes. Each statement of
 * a string is decided by itself, and the string gets the severest decision.
 */
export type PolicyRule = {
  readonly name: string;
  readonly match: RuleMatch;
  readonly decision: 'allow' | 'hold' | 'deny';
  /** `observe`: what it would decide is recorded, and the statement goes on to the next rule. Default: `enforce`. */
  readonly mode?: 'enforce' | 'observe';
  /** Most that a result may be of a statement that the rule allows, or that people approve because of it. */
  readonly limits?: RuleLimits;
  /** What the log has of the bind parameters of a statement that it decides; absent: what the configuration says. */
  readonly parameters?: ParameterRecording;
  /** The rest is for rules that hold. */
  readonly approvers?: readonly string[];
  readonly quorum?: number;
  readonly assurance?: 1 | 2 | 3;
  /** How long the request stays open, as `durationMs` reads it. */
  readonly expiry?: string;
  /** How long a connection waits for the answer, in the same form. */
  readonly holdTimeout?: string;
  /** Id of the Slack channel that gets the card, or of the user who gets it as a message. */
  readonly channel?: string;
  /** Times at which only these of them are asked and may approve. */
  readonly onCall?: readonly OnCall[];
  /** Approvals that one person may give within a minute, over all requests. */
  readonly maxPerMinute?: number;
  readonly escalate?: RuleEscalation;
};

/** `full`: the values; `digest`: one SHA-256 over all of them; `none`: how many there were. The last is the strictest. */
export type ParameterRecording = 'full' | 'digest' | 'none';

/** Who is asked as well when a request has been open for a time (`after`, as `durationMs` reads it). */
export type RuleEscalation = {
  readonly after: string;
  readonly approvers?: readonly string[];
  readonly channel?: string;
};

/**
 * All that are given must hold. Names are globs (`*`, `?`); written without quotes they mean what Postgres makes of them.
 * Of what a statement names, one part that matches is enough to hold or deny it, and what nobody can tell counts as a
 * match; to allow it, all of that kind must match and be known, and there must be at least one.
 */
export type RuleMatch = {
  readonly agent?: readonly string[];
  readonly owner?: readonly string[];
  readonly database?: readonly string[];
  readonly role?: readonly string[];
  readonly class?: readonly string[];
  /** The command tag (`DROP TABLE`), and what it does beside that (`ALTER TABLE DROP COLUMN`), in whatever case. */
  readonly command?: readonly string[];
  /** `schema.name`. */
  readonly relation?: readonly string[];
  /** `schema.relation.column`, of what is read and what is stored. */
  readonly column?: readonly string[];
  /** `schema.name`, of what the statement's own text calls. */
  readonly function?: readonly string[];
  /** Tags of the relations and columns that it touches. */
  readonly tag?: readonly string[];
  readonly boundary?: readonly string[];
  /** Rows that it returns, folds into its result, or writes. What nothing bounds is above anything. */
  readonly rows?: SizeCondition;
  /** Bytes of its result. Nothing says that before it runs, so any result is above anything. */
  readonly bytes?: SizeCondition;
  /** One of these is now. */
  readonly time?: readonly TimeWindow[];
};

/** `above` for rules that hold or deny, `atMost` for those that allow. */
export type SizeCondition = { readonly above?: number; readonly atMost?: number };

export const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
export type Weekday = (typeof WEEKDAYS)[number];

export type TimeWindow = {
  /** Days of the moment itself, also after midnight; none: all. */
  readonly days?: readonly Weekday[];
  /** `HH:MM-HH:MM`, without its end; over midnight where the end is not after the beginning. None: all day. */
  readonly hours?: string;
  /** IANA name of a time zone. Default: UTC. */
  readonly zone?: string;
};

/** Names of people or groups, for a time. Where two windows hold at a moment, a person must be in both. */
export type OnCall = TimeWindow & { readonly approvers: readonly string[] };

/** `rows` of a result, and `bytes` of its DataRow or CopyData bodies. */
export type RuleLimits = { readonly rows?: number; readonly bytes?: number };
