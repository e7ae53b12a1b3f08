/** The log, the checkpoints over it, and the policy, whose versions are in it. */
import { join } from 'node:path';
import pg from 'pg';
import { migrateApprovals } from '../approval/migrate.ts';
import { jwkThumbprint } from '../audit/chain/thumbprint.ts';
import { anchorAt } from '../audit/checkpoints/anchors.ts';
import { type Checkpointer, startCheckpoints } from '../audit/checkpoints/checkpointer.ts';
import type { Entry } from '../audit/entry.ts';
import { type OpenAuditLog, openAuditLog } from '../audit/log/log.ts';
import { DEFAULT_AUDIT_ROLES, migrateAudit } from '../audit/migrate.ts';
import { keyEntry } from '../audit/shipping/stream-key.ts';
import type { Config } from '../config/config.ts';
import { rulesText } from '../config/policy.ts';
import { keepPolicy, type PolicyKeeper, problemsOf } from '../config/policy-keeper.ts';
import type { Policy } from '../policy/rule.ts';
import { FACTS_FORM } from '../policy/statement-facts.ts';
import { nowMicros } from '../proxy/clock.ts';
import type { Keys } from '../signing/keys.ts';
import { publishedPasskeys } from '../signing/passkey.ts';
import type { Logger } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { passkeysText } from './installation-keys.ts';

/** Both schemas, where the configuration names a role that may. */
export async function migrate(config: Config): Promise<void> {
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
export async function openCheckpoints(
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
    publicKeys: () => everyKey(keys),
    everyMs: config.limits.checkpointMs,
    anchors: anchors.map(anchorAt),
    log,
  });
  opened.push(() => checkpoints.close());
  return checkpoints;
}

/** Revoked ones, too. */
function everyKey(keys: Keys) {
  const { keys: believed, revoked = [] } = keys.jwks();
  return [...believed, ...revoked];
}

export async function openAudit(
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
    isOurs: (kid) => everyKey(keys).some((jwk) => jwkThumbprint(jwk) === kid),
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

export function openPolicy(
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

/** Every version of the policy is in the audit log, whole, by its digest. */
function policyEvent({ digest, rules }: Policy, more: Record<string, string> = {}): Entry {
  return eventOf('policy', { digest, rules: rulesText(rules), form: 'rfc8785', ...more });
}

function eventOf(kind: 'policy' | 'configuration', detail: Record<string, string>): Entry {
  return { kind, at: BigInt(nowMicros()), session: null, requestId: null, people: [], receipt: null, detail };
}
