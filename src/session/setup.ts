import type { SessionFacts } from '../audit/entry.ts';
import type { Limits } from '../config/limits.ts';
import type { Decision } from '../policy/decision.ts';
import type { Analysis, NameScope } from '../statement/analysis.ts';
import type { ParameterValues } from '../statement/context.ts';
import type { SessionBudget } from './budget-port.ts';

/** What a session is given. The functions are pure, or a snapshot of what the shell knows. */
export type SessionSetup = {
  readonly facts: SessionFacts;
  readonly mode: 'enforce' | 'observe';
  readonly limits: Limits;
  /** What is recorded of bind parameters where the rule does not say; left out: `full`. */
  readonly parameters?: NonNullable<Decision['parameters']>;
  /** Begins this session's refusal markers; at most 40 bytes of `[a-z0-9:]`. */
  readonly markerPrefix: string;
  /** The server tells of search_path in ParameterStatus (18 and later). */
  readonly reportsSearchPath: boolean;
  /** Pinned settings that have another value from the start: only in mode observe. */
  readonly unpinned?: readonly string[];
  readonly searchPath: readonly string[] | null;
  /** The database's encoding does not have every character; left out: it has. */
  readonly fewCharacters?: boolean;
  /** Null: too much for this thread; ask with the effect `analyse`. */
  readonly analyse: (
    sql: Buffer,
    scope: NameScope,
    catalogCertain: boolean,
    parameters: ParameterValues | null,
  ) => Analysis | null;
  /** `at`: microseconds since 1970 UTC, for rules with times. */
  readonly decide: (analysis: Analysis, at: number) => Decision;
  /** Left out: nothing is counted. */
  readonly budget?: SessionBudget;
  /** Changes when the catalog or the policy does. */
  readonly knowledge: () => string;
  /** Changes when names may have come to mean something else in the database; policy and sizes do not matter. */
  readonly objects: () => string;
};
