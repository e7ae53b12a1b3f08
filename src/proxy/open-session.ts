/** From a client that proved who it is to a session that is relayed. */
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { AuditLog, SessionFacts } from '../audit/entry.ts';
import type { AgentBudgets } from '../budget/agent-budgets.ts';
import type { Config } from '../config/config.ts';
import { encodeFrame } from '../protocol/backend.ts';
import { SQLSTATE } from '../protocol/sqlstate.ts';
import type { SessionBudget } from '../session/budget-port.ts';
import { PINNED, unpinnedOf } from '../session/pinned.ts';
import { parseSearchPath } from '../session/search-path.ts';
import type { SessionSetup } from '../session/setup.ts';
import { AUTHENTICATION_OK } from './authentication.ts';
import type { Cancels } from './cancels.ts';
import type { LoggedIn } from './client-login.ts';
import { LoginRefused } from './client-parameters.ts';
import { nowMicros } from './clock.ts';
import { endWithCredential } from './credential-expiry.ts';
import type { Knowledge, ListenerPorts } from './listener-ports.ts';
import { Relay } from './relay.ts';
import { askUpstream, cancelUpstream, openUpstream, type Upstream } from './upstream.ts';

/** What a session tells those who count it: once when it is relayed, once when it is over. */
export type SessionWatch = {
  readonly began: (relay: Relay) => void;
  readonly ended: (relay: Relay) => void;
};

/**
 * Connects upstream, greets the client, and relays. Rejects with `LoginRefused`, `UpstreamRefused` or
 * `UpstreamUnavailable` before the client has got anything; the upstream connection is closed then.
 */
export async function openSession(
  client: LoggedIn,
  address: string | null,
  ports: ListenerPorts,
  cancels: Cancels,
  watch: SessionWatch,
): Promise<void> {
  const { config } = ports;
  const database = databaseFor(client, config);
  const { agent } = client.proof;
  const { user, password } = agent.upstream;
  const upstream = await openUpstream(
    config.upstream,
    { user, password, database, parameters: client.parameters.passed, pin: config.mode === 'enforce' },
    config.limits.authenticationMs,
  );
  try {
    const facts = sessionFacts(client, database, address);
    const knowledge = await ports.knowledge(agent, database);
    const setup = {
      ...(await sessionSetup(facts, upstream, knowledge, config)),
      budget: sessionBudget(ports.budgets.of(agent.name)),
    };
    begin(client, upstream, setup, knowledge, ports, cancels, watch);
  } catch (error) {
    upstream.wire.destroy();
    throw error;
  }
}

function databaseFor(client: LoggedIn, config: Config): string {
  const configured = config.upstream.database;
  const asked = client.parameters.database;
  if (configured === null) return asked ?? client.proof.agent.name;
  if (asked !== null && asked !== configured)
    throw new LoginRefused(
      '3D000',
      `database "${asked}" is not reachable through this proxy`,
      `Connect to "${configured}".`,
    );
  return configured;
}

async function sessionSetup(
  facts: SessionFacts,
  upstream: Upstream,
  knowledge: Knowledge,
  config: Config,
): Promise<SessionSetup> {
  const reported = upstream.parameters.get('search_path');
  const searchPath =
    reported ??
    (await askUpstream(
      upstream,
      "SELECT pg_catalog.current_setting('search_path')",
      config.limits.authenticationMs,
    ));
  for (const [setting, value] of Object.entries(PINNED))
    if (upstream.parameters.get(setting) !== value && config.mode === 'enforce')
      throw new LoginRefused(
        SQLSTATE.featureNotSupported,
        `countersign: the server does not keep ${setting} at ${value}`,
      );
  return {
    facts,
    mode: config.mode,
    limits: config.limits,
    ...(config.audit.parameters === undefined ? {} : { parameters: config.audit.parameters }),
    markerPrefix: `cs:${randomBytes(9).toString('hex')}`,
    reportsSearchPath: reported !== undefined,
    unpinned: unpinnedOf(upstream.parameters),
    fewCharacters: !EVERY_CHARACTER.has(upstream.parameters.get('server_encoding') ?? ''),
    searchPath: searchPath === null ? null : parseSearchPath(searchPath, facts.role),
    analyse: knowledge.analyse,
    decide: knowledge.decide,
    knowledge: knowledge.version,
    objects: knowledge.objects,
  };
}

