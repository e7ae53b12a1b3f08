/** One statement under way: its intent is recorded, its outcome is due. */
import type { StatementClass, SymbolUse } from '../statement/analysis.ts';

export type Run = {
  readonly no: number;
  readonly class: StatementClass;
  readonly requestId: string | null;
  readonly approvers: readonly string[];
  /** Microseconds since 1970 UTC. */
  readonly startedAt: number;
  readonly symbols: readonly SymbolUse[];
  readonly changesCatalog: boolean;
  /** The transaction status when it was sent was idle, so an error later in its group undoes it. */
  readonly implicitTransaction: boolean;
  rows: number;
  bytes: number;
  tag: string | null;
  /**
   * `sent` until the server answers; `bound` after BindComplete; `complete` after CommandComplete, until
   * ReadyForQuery says that it is committed; `recorded` once its outcome is in the log.
   */
  state: 'sent' | 'bound' | 'complete' | 'failed' | 'recorded';
  sqlstate: string | null;
};

/** Records must be safe before a reply: written (reads), on disk (writes), committed in the audit database (held). */
export type Safety = 'written' | 'synced' | 'committed';

/** What the class of an allowed statement asks of its record (DESIGN, "Safety of a record"). */
export function safetyOf(statementClass: StatementClass): Safety {
  return statementClass === 'read' || statementClass === 'session' ? 'written' : 'synced';
}
