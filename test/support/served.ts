import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Limits } from '../../src/config/limits.ts';
import { readyToServe, run } from '../cli/child.ts';
import type { Stack } from './stack.ts';

export type Served = {
  /** The agent's connection string to that process. */
  readonly agentUrl: string;
  readonly pid: number;
  /** The most memory that the process has had so far, bytes; null where the system does not tell. */
  readonly peakMemory: () => number | null;
  /** Writes the file anew with these rules; a string: with that text instead of the whole. */
  readonly rewrite: (rules: readonly object[] | string) => void;
  readonly httpUrl: string;
  /** Another process in its place, with its files, on ports of its own; for one that has ended, or was killed. */
  readonly restart: () => Promise<Served>;
  readonly close: () => Promise<void>;
};

export type ServedOptions = {
  readonly mode?: 'enforce' | 'observe';
  readonly limits?: Partial<Limits>;
  readonly rules?: readonly object[];
  /** As the configuration file has them. */
  readonly budgets?: readonly object[];
  /** Other keys of the file. */
  readonly more?: object;
};

/** `countersign serve` as a process of its own, in front of a stack's databases. */
export async function serveBeside(stack: Stack, options: ServedOptions = {}): Promise<Served> {
  const directory = mkdtempSync(join(tmpdir(), 'cs-served-'));
  const [agent] = stack.config.agents;
  if (agent === undefined) throw new Error('the stack has no agent');
  const { host, port, database } = stack.config.upstream;
  const config = {
    version: 1,
    mode: options.mode ?? 'enforce',
    listen: { address: '127.0.0.1:0' },
    http: { address: '127.0.0.1:0' },
    upstream: { url: `postgres://${host}:${port}/${database}`, tls: { mode: 'disable' } },
    audit: { url: { env: 'AUDIT_URL' }, adminUrl: { env: 'AUDIT_ADMIN_URL' } },
    agents: [
      {
        name: agent.name,
        auth: { scram: { env: 'AGENT_VERIFIER' } },
        owner: 'owner',
        upstream: { user: agent.upstream.user, password: { env: 'AGENT_PASSWORD' } },
      },
    ],
    people: stack.config.people.map(({ id, email }) => ({ id, email })),
    policy: { rules: options.rules ?? [] },
    // What tests read together is no export, unless they say so.
    limits: { budgetRows: 1e12, budgetBytes: 1e15, ...options.limits },
    budgets: options.budgets ?? [],
    tags: stack.config.tags,
    // What is approved in the stack is released here, too.
    keys: { directory: stack.config.keys.directory },
    dataDirectory: 'data',
    ...options.more,
  };
  const file = join(directory, 'countersign.yaml');
  // JSON is YAML.
  writeFileSync(file, JSON.stringify(config));
  const env = {
    AUDIT_URL: stack.config.audit.url,
    AUDIT_ADMIN_URL: stack.config.audit.adminUrl ?? '',
    AGENT_VERIFIER: agent.auth.kind === 'scram' ? agent.auth.verifier : '',
    AGENT_PASSWORD: agent.upstream.password ?? '',
  };
  return serve({ directory, file, env, config, database: database ?? '' });
}

type Place = {
  readonly directory: string;
  readonly file: string;
  readonly env: NodeJS.ProcessEnv;
  readonly config: object;
  readonly database: string;
};

async function serve(place: Place): Promise<Served> {
  const { directory, file, env, config, database } = place;
  const child = run('src/main.ts', ['serve', '--config', file], env);
  const ready = await readyToServe(child);
  const { pid } = child.process;
  if (pid === undefined) throw new Error('serve has no process id');
  return {
    agentUrl: `postgres://agent:agent-secret@${ready.agents}/${database}`,
    pid,
    rewrite: (rules) =>
      writeFileSync(
        file,
        typeof rules === 'string' ? rules : JSON.stringify({ ...config, policy: { rules } }),
      ),
    httpUrl: `http://${ready.http}`,
    peakMemory: () => peakMemory(pid),
    restart: () => serve(place),
    close: async () => {
      child.process.kill('SIGTERM');
      await child.ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function peakMemory(pid: number): number | null {
  if (process.platform !== 'linux') return null;
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return kilobytes === undefined ? null : Number(kilobytes) * 1024;
}
