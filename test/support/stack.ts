import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { pino } from 'pino';
import { inject } from 'vitest';
import { type Countersign, startCountersign } from '../../src/cli/compose.ts';
import type { Config } from '../../src/config/config.ts';
import { DEFAULT_LIMITS, type Limits } from '../../src/config/limits.ts';
import { makePolicy } from '../../src/config/policy.ts';
import { makeScramVerifier } from '../../src/config/scram-verifier.ts';
import { createDatabase, superuser, type TestDatabase, withClient } from './postgres.ts';

export type Stack = {
  readonly agentUrl: string;
  /** The same role on the server itself, to compare with. */
  readonly directUrl: string;
  readonly auditorUrl: string;
  readonly httpUrl: string;
  readonly approverToken: string;
  readonly ownerToken: string;
  readonly shop: TestDatabase;
  readonly audit: TestDatabase;
  readonly running: Countersign;
  readonly config: Config;
  readonly api: Api;
  /** Rows of a query in the audit database, asked as the auditor. */
  readonly audited: (sql: string, values?: readonly unknown[]) => Promise<pg.QueryResultRow[]>;
  /** Another process' worth of the same installation, on ports of its own. */
  readonly second: (change?: Partial<Config>) => Promise<Stack>;
  readonly restart: () => Promise<void>;
  readonly close: () => Promise<void>;
};

export type StackOptions = {
  readonly limits?: Partial<Limits>;
  readonly config?: (config: Config) => Config;
  /** SQL for the shop; default: the quick start's sample. */
  readonly sample?: string;
};

export type ApiRequest = {
  readonly id: string;
  readonly state: string;
  readonly sql: string;
  readonly class: string;
  readonly rule: string;
};

/** The HTTP API as an approver's program uses it. */
export type Api = {
  readonly open: () => Promise<readonly ApiRequest[]>;
  /** Waits until there is an open request whose SQL has that text. */
  readonly waitFor: (text: string) => Promise<ApiRequest>;
  readonly verdict: (
    id: string,
    verdict: 'approve' | 'deny',
    reason?: string,
    token?: string,
  ) => Promise<Response>;
};

const SAMPLE = new URL('../../src/embedded/sample.sql', import.meta.url);

