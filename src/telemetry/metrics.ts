import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { STATEMENT_CLASSES, type StatementClass } from '../statement/analysis.ts';

const DECISIONS = ['allow', 'hold', 'deny'] as const;
type DecisionKind = (typeof DECISIONS)[number];

/** How a hold ended, as seen on its connection. */
export const HOLD_ENDS = ['released', 'denied', 'expired', 'withdrawn', 'detached', 'failed'] as const;
export type HoldEnd = (typeof HOLD_ENDS)[number];

/** What is read when somebody looks, not kept up to date on the way. */
export type Lag = {
  /** Entries and bytes in the local journal that are not yet in the audit database. */
  readonly journalEntries: number;
  readonly journalBytes: number;
  /** Age of the oldest such entry, seconds; 0 when there is none. */
  readonly auditSeconds: number;
};

/** Handles for the places that count. `statement` is on the hot path: one addition to a number. */
export type Metrics = {
  readonly statement: (decision: DecisionKind, statementClass: StatementClass) => void;
  readonly analysed: (seconds: number) => void;
  readonly sessionOpened: () => void;
  readonly sessionClosed: () => void;
  readonly loginRefused: () => void;
  readonly policyReload: (result: 'changed' | 'failed') => void;
  readonly holdOpened: () => void;
  readonly holdEnded: (end: HoldEnd, seconds: number) => void;
  /** Rows and bytes counted against a budget. */
  readonly budgetTaken: (budget: string, rows: number, bytes: number) => void;
  readonly budgetLeased: (result: 'granted' | 'empty' | 'failed') => void;
  /** Attempts to deliver a message to a webhook, and what waits for one. */
  readonly webhookAttempt: (webhook: string, result: 'delivered' | 'failed' | 'dead') => void;
  readonly webhookWaiting: (webhook: string, pending: number, dead: number) => void;
  /** Says where the lag is read from; the last caller wins. */
  readonly readLagFrom: (read: () => Lag) => void;
  readonly contentType: string;
  /** The page for `/metrics`, in Prometheus' text format. */
  readonly render: () => Promise<string>;
};

/** A registry of its own, so that two instances in one process do not mix. Names begin with `countersign_`. */
export function createMetrics(): Metrics {
  const registers = [new Registry()];
  const [registry = new Registry()] = registers;
  const statements = statementCounter(registers);
  const analysis = new Histogram({
    name: 'countersign_analysis_seconds',
    help: 'Time from the bytes of a statement to its decision, without questions to the server.',
    buckets: [5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 5e-4, 2e-3, 1e-2, 0.1, 1, 5],
    registers,
  });
  const sessions = new Gauge({ name: 'countersign_sessions', help: 'Authenticated sessions.', registers });
  const sessionsTotal = new Counter({
    name: 'countersign_sessions_total',
    help: 'Sessions since the start of the process.',
    registers,
  });
  const refused = new Counter({
    name: 'countersign_logins_refused_total',
    help: 'Log-ins of agents that were refused.',
    registers,
  });
  const reloads = new Counter({
    name: 'countersign_policy_reloads_total',
    help: 'Changes of the policy file that took effect, and those that could not be used.',
    labelNames: ['result'],
    registers,
  });
  for (const result of ['changed', 'failed']) reloads.inc({ result }, 0);
  const holds = new Gauge({
    name: 'countersign_holds_open',
    help: 'Statements that wait on their connection for a person.',
    registers,
  });
  const holdSeconds = new Histogram({
    name: 'countersign_hold_seconds',
    help: 'How long statements waited on their connection, by how that ended.',
    labelNames: ['end'],
    buckets: [1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600],
    registers,
  });
  const lag = lagGauges(registers);
  processMetrics(registers);

  return {
    statement: statements.count,
    analysed: (seconds) => analysis.observe(seconds),
    sessionOpened: () => {
      sessions.inc();
      sessionsTotal.inc();
    },
    sessionClosed: () => sessions.dec(),
    loginRefused: () => refused.inc(),
    policyReload: (result) => reloads.inc({ result }),
    holdOpened: () => holds.inc(),
    holdEnded: (end, seconds) => {
      holds.dec();
      holdSeconds.observe({ end }, seconds);
    },
    ...budgetCounters(registers),
    ...webhookMetrics(registers),
    readLagFrom: lag.readFrom,
    contentType: registry.contentType,
    render: async () => {
      statements.fold();
      return registry.metrics();
    },
  };
}

