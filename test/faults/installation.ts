/** One installation whose process is killed and started again on the same data, with a breakable way to each database. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import type { Limits } from '../../src/config/limits.ts';
import { type Running, readyToServe, run } from '../cli/child.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { withClient } from '../support/postgres.ts';
import { startStack } from '../support/stack.ts';
import type { AuditServer } from './audit-server.ts';
import type { BrokenPromise } from './broken-promises.ts';
import { SAMPLE } from './kinds.ts';
import { type LoggedServer, startLoggedServer } from './logged-server.ts';
import type { InsidePoint } from './points.ts';

export type Doomed = {
  readonly agentUrl: string;
  readonly httpUrl: string;
  /** From now on it kills itself at that point of the marked statement. */
  readonly arm: (point: InsidePoint, marker: string) => Promise<void>;
  readonly kill: () => void;
  /** Resolves when it has ended. */
  readonly ended: Promise<unknown>;
  readonly output: () => string;
};

export type Installation = {
  readonly upstream: LoggedServer;
  /** The ways to the two databases. */
  readonly ways: { readonly upstream: FaultProxy; readonly audit: FaultProxy };
  /** `broken`: a program that breaks this promise. */
  readonly start: (broken?: BrokenPromise) => Promise<Doomed>;
  /** Kills every process that `start` has started. */
  readonly killAll: () => Promise<void>;
  /** Resolves when the journals of killed processes are all in the audit database. */
  readonly recovered: () => Promise<void>;
  readonly agentUser: string;
  readonly approverToken: string;
  /** Rows in the audit database, asked directly as the superuser. */
  readonly requests: (sql: string, values?: readonly unknown[]) => Promise<pg.QueryResultRow[]>;
  readonly auditorUrl: () => string;
  /** Rows in the database that the agent works with, asked directly. */
  readonly shop: (sql: string, values?: readonly unknown[]) => Promise<pg.QueryResultRow[]>;
  readonly journal: string;
  readonly close: () => Promise<void>;
};

export type InstallationOptions = {
  readonly limits?: Partial<Limits>;
  /** The audit database is there; else on the tests' shared server. */
  readonly audit?: AuditServer;
};