/** `server_encoding`s of databases that can hold whatever is asked about; SQL_ASCII takes any bytes. */
const EVERY_CHARACTER: ReadonlySet<string> = new Set(['UTF8', 'SQL_ASCII']);

function sessionBudget(budgets: AgentBudgets): SessionBudget {
  return {
    open: (statements, asked) => budgets.open(statements, performance.now(), asked),
    uncapped: (statements) => budgets.uncapped(statements),
    exhausted: (statements) => budgets.exhausted(statements, performance.now()),
    loose: (bytes) => budgets.loose(bytes),
  };
}

function begin(
  client: LoggedIn,
  upstream: Upstream,
  setup: SessionSetup,
  knowledge: Knowledge,
  ports: ListenerPorts,
  cancels: Cancels,
  watch: SessionWatch,
): void {
  const { config, audit, approvals, log, observe } = ports;
  const { facts } = setup;
  recordEvent(audit, 'session_start', facts, {});
  audit.write();
  let key = { processId: 0 };
  let expiry = () => {};
  const relay: Relay = new Relay(
    client.wire,
    upstream,
    setup,
    {
      limits: config.limits,
      audit,
      strict: config.audit.durability === 'strict',
      approvals,
      log,
      analyseLater: knowledge.analyseLater,
      clarify: knowledge.clarify,
      probe: knowledge.probe,
      findings: knowledge.findings,
      standing: (statements) => ports.budgets.standing(facts.agent, statements),
      refreshCatalog: knowledge.refreshCatalog,
      budget: (statements) => ports.budgets.more(facts.agent, statements),
      cancelUpstream: () => cancelUpstream(config.upstream, upstream, config.limits.cancelMs),
      observe,
    },
    (why) => {
      expiry();
      cancels.revoke(key.processId);
      watch.ended(relay);
      try {
        recordEvent(audit, 'session_end', facts, { why });
      } catch (error) {
        log.error({ err: error as Error }, 'the end of a session could not be recorded');
      }
    },
  );
  const issued = cancels.issue(client.protocol, () => relay.cancel());
  key = issued;
  watch.began(relay);
  const { until } = client.proof;
  if (until !== null) expiry = endWithCredential(relay, until, config.limits.tokenGraceMs);
  client.wire.write(greeting(upstream, issued));
  relay.start(client.ahead());
}

function recordEvent(
  audit: AuditLog,
  kind: 'session_start' | 'session_end',
  session: SessionFacts,
  detail: Readonly<Record<string, string>>,
): void {
  audit.append({
    kind,
    at: BigInt(nowMicros()),
    session,
    requestId: null,
    people: [],
    receipt: null,
    detail,
  });
}

function sessionFacts(client: LoggedIn, database: string, address: string | null): SessionFacts {
  const sessionId = randomBytes(12).toString('hex');
  const { agent, onBehalfOf, run } = client.proof;
  return {
    sessionId,
    agent: agent.name,
    owner: agent.owner,
    onBehalfOf,
    run: run ?? client.parameters.run ?? sessionId,
    runVerified: run !== null,
    database,
    role: agent.upstream.user,
    applicationName: client.parameters.applicationName,
    clientAddress: address,
    tls: client.tls,
  };
}

/** What a client gets after it is let in: the server's own parameters, and a cancel key of ours. */
function greeting(upstream: Upstream, key: { readonly processId: number; readonly key: Buffer }): Buffer {
  const head = Buffer.alloc(4);
  head.writeInt32BE(key.processId, 0);
  const frames = [AUTHENTICATION_OK];
  for (const [name, value] of upstream.parameters)
    frames.push(encodeFrame(0x53, Buffer.from(`${name}\0${value}\0`)));
  frames.push(
    ...upstream.notices,
    encodeFrame(0x4b, Buffer.concat([head, key.key])),
    encodeFrame(0x5a, Buffer.from('I')),
  );
  return Buffer.concat(frames);
}