/** prom-client hashes labels at each increment; plain numbers are added to and folded in when somebody looks. */
function statementCounter(registers: Registry[]) {
  const counter = new Counter({
    name: 'countersign_statements_total',
    help: 'Statements by decision and class.',
    labelNames: ['decision', 'class'],
    registers,
  });
  const cells = DECISIONS.flatMap((decision) =>
    STATEMENT_CLASSES.map((statementClass) => ({ decision, class: statementClass })),
  );
  const index = new Map(cells.map((cell, at) => [`${cell.decision} ${cell.class}`, at]));
  const byDecision = Object.fromEntries(
    DECISIONS.map((decision) => [
      decision,
      Object.fromEntries(STATEMENT_CLASSES.map((name) => [name, index.get(`${decision} ${name}`) ?? 0])),
    ]),
  ) as Record<DecisionKind, Record<StatementClass, number>>;
  const pending = new Float64Array(cells.length);
  return {
    count: (decision: DecisionKind, statementClass: StatementClass) => {
      const at = byDecision[decision][statementClass];
      pending[at] = (pending[at] ?? 0) + 1;
    },
    fold: () => {
      cells.forEach((labels, at) => {
        counter.inc(labels, pending[at] ?? 0);
      });
      pending.fill(0);
    },
  };
}

function budgetCounters(registers: Registry[]): Pick<Metrics, 'budgetTaken' | 'budgetLeased'> {
  const counter = <L extends string>(name: string, help: string, label: L) =>
    new Counter({ name, help, labelNames: [label], registers });
  const rows = counter('countersign_budget_rows_total', 'Rows counted against budgets.', 'budget');
  const bytes = counter('countersign_budget_bytes_total', 'Bytes counted against budgets.', 'budget');
  const leases = counter(
    'countersign_budget_slices_total',
    'Slices of budgets that were asked for: granted, empty (the budget is used up), or failed.',
    'result',
  );
  for (const result of ['granted', 'empty', 'failed']) leases.inc({ result }, 0);
  return {
    budgetTaken: (budget, moreRows, moreBytes) => {
      rows.inc({ budget }, moreRows);
      bytes.inc({ budget }, moreBytes);
    },
    budgetLeased: (result) => leases.inc({ result }),
  };
}

function webhookMetrics(registers: Registry[]): Pick<Metrics, 'webhookAttempt' | 'webhookWaiting'> {
  const attempts = new Counter({
    name: 'countersign_webhook_attempts_total',
    help: 'Attempts to deliver a message to a webhook: delivered, failed (it is tried again), dead (given up).',
    labelNames: ['webhook', 'result'],
    registers,
  });
  const waiting = new Gauge({
    name: 'countersign_webhook_messages',
    help: 'Messages to webhooks in the audit database that wait (pending), and that were given up (dead).',
    labelNames: ['webhook', 'state'],
    registers,
  });
  return {
    webhookAttempt: (webhook, result) => attempts.inc({ webhook, result }),
    webhookWaiting: (webhook, pending, dead) => {
      waiting.set({ webhook, state: 'pending' }, pending);
      waiting.set({ webhook, state: 'dead' }, dead);
    },
  };
}

function lagGauges(registers: Registry[]) {
  let read: () => Lag = () => ({ journalEntries: 0, journalBytes: 0, auditSeconds: 0 });
  const gauge = (name: string, help: string, value: (lag: Lag) => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value(read()));
      },
    });
  gauge(
    'countersign_journal_entries',
    'Entries in the local journal that are not yet in the audit database.',
    (lag) => lag.journalEntries,
  );
  gauge('countersign_journal_bytes', 'The same in bytes.', (lag) => lag.journalBytes);
  gauge(
    'countersign_audit_lag_seconds',
    'Age of the oldest entry that is not yet in the audit database.',
    (lag) => lag.auditSeconds,
  );
  return {
    readFrom: (source: () => Lag) => {
      read = source;
    },
  };
}

function processMetrics(registers: Registry[]): void {
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time, user and system.',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}
