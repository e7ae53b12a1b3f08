/** One statement under way: its intent is recorded, its outcome is due. */
import type { RestRefusal } from '../audit/entry.ts';
import type { Meter } from '../budget/meter.ts';
import type { StatementClass, SymbolUse } from '../statement/analysis.ts';
import type { Subject } from './subject.ts';

export type Run = {
  readonly no: number;
  readonly class: StatementClass;
  /** Set late where people are asked about it in the middle of its result. */
  requestId: string | null;
  approvers: readonly string[];
  /** Microseconds since 1970 UTC. */
  readonly startedAt: number;
  readonly symbols: readonly SymbolUse[];
  /** The statement's own text: what a name that it makes stands for. Null where it makes none. */
  readonly text: Buffer | null;
  /** What names meant when it was judged; null where that hangs on the rest of its string. */
  readonly scopeKey: string | null;
  readonly changesCatalog: boolean;
  /** Takes COPY data, or may: COPY FROM. */
  readonly copyIn: boolean;
  /** It may commit by itself (CALL, VACUUM, CREATE INDEX CONCURRENTLY …), so a later error need not undo it. */
  readonly maySelfCommit: boolean;
  /** The transaction status when it was sent was idle, so an error later in its group undoes it. */
  implicitTransaction: boolean;
  /** Rows have come, or its portal was suspended. */
  begun: boolean;
  rows: number;
  bytes: number;
  /** What may pass of its result; null: all of it. */
  guard: RowGuard | null;
  /** Counts its result against the agent's budgets; null: it has nothing that counts, or is not released yet. */
  meter: Meter | null;
  /** What it belongs to, where it is guarded: what people are asked about if it comes to more. */
  subject: Subject | null;
  /** Its place among the statements of the subject. */
  readonly place: number;
  /** What its cursor has given in all; null: it has none, and counts for itself. */
  cursor: Passed | null;
  /** What the rest of its result was judged as, where it came to more than it was let pass for. */
  rest: Rest | null;
  tag: string | null;
  /**
   * `sent` until the server answers; `bound` after BindComplete; `complete` after CommandComplete, until
   * ReadyForQuery says that it is committed; `recorded` once its outcome is in the log.
   */
  state: 'sent' | 'bound' | 'complete' | 'failed' | 'recorded';
  sqlstate: string | null;
};

/** Rows, and bytes of their DataRow bodies; `Infinity` where there is no bound. */
export type Bound = { readonly rows: number; readonly bytes: number };

export type RowGuard = Bound & {
  /** Its size is not known beforehand, so nothing is sent behind it until it is complete. */
  readonly measured: boolean;
  /** `ask`: policy, and where it says so people, decide about the rest. `stop`: people have set this bound. */
  readonly beyond: 'ask' | 'stop';
  readonly rule: string;
  /** Why it was let pass, in plain words. */
  readonly reasons: readonly string[];
};

export type Rest = {
  readonly class: StatementClass;
  readonly rule: string;
  readonly reasons: readonly string[];
  /** Null: nobody has refused it (yet). */
  refusedBy: RestRefusal | null;
};

/** Rows that went to the client, and bytes of their DataRow bodies. */
export type Passed = { rows: number; bytes: number };

/** Records must be safe before a reply: written (reads), on disk (writes), committed in the audit database (held). */
export type Safety = 'written' | 'synced' | 'committed';

/** What the class of an allowed statement asks of its record (DESIGN, "Safety of a record"). */
export function safetyOf(statementClass: StatementClass): Safety {
  return statementClass === 'read' || statementClass === 'session' ? 'written' : 'synced';
}
