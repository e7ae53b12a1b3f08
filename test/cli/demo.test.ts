import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { withClient } from '../support/postgres.ts';
import { run } from './child.ts';

// Each test starts processes with a database server of their own.
vi.setConfig({ testTimeout: 120_000 });

const directory = mkdtempSync(join(tmpdir(), 'cs-cli-'));
chmodSync(directory, 0o755);
const data = join(directory, 'data');

/** `npm start` with a stand-in for the proxy itself. */
const demo = (args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) =>
  run(
    'test/cli/with-stub.ts',
    ['demo', '--listen', '127.0.0.1:0', '--http-listen', '127.0.0.1:0', '--data-dir', data, ...args],
    env,
  );

const postmaster = () => Number(readFileSync(join(data, 'pgdata', 'postmaster.pid'), 'utf8').split('\n')[0]);
const alive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

beforeAll(async () => {
  const first = demo(['--json']);
  await first.until('}\n');
  first.process.kill('SIGINT');
  await first.ended;
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('the demo', () => {
  it('prints one line of JSON on stdout, everything else on stderr, and stops cleanly', async () => {
    const child = demo(['--json']);
    const ready = JSON.parse(await child.until('}\n'));
    const server = postmaster();
    expect(Object.keys(ready)).toEqual(['agentUrl', 'auditorUrl', 'httpUrl', 'approverToken']);
    expect(ready.agentUrl).toMatch(/^postgres:\/\/agent:[0-9a-f]{40}@127\.0\.0\.1:\d+\/shop$/);
    expect(ready.httpUrl).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d+$/);
    const { rows } = await withClient({ connectionString: ready.auditorUrl }, (client) =>
      client.query('SELECT current_user AS who, current_database() AS where'),
    );
    expect(rows).toEqual([{ who: 'countersign_auditor', where: 'countersign' }]);

    child.process.kill('SIGINT');
    const { code, stdout, stderr } = await child.ended;
    expect(code).toBe(0);
    expect(stdout.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain(`data directory: ${data}`);
    expect(stderr).toContain('stand-in closed');
    expect(stderr).not.toContain(ready.approverToken);
    expect(alive(server)).toBe(false);
    expect(existsSync(join(data, 'demo.pid'))).toBe(false);
  });

  it('shows strings to connect with, the sign-in link and three lines to try', async () => {
    const child = demo();
    const text = await child.until('the data stays');
    child.process.kill('SIGTERM');
    expect((await child.ended).code).toBe(0);
    expect(text).toMatch(/agent +postgres:\/\/agent:/);
    expect(text).toMatch(/auditor +postgres:\/\/countersign_auditor:/);
    expect(text).toMatch(/approve +http:\/\/127\.0\.0\.1:\d+\/sign-in\?token=once-for-approver/);
    expect(text.match(/^ {2}psql '/gm)).toHaveLength(3);
  });

  it('takes a Ctrl-C that arrives twice, as npm passes it on, for one', async () => {
    const child = demo(['--json']);
    await child.until('}\n');
    child.process.kill('SIGINT');
    child.process.kill('SIGINT');
    expect((await child.ended).code).toBe(0);
  });

  it('ends at once at a second signal, and takes the server with it', async () => {
    const child = demo(['--json'], { STUB_NEVER_CLOSES: '1' });
    await child.until('}\n');
    const server = postmaster();
    child.process.kill('SIGINT');
    await new Promise((done) => setTimeout(done, 700));
    expect(child.process.exitCode).toBeNull();
    child.process.kill('SIGINT');
    expect((await child.ended).code).toBe(1);
    for (let waited = 0; alive(server) && waited < 10_000; waited += 50)
      await new Promise((done) => setTimeout(done, 50));
    expect(alive(server)).toBe(false);
  });

  it('starts again after it was killed, and not twice in one directory', async () => {
    const killed = demo(['--json']);
    await killed.until('}\n');
    const second = await demo(['--json']).ended;
    expect(second.code).toBe(2);
    expect(second.stderr).toContain(`is in use by process ${killed.process.pid}`);
    killed.process.kill('SIGKILL');
    await killed.ended;
    expect(alive(postmaster())).toBe(true);
    const again = demo(['--json']);
    await again.until('}\n');
    again.process.kill('SIGINT');
    expect((await again.ended).code).toBe(0);
  });

  it('takes its addresses from the environment, and names the override when one is taken', async () => {
    const blocker = createServer();
    await new Promise<void>((done) => blocker.listen(0, '127.0.0.1', done));
    const address = blocker.address();
    const taken = `127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
    const env = { COUNTERSIGN_LISTEN: taken, COUNTERSIGN_DATA_DIR: data };
    const one = await run('test/cli/with-stub.ts', ['demo'], {
      ...env,
      COUNTERSIGN_HTTP_LISTEN: '127.0.0.1:0',
    }).ended;
    const two = await run(
      'test/cli/with-stub.ts',
      ['demo', '--listen', '127.0.0.1:0', '--http-listen', taken],
      env,
    ).ended;
    blocker.close();
    expect([one.code, two.code]).toEqual([2, 2]);
    expect(one.stderr).toContain(
      `${taken} is already in use: choose another address with --listen (COUNTERSIGN_LISTEN)`,
    );
    expect(two.stderr).toContain('--http-listen (COUNTERSIGN_HTTP_LISTEN)');
    expect(one.stdout + two.stdout).toBe('');
  });
});
