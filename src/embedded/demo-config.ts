import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import { deepFreeze } from '../config/freeze.ts';
import { DEFAULT_LIMITS } from '../config/limits.ts';
import type { HostPort } from '../config/overrides.ts';
import { makePolicy } from '../config/policy.ts';
import { formatPostgresUrl } from '../config/postgres-url.ts';
import { makeScramVerifier } from '../config/scram-verifier.ts';
import type { EmbeddedPostgres } from './launcher.ts';
import { DEMO } from './provision.ts';
import type { DemoSecrets } from './secrets.ts';

/** Names in the demo: an agent, the person who answers for it, and the one who may approve its requests. */
export const DEMO_PEOPLE = { agent: 'agent', owner: 'agent-owner', approver: 'approver' } as const;

export type DemoPlace = {
  readonly listen: HostPort;
  readonly http: HostPort;
  readonly directory: string;
};

/** The configuration that `serve` would read from a file, for the embedded server. */
export function demoConfig(server: EmbeddedPostgres, secrets: DemoSecrets, place: DemoPlace): Config {
  const host = server.socketDirectory ?? server.host;
  return deepFreeze<Config>({
    version: 1,
    mode: 'enforce',
    listen: { ...place.listen, tls: null },
    http: {
      ...place.http,
      publicUrl: `http://${bracketed(place.http.host)}:${place.http.port}`,
      apiKeys: [
        {
          name: 'demo approver',
          sha256: createHash('sha256').update(secrets.approverToken).digest('hex'),
          person: DEMO_PEOPLE.approver,
          scopes: ['read', 'deny', 'approve', 'audit'],
        },
      ],
    },
    upstream: {
      host,
      port: server.port,
      database: DEMO.shop,
      user: null,
      password: null,
      tls: { mode: 'disable' },
    },
    audit: {
      url: auditUrl(host, server.port, DEMO.writer, secrets.writer),
      adminUrl: auditUrl(host, server.port, DEMO.admin, secrets.admin),
      readUrl: auditUrl(host, server.port, DEMO.auditor, secrets.auditor),
      durability: 'standard',
      origin: 'countersign',
      anchors: [],
      schema: 'audit',
    },
    agents: [
      {
        name: DEMO_PEOPLE.agent,
        auth: { kind: 'scram', verifier: makeScramVerifier(secrets.agent, randomBytes(16)) },
        owner: DEMO_PEOPLE.owner,
        upstream: { user: DEMO.agentRole, password: secrets.shopAgent },
      },
    ],
    people: [person(DEMO_PEOPLE.owner), person(DEMO_PEOPLE.approver)],
    groups: [],
    policy: makePolicy([]),
    analysis: { secondOpinion: 'off' },
    tags: [],
    budgets: [],
    functions: [],
    limits: DEFAULT_LIMITS,
    slack: null,
    webhooks: [],
    keys: { directory: join(place.directory, 'keys'), signing: null, verifying: [] },
    dataDirectory: place.directory,
  });
}

/** What the agent is given: the proxy's address, never the database's. */
export function demoAgentUrl(secrets: DemoSecrets, proxy: HostPort): string {
  return `postgres://${DEMO_PEOPLE.agent}:${secrets.agent}@${bracketed(proxy.host)}:${proxy.port}/${DEMO.shop}`;
}

/** Straight to the audit database, over TCP, so that any client can use it. */
export function demoAuditorUrl(server: EmbeddedPostgres, secrets: DemoSecrets): string {
  return auditUrl(server.host, server.port, DEMO.auditor, secrets.auditor);
}

function auditUrl(host: string, port: number, user: string, password: string): string {
  const database = DEMO.audit;
  return formatPostgresUrl({ host, port, user, password, database, sslmode: null, sslrootcert: null });
}

function person(id: string): Config['people'][number] {
  return { id, email: `${id}@example.com`, slack: [], oidc: [], groups: [] };
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
