/** The composition root: every part is made and wired here, and nowhere else. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { loadAnalyser } from '../analyser/analyser.ts';
import { budgetStore } from '../approval/budgets.ts';
import type { Membership } from '../approval/membership.ts';
import { migrateApprovals } from '../approval/migrate.ts';
import { type ApprovalHandle, openApprovals } from '../approval/store.ts';
import { anchorAt } from '../audit/checkpoints/anchors.ts';
import { type Checkpointer, startCheckpoints } from '../audit/checkpoints/checkpointer.ts';
import type { Entry } from '../audit/entry.ts';
import { type OpenAuditLog, openAuditLog } from '../audit/log/log.ts';
import { createTransactionalAppender } from '../audit/log/transactional.ts';
import { DEFAULT_AUDIT_ROLES, migrateAudit } from '../audit/migrate.ts';
import { keyEntry } from '../audit/shipping/stream-key.ts';
import { readingJudgement } from '../catalog/reading.ts';
import { createHttpApp } from '../channels/api/app.ts';
import { credentialCheck } from '../channels/api/credentials.ts';
import { Followers } from '../channels/api/followers.ts';
import { listenHttp } from '../channels/api/server.ts';
import { createConsole } from '../channels/console/app.ts';
import { type ConsoleSessions, consoleSessions } from '../channels/console/sessions.ts';
import { withSlack } from '../channels/slack/mount.ts';
import type { SlackChannel } from '../channels/slack/slack.ts';
import type { UserGroups } from '../channels/slack/user-groups.ts';
import type { Config } from '../config/config.ts';
import { rulesText } from '../config/policy.ts';
import { keepPolicy, type PolicyKeeper, problemsOf } from '../config/policy-keeper.ts';
import { principalsOf } from '../config/principals.ts';
import type { Policy } from '../policy/rule.ts';
import { FACTS_FORM } from '../policy/statement-facts.ts';
import { type BudgetKeeper, createBudgetKeeper } from '../proxy/budget-keeper.ts';
import { type CancelRouting, startCancelRouting } from '../proxy/cancel-routing.ts';
import { nowMicros } from '../proxy/clock.ts';
import { createKnowledgeBase, type KnowledgeBase } from '../proxy/knowledge.ts';
import { type Listener, startListener } from '../proxy/listener.ts';
import type { Keys } from '../signing/keys.ts';
import { publishedPasskeys } from '../signing/passkey.ts';
import { newSealing } from '../signing/sealing.ts';
import type { StatementClass } from '../statement/analysis.ts';
import { readyz } from '../telemetry/health.ts';
import type { Logger } from '../telemetry/log.ts';
import { createMetrics, type Metrics } from '../telemetry/metrics.ts';
import { openSlack, openUserGroups } from './compose-slack.ts';
import { httpGate, openSearch, tokensOfPeople, watchKeys } from './http-gate.ts';
import { passkeysText, publishedKeys, trustedKeys } from './installation-keys.ts';
import { programVersion } from './version.ts';
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

async function migrate(config: Config): Promise<void> {
  const { adminUrl, url, schema } = config.audit;
  if (adminUrl === null) return;
  const writer = decodeURIComponent(new URL(url).username);
  const client = new pg.Client({ connectionString: adminUrl, application_name: 'countersign migrate' });
  await client.connect();
  try {
    await migrateAudit({
      admin: client,
      schema,
      roles: { ...DEFAULT_AUDIT_ROLES, writer: { name: writer, password: null } },
    });
    await migrateApprovals(client, {
      owner: 'countersign_requests_owner',
      writer,
      auditor: DEFAULT_AUDIT_ROLES.auditor.name,
    });
  } finally {
    await client.end();
  }
}

/** Before the log, so that it is closed after it: the last checkpoint covers the log's end. */
async function openCheckpoints(
  config: Config,
  keys: Keys,
  log: Logger,
  opened: (() => Promise<void>)[],
): Promise<Checkpointer> {
  const { url, schema, origin, anchors } = config.audit;
  const checkpoints = await startCheckpoints({
    url,
    schema,
    origin,
    signer: () => keys.signer,
    publicKeys: () => keys.jwks().keys,
    everyMs: config.limits.checkpointMs,
    anchors: anchors.map(anchorAt),
    log,
  });
  opened.push(() => checkpoints.close());
  return checkpoints;
}