/** A whole Countersign in this process, in front of databases of its own on the shared server. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const tag = randomBytes(4).toString('hex');
  const names = { agent: `app_${tag}`, writer: `writer_${tag}`, auditor: 'countersign_auditor' };
  const password = `pw-${tag}`;
  const shop = await createDatabase('shop');
  const audit = await createDatabase('audit');
  await withClient(superuser(), async (client) => {
    await client.query(`CREATE ROLE ${names.agent} LOGIN CREATEROLE PASSWORD '${password}'`);
    await client.query(`CREATE ROLE ${names.writer} LOGIN PASSWORD '${password}'`);
    await client.query(`REVOKE CONNECT ON DATABASE ${audit.name} FROM PUBLIC`);
    await client.query(`GRANT CONNECT ON DATABASE ${audit.name} TO ${names.writer}, ${names.auditor}`);
    await client.query(`ALTER DATABASE ${shop.name} OWNER TO ${names.agent}`);
  });
  await withClient({ ...superuser(shop.name), user: names.agent, password }, (client) =>
    client.query(options.sample ?? readFileSync(SAMPLE, 'utf8')),
  );
  const { port, password: superPassword } = inject('postgres');
  const directory = mkdtempSync(join(tmpdir(), 'cs-stack-'));
  const tokens = { approver: randomBytes(16).toString('hex'), owner: randomBytes(16).toString('hex') };
  const key = (name: string, token: string, person: string) => ({
    name,
    sha256: createHash('sha256').update(token).digest('hex'),
    person,
  });
  const base: Config = {
    version: 1,
    mode: 'enforce',
    listen: { host: '127.0.0.1', port: 0, tls: null },
    http: {
      host: '127.0.0.1',
      port: 0,
      publicUrl: 'http://127.0.0.1',
      apiKeys: [key('approver', tokens.approver, 'approver'), key('owner', tokens.owner, 'owner')],
    },
    upstream: {
      host: '127.0.0.1',
      port,
      database: shop.name,
      user: null,
      password: null,
      tls: { mode: 'disable' },
    },
    audit: {
      url: `postgres://${names.writer}:${password}@127.0.0.1:${port}/${audit.name}`,
      adminUrl: `postgres://postgres:${superPassword}@127.0.0.1:${port}/${audit.name}`,
      durability: 'standard',
      origin: 'countersign',
      anchors: [],
      schema: 'audit',
    },
    agents: [
      {
        name: 'agent',
        auth: { kind: 'scram', verifier: makeScramVerifier('agent-secret', randomBytes(16)) },
        owner: 'owner',
        upstream: { user: names.agent, password },
      },
    ],
    people: [person('owner'), person('approver')],
    groups: [],
    policy: makePolicy([]),
    analysis: { secondOpinion: 'off' },
    functions: [],
    // All clients of a test have one address: their refused log-ins get a row each.
    tags: [],
    budgets: [],
    // What tests read together is no export.
    limits: {
      ...DEFAULT_LIMITS,
      budgetRows: 1e12,
      budgetBytes: 1e15,
      pollMs: 500,
      requestsPerMinutePerAgent: 10_000,
      approvalsPerMinutePerPerson: 10_000,
      approvalsNoticedPerMinute: 10_000,
      refusedLoginRows: 10_000,
      // All programs of a test have one address, and one key.
      httpPerSecond: 1e6,
      httpPerAddressPerSecond: 1e6,
      httpPerCredentialPerSecond: 1e6,
      httpRefusedPerSecond: 1e6,
      httpRefusedPerAddressPerSecond: 1e6,
      ...options.limits,
    },
    slack: null,
    webhooks: [],
    keys: { directory: join(directory, 'keys'), signing: null, verifying: [] },
    dataDirectory: directory,
  };
  const closers: (() => Promise<void>)[] = [];
  const start = async (config: Config): Promise<Stack> => {
    const running = await startCountersign(
      config,
      pino({ level: process.env['COUNTERSIGN_LOG_LEVEL'] ?? 'silent' }),
    );
    let current: Countersign = running;
    closers.push(() => current.close());
    const { host, port: agentPort } = running.agentAddress;
    const auditorUrl = `postgres://${names.auditor}:auditor-secret@127.0.0.1:${port}/${audit.name}`;
    const httpUrl = `http://${running.httpAddress.host}:${running.httpAddress.port}`;
    return {
      agentUrl: `postgres://agent:agent-secret@${host}:${agentPort}/${shop.name}`,
      directUrl: `postgres://${names.agent}:${password}@127.0.0.1:${port}/${shop.name}`,
      auditorUrl,
      httpUrl,
      approverToken: tokens.approver,
      ownerToken: tokens.owner,
      shop,
      audit,
      running,
      config,
      api: apiClient(httpUrl, tokens.approver),
      audited: (sql, values = []) =>
        withClient({ connectionString: auditorUrl }, async (client) => {
          return (await client.query(sql, [...values])).rows;
        }),
      second: (change) =>
        start({ ...config, ...change, dataDirectory: join(directory, `second-${closers.length}`) }),
      restart: async () => {
        await current.close();
        const address = { host, port: agentPort };
        current = await startCountersign(
          {
            ...config,
            listen: { ...config.listen, ...address },
            http: { ...config.http, port: running.httpAddress.port },
          },
          pino({ level: 'silent' }),
        );
      },
      close: async () => {
        for (const close of closers.splice(0)) await close();
        await shop.drop();
        await audit.drop();
        rmSync(directory, { recursive: true, force: true });
      },
    };
  };
  return start(options.config?.(base) ?? base);
}

function person(id: string): Config['people'][number] {
  return { id, email: `${id}@example.com`, slack: [], oidc: [], groups: [] };
}

function apiClient(httpUrl: string, token: string): Api {
  const call = (path: string, init: RequestInit = {}, as = token) =>
    fetch(`${httpUrl}${path}`, {
      ...init,
      headers: { authorization: `Bearer ${as}`, 'content-type': 'application/json' },
    });
  const open = async () => {
    const body = (await (await call('/api/requests?state=open')).json()) as { requests: ApiRequest[] };
    return body.requests;
  };
  return {
    open,
    waitFor: async (text) => {
      for (let i = 0; i < 200; i++) {
        const found = (await open()).find(({ sql }) => sql.includes(text));
        if (found !== undefined) return found;
        await new Promise((done) => setTimeout(done, 50));
      }
      throw new Error(`no open request for ${text}`);
    },
    verdict: (id, verdict, reason = 'test', as) =>
      call(`/api/requests/${id}/verdict`, { method: 'POST', body: JSON.stringify({ verdict, reason }) }, as),
  };
}
