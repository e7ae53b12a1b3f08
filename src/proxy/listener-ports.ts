import type { Approvals } from '../approval/port.ts';
import type { AuditLog } from '../audit/entry.ts';
import type { Agent, Config } from '../config/config.ts';
import type { Decision } from '../policy/decision.ts';
import type { ErrorFields } from '../protocol/backend.ts';
import type { SessionSetup } from '../session/setup.ts';
import type { Analysis, NameScope } from '../statement/analysis.ts';
import type { BudgetKeeper } from './budget-keeper.ts';
import type { CancelRoutes } from './cancels.ts';
import type { RelayLog, RelayPorts } from './questions.ts';
import type { RelayObserver } from './relay-observer.ts';

/** What is known about statements of one agent in one database; made by the composition root. */
export type Knowledge = {
  readonly analyse: SessionSetup['analyse'];
  readonly analyseLater: (sql: Buffer, scope: NameScope, catalogCertain: boolean) => Promise<Analysis>;
  readonly decide: (analysis: Analysis, at: number) => Decision;
  readonly version: () => string;
  /** Changes when names may have come to mean something else; the policy and sizes do not matter. */
  readonly objects: () => string;
  readonly clarify: RelayPorts['clarify'];
  readonly probe: (sql: Buffer, scope: NameScope) => Promise<ErrorFields | null>;
  readonly findings: RelayPorts['findings'];
  readonly refreshCatalog: () => Promise<void>;
};

export type ListenerPorts = {
  readonly budgets: Pick<BudgetKeeper, 'of' | 'more' | 'standing'>;
  readonly config: Config;
  readonly audit: AuditLog;
  readonly approvals: Approvals;
  readonly cancels: CancelRoutes;
  readonly log: RelayLog & { readonly info: (facts: object, message: string) => void };
  readonly observe: RelayObserver & {
    readonly sessions: (change: 1 | -1) => void;
    readonly loginRefused: () => void;
  };
  /** Rejects when the database cannot be looked into. */
  readonly knowledge: (agent: Agent, database: string) => Promise<Knowledge>;
};