/** With nothing running: `start` does that. */
export async function makeInstallation(options: InstallationOptions = {}): Promise<Installation> {
  const upstream = await startLoggedServer();
  // It lends its databases, roles and keys; its own process is not needed.
  const { audit } = options;
  const stack = await startStack({
    sample: 'CREATE TABLE unused (id integer)',
    config: (config) =>
      audit === undefined
        ? config
        : { ...config, audit: { ...config.audit, url: audit.url, adminUrl: audit.adminUrl() } },
  });
  await stack.running.close();
  const adminUrl = () => audit?.adminUrl() ?? stack.config.audit.adminUrl ?? '';
  const [agent] = stack.config.agents;
  if (agent === undefined) throw new Error('the stack has no agent');
  const { user, password } = agent.upstream;
  await withClient(upstream.superuser(), (client) =>
    client.query(
      `CREATE ROLE ${user} LOGIN PASSWORD '${password}'; GRANT CREATE ON SCHEMA public TO ${user}`,
    ),
  );
  await withClient({ ...upstream.superuser(), user, password: password ?? '' }, (client) =>
    client.query(SAMPLE),
  );
  const auditUrl = new URL(stack.config.audit.url);
  const ways = {
    upstream: await startFaultProxy({ target: { host: '127.0.0.1', port: upstream.port } }),
    audit:
      audit?.way ?? (await startFaultProxy({ target: { host: '127.0.0.1', port: Number(auditUrl.port) } })),
  };
  auditUrl.port = String(ways.audit.port);
  const directory = mkdtempSync(join(tmpdir(), 'cs-doomed-'));
  const approverToken = randomBytes(16).toString('hex');
  const file = join(directory, 'countersign.yaml');
  const config = {
    version: 1,
    listen: { address: '127.0.0.1:0' },
    http: {
      address: '127.0.0.1:0',
      apiKeys: [
        {
          name: 'approver',
          sha256: createHash('sha256').update(approverToken).digest('hex'),
          person: 'approver',
        },
      ],
    },
    upstream: { url: `postgres://127.0.0.1:${ways.upstream.port}/postgres`, tls: { mode: 'disable' } },
    audit: {
      url: { env: 'AUDIT_URL' },
      adminUrl: { env: 'AUDIT_ADMIN_URL' },
      anchors: [{ file: join(directory, 'checkpoints') }],
    },
    agents: [
      {
        name: agent.name,
        auth: { scram: { env: 'AGENT_VERIFIER' } },
        owner: 'owner',
        upstream: { user, password: { env: 'AGENT_PASSWORD' } },
      },
    ],
    people: stack.config.people.map(({ id, email }) => ({ id, email })),
    limits: { budgetRows: 1e12, budgetBytes: 1e15, pollMs: 300, checkpointMs: 300, ...options.limits },
    keys: { directory: stack.config.keys.directory },
    dataDirectory: 'data',
  };
  // JSON is YAML.
  writeFileSync(file, JSON.stringify(config));
  const env = {
    AUDIT_URL: auditUrl.href,
    AGENT_VERIFIER: agent.auth.kind === 'scram' ? agent.auth.verifier : '',
    AGENT_PASSWORD: password ?? '',
  };
  const children = new Set<Running>();
  const killAll = async () => {
    for (const child of children) {
      child.process.kill('SIGKILL');
      await child.ended;
    }
  };
  const journal = join(directory, 'data', 'journal');
  return {
    upstream,
    ways,
    start: async (broken) => {
      const breaks = broken === undefined ? [] : [`--broken=${broken}`];
      const child = run('test/faults/served-with-faults.ts', ['serve', '--config', file, ...breaks], {
        ...env,
        // A server that was started again has another port.
        AUDIT_ADMIN_URL: adminUrl(),
      });
      children.add(child);
      void child.ended.then(() => children.delete(child));
      return ready(child);
    },
    killAll,
    recovered: async () => {
      // A stream's directory goes when all of it is in the database; one is the running process'.
      let left = Number.POSITIVE_INFINITY;
      for (let until = 0; ; await new Promise((done) => setTimeout(done, 100))) {
        const streams = existsSync(journal)
          ? readdirSync(journal).filter((name) => /^\d{8}T/.test(name))
          : [];
        if (streams.length <= 1) return;
        // There may be a hundred, and each takes a thread's start.
        if (streams.length < left) {
          left = streams.length;
          until = Date.now() + 120_000;
        } else if (Date.now() > until)
          throw new Error(`none was recovered for two minutes: ${streams.join(', ')}`);
      }
    },
    agentUser: user,
    approverToken,
    requests: (sql, values = []) =>
      withClient(
        { connectionString: adminUrl() },
        async (client) => (await client.query(sql, [...values])).rows,
      ),
    auditorUrl: () => audit?.auditorUrl() ?? stack.auditorUrl,
    shop: (sql, values = []) =>
      withClient(upstream.superuser(), async (client) => (await client.query(sql, [...values])).rows),
    journal,
    close: async () => {
      await killAll();
      for (const way of Object.values(ways)) if (way !== audit?.way) await way.close();
      await upstream.close();
      await stack.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function ready(child: Running): Promise<Doomed> {
  let output = '';
  child.process.stderr?.on('data', (chunk: string) => {
    output = (output + chunk).slice(-20_000);
  });
  const said = await readyToServe(child);
  return {
    agentUrl: `postgres://agent:agent-secret@${said.agents}/postgres`,
    httpUrl: `http://${said.http}`,
    arm: async (point, marker) => {
      child.process.stdin?.write(`${JSON.stringify({ point, marker })}\n`);
      await child.until(`armed ${marker}`);
    },
    kill: () => void child.process.kill('SIGKILL'),
    ended: child.ended,
    output: () => output,
  };
}
