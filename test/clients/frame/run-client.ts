import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Client } from './client.ts';

export type Run = { readonly stdout: string; readonly stderr: string; readonly code: number | null };

export function isPresent(client: Client): boolean {
  if (typeof client.present === 'function') return client.present();
  const [program, ...parameters] = client.present;
  return spawnSync(program, parameters, options(client, {})).status === 0;
}

/** Runs the client's program to its end, or ends it when its time is over (`code` is then null). */
export function runClient(client: Client, url: string, tag: string): Promise<Run> {
  const { hostname, port, username, password, pathname } = new URL(url);
  const [program, ...parameters] = client.command;
  const child = spawn(program, parameters, {
    ...options(client, {
      CLIENT_URL: url,
      CLIENT_HOST: hostname,
      CLIENT_PORT: port,
      CLIENT_USER: username,
      CLIENT_PASSWORD: password,
      CLIENT_DATABASE: pathname.slice(1),
      CLIENT_TAG: tag,
    }),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: client.timeoutMs ?? 150_000,
    killSignal: 'SIGKILL',
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) =>
      resolve({ stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString(), code }),
    );
  });
}

/** Without the variables that libpq would read: the machine's own settings are not the test's. */
function options(client: Client, variables: Record<string, string>) {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('PG'));
  return {
    cwd: fileURLToPath(client.folder),
    env: { ...Object.fromEntries(inherited), ...client.env, ...variables },
  };
}