async function openAudit(
  config: Config,
  keys: Keys,
  log: Logger,
  opened: (() => Promise<void>)[],
): Promise<OpenAuditLog> {
  const audit = await openAuditLog({
    directory: join(config.dataDirectory, 'journal'),
    url: config.audit.url,
    schema: config.audit.schema,
    limits: config.limits,
    log,
    signer: keys.signer,
  });
  opened.push(() => audit.close());
  audit.append(policyEvent(config.policy));
  audit.append(
    eventOf('configuration', {
      mode: config.mode,
      durability: config.audit.durability,
      agents: config.agents.map(({ name }) => name).join(', '),
      people: config.people.map(({ id }) => id).join(', '),
      passkeys: passkeysText(config),
      // Statements of this stream without facts are plain ones.
      facts: String(FACTS_FORM),
    }),
  );
  // So that what was signed with a passkey can be verified when the configuration has it no more.
  for (const jwk of publishedPasskeys(config.people))
    audit.append(keyEntry(jwk.kid, jwk, 'passkey', BigInt(nowMicros())));
  return audit;
}

/** Every version of the policy is in the audit log, whole, by its digest. */
function policyEvent({ digest, rules }: Policy, more: Record<string, string> = {}): Entry {
  return eventOf('policy', { digest, rules: rulesText(rules), form: 'rfc8785', ...more });
}

function openPolicy(
  config: Config,
  load: (() => Promise<Policy>) | null,
  audit: OpenAuditLog,
  metrics: Metrics,
  log: Logger,
  opened: (() => Promise<void>)[],
): PolicyKeeper {
  const keeper = keepPolicy({
    initial: config.policy,
    load,
    pollMs: config.limits.policyPollMs,
    changed: (policy, was) => {
      metrics.policyReload('changed');
      audit.append(policyEvent(policy, { was: was.digest }));
      log.info({ policy: policy.digest, was: was.digest }, 'the policy has changed');
    },
    failed: (error, kept) => {
      metrics.policyReload('failed');
      audit.append(eventOf('configuration', { problem: problemsOf(error), keptPolicy: kept.digest }));
      log.error({ err: error, kept: kept.digest }, 'the policy file cannot be used; the last policy stays');
    },
  });
  opened.push(async () => keeper.close());
  return keeper;
}

function eventOf(kind: 'policy' | 'configuration', detail: Record<string, string>): Entry {
  return { kind, at: BigInt(nowMicros()), session: null, requestId: null, people: [], receipt: null, detail };
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

type HttpParts = {
  readonly config: Config;
  readonly keys: Keys;
  readonly audit: OpenAuditLog;
  readonly checkpoints: Checkpointer;
  readonly policy: PolicyKeeper;
  readonly approvals: ApprovalHandle;
  readonly knowledge: KnowledgeBase;
  readonly metrics: Metrics;
  readonly slack: SlackChannel | null;
  readonly userGroups: UserGroups | null;
  readonly sessions: ConsoleSessions;
  readonly log: Logger;
};

async function serveHttp(
  parts: HttpParts,
  opened: (() => Promise<void>)[],
): Promise<{ readonly port: number }> {
  const { config, keys, audit, policy, approvals, metrics, sessions, log } = parts;
  const { apiKeys, publicUrl } = config.http;
  const check = credentialCheck(apiKeys, config.agents, tokensOfPeople(config));
  const { gate, close } = httpGate(config, check, audit, log);
  opened.push(close);
  const watched = watchKeys(config.http, log);
  opened.push(watched.close);
  const followers = new Followers({ desk: approvals, limits: config.limits, log });
  const app = createHttpApp({
    ...gate,
    auditSearch: openSearch(config, audit, log, opened),
    followers,
    desk: approvals,
    agents: config.agents,
    mode: config.mode,
    policy: () => ({ policy: policy.current(), since: policy.since() }),
    limits: config.limits,
    version: programVersion(),
    jwks: () => publishedKeys(keys, config),
    readiness: () => readiness(parts, watched.state()),
    checkpoint: () => parts.checkpoints.newest(),
    metrics: metrics.render,
    console: createConsole({ desk: approvals, sessions, check, publicUrl }),
    log,
  });
  const slackListener = parts.slack?.requestListener ?? null;
  const server = await listenHttp(slackListener === null ? app : withSlack(app, slackListener), config.http);
  opened.push(() => server.close());
  // First: the server waits for what it still answers.
  opened.push(async () => followers.close());
  return server;
}

async function readiness(
  { audit, approvals, checkpoints, knowledge, slack, userGroups }: HttpParts,
  apiKeys: string,
) {
  const approvalsReachable = await approvals.ping().then(
    () => true,
    () => false,
  );
  const { status, body } = readyz({
    listening: true,
    draining: false,
    upstreamReachable: knowledge.healthy(),
    auditHealthy: audit.healthy(),
    approvalsReachable,
  });
  const checks = {
    reasons: body.reasons.join('; '),
    slack: slack?.trouble() ?? userGroups?.trouble() ?? 'ok',
    checkpoints: checkpoints.trouble() ?? 'ok',
    apiKeys,
  };
  return { ok: status === 200, checks };
}
