/** The composition root: every part is made and wired here and in the compose-*.ts beside it, and nowhere else. */
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { loadAnalyser } from '../analyser/analyser.ts';
import { budgetStore } from '../approval/budgets.ts';
import type { Membership } from '../approval/membership.ts';
import { type ApprovalHandle, openApprovals } from '../approval/store.ts';
import type { OpenAuditLog } from '../audit/log/log.ts';
import { createTransactionalAppender } from '../audit/log/transactional.ts';
import { readingJudgement } from '../catalog/reading.ts';
import { consoleSessions } from '../channels/console/sessions.ts';
import type { Config } from '../config/config.ts';
import { principalsOf } from '../config/principals.ts';
import type { Policy } from '../policy/rule.ts';
import { type BudgetKeeper, createBudgetKeeper } from '../proxy/budget-keeper.ts';
import { type CancelRouting, startCancelRouting } from '../proxy/cancel-routing.ts';
import { createKnowledgeBase, type KnowledgeBase } from '../proxy/knowledge.ts';
import { type Listener, startListener } from '../proxy/listener.ts';
import type { Keys } from '../signing/keys.ts';
import { newSealing } from '../signing/sealing.ts';
import type { StatementClass } from '../statement/analysis.ts';
import type { Logger } from '../telemetry/log.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { migrate, openAudit, openCheckpoints, openPolicy } from './compose-audit.ts';
import { serveHttp } from './compose-http.ts';
import { openSlack, openUserGroups } from './compose-slack.ts';
import { trustedKeys } from './installation-keys.ts';
import { openWebhooks } from './webhook-channel.ts';

export type Countersign = {
  readonly agentAddress: { readonly host: string; readonly port: number };
  readonly httpAddress: { readonly host: string; readonly port: number };
  /** A link to the approval page that signs its first visitor in as that person, once. */
  readonly signInLink: (person: string) => Promise<string>;
  /** Reads the policy's file now, rather than when it is looked at next. */
  readonly reloadPolicy: () => Promise<void>;
  /** No new sessions; holds are told to reconnect. Resolves when every session has ended. */
  readonly drain: () => Promise<void>;
  readonly close: () => Promise<void>;
};

/**
 * Migrates (where `audit.adminUrl` is given), starts every part, and listens. Rejects when a part cannot start.
 * `loadPolicy` reads the policy's file again, which is looked at as long as the program runs; null: it never changes.
 */
export async function startCountersign(
  config: Config,
  log: Logger,
  loadPolicy: (() => Promise<Policy>) | null = null,
): Promise<Countersign> {
  const opened: (() => Promise<void>)[] = [];
  const closeAll = async () => {
    for (const close of opened.splice(0).reverse())
      await close().catch((error: Error) => log.error({ err: error }, 'a part did not close'));
  };
  try {
    await migrate(config);
    const keys = await trustedKeys(config);
    const metrics = createMetrics();
    const checkpoints = await openCheckpoints(config, keys, log, opened);
    const audit = await openAudit(config, keys, log, opened);
    const policy = openPolicy(config, loadPolicy, audit, metrics, log, opened);
    const userGroups = await openUserGroups(config, log, opened);
    const approvals = await openDesk(config, keys, userGroups, log, opened);
    const analyser = await loadAnalyser(config.limits);
    opened.push(() => analyser.close());
    const knowledge = createKnowledgeBase({
      config,
      policy: policy.current,
      analyser,
      judgement: readingJudgement(analyser, config.limits, config.functions, log),
      log,
      analysed: metrics.analysed,
    });
    opened.push(() => knowledge.close());
    const { url } = config.audit;
    const cancels = await startCancelRouting({ url, sealing: newSealing(keys), limits: config.limits, log });
    opened.push(() => cancels.close());
    const budgets = createBudgetKeeper({
      config,
      store: budgetStore(approvals.pool),
      log,
      observe: { taken: metrics.budgetTaken, leased: metrics.budgetLeased },
      now: () => performance.now(),
    });
    opened.push(() => budgets.close());
    const listener = await listen(config, audit, approvals, cancels, budgets, knowledge, metrics, log);
    opened.push(() => listener.close());
    const slack = await openSlack(config, approvals, log, opened);
    await openWebhooks({ config, approvals, metrics, log, opened });
    const sessions = consoleSessions(approvals.pool);
    const http = await serveHttp(
      {
        config,
        keys,
        audit,
        policy,
        approvals,
        knowledge,
        metrics,
        slack,
        userGroups,
        sessions,
        checkpoints,
        log,
      },
      opened,
    );
    metrics.readLagFrom(() => {
      const { lagEntries, journalBytes, awayMs } = audit.stats();
      return { journalEntries: lagEntries, journalBytes, auditSeconds: awayMs / 1000 };
    });
    return {
      agentAddress: listener.address,
      httpAddress: { host: config.http.host, port: http.port },
      signInLink: async (person) =>
        `${config.http.publicUrl}/sign-in?token=${await sessions.issueLink(person)}`,
      reloadPolicy: () => policy.reload(),
      drain: () => listener.drain(config.limits.drainMs),
      close: closeAll,
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function openDesk(
  config: Config,
  keys: Keys,
  membership: Membership | null,
  log: Logger,
  opened: (() => Promise<void>)[],
): Promise<ApprovalHandle> {
  const appender = createTransactionalAppender({ schema: config.audit.schema, signer: keys.signer });
  // After the desk, which may still have something to say as it closes.
  opened.push(() => appender.end(config.audit.url));
  const approvals = await openApprovals({
    url: config.audit.url,
    limits: config.limits,
    people: principalsOf(config),
    ...(membership === null ? {} : { membership }),
    keys,
    appendAudit: appender.append,
    log,
    publicUrl: config.http.publicUrl,
    processId: randomBytes(12).toString('hex'),
  });
  opened.push(() => approvals.close());
  return approvals;
}

function listen(
  config: Config,
  audit: OpenAuditLog,
  approvals: ApprovalHandle,
  cancels: CancelRouting,
  budgets: BudgetKeeper,
  knowledge: KnowledgeBase,
  metrics: Metrics,
  log: Logger,
): Promise<Listener> {
  return startListener({
    config,
    audit,
    approvals,
    cancels,
    budgets,
    log,
    knowledge: (agent, database) => knowledge.of(agent, database),
    observe: {
      statement: (decision, name) => metrics.statement(decision, name as StatementClass),
      held: metrics.holdOpened,
      holdEnded: metrics.holdEnded,
      sessions: (change) => (change === 1 ? metrics.sessionOpened() : metrics.sessionClosed()),
      loginRefused: metrics.loginRefused,
    },
  });
}
