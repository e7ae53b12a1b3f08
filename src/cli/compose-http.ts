/** What the HTTP address serves: the API, the approval page, Slack's calls, health and keys. */
import type { ApprovalHandle } from '../approval/store.ts';
import type { Checkpointer } from '../audit/checkpoints/checkpointer.ts';
import type { OpenAuditLog } from '../audit/log/log.ts';
import { createHttpApp } from '../channels/api/app.ts';
import { credentialCheck } from '../channels/api/credentials.ts';
import { Followers } from '../channels/api/followers.ts';
import { listenHttp } from '../channels/api/server.ts';
import { createConsole } from '../channels/console/app.ts';
import type { ConsoleSessions } from '../channels/console/sessions.ts';
import { withSlack } from '../channels/slack/mount.ts';
import type { SlackChannel } from '../channels/slack/slack.ts';
import type { UserGroups } from '../channels/slack/user-groups.ts';
import type { Config } from '../config/config.ts';
import type { PolicyKeeper } from '../config/policy-keeper.ts';
import type { KnowledgeBase } from '../proxy/knowledge.ts';
import type { Keys } from '../signing/keys.ts';
import { readyz } from '../telemetry/health.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { httpGate, openSearch, tokensOfPeople, watchKeys } from './http-gate.ts';
import { publishedKeys } from './installation-keys.ts';
import { programVersion } from './version.ts';

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

export async function serveHttp(
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
