import { spawn, spawnSync } from 'node:child_process';

/** psql comes with the machine or not at all: the embedded server has none. */
export function hasPsql(): boolean {
  const found = spawnSync('psql', ['--version']).status === 0;
  if (!found) process.stderr.write('psql is not installed: its tests are left out\n');
  return found;
}

export type Psql = {
  readonly done: Promise<{ readonly stdout: string; readonly stderr: string; readonly code: number | null }>;
  /** What Ctrl-C does. */
  readonly interrupt: () => void;
  readonly kill: () => void;
};

/** Runs one command, as `psql URL -c SQL` does. */
export function psql(url: string, sql: string, ...more: string[]): Psql {
  const child = spawn('psql', [url, '-X', '-c', sql, ...more], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  return {
    done: new Promise((resolve) => child.on('close', (code) => resolve({ stdout, stderr, code }))),
    interrupt: () => child.kill('SIGINT'),
    kill: () => child.kill('SIGKILL'),
  };
}
