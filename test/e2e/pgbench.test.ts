import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stack, startStack } from '../support/stack.ts';

const run = promisify(execFile);

function hasPgbench(): boolean {
  const found = spawnSync('pgbench', ['--version']).status === 0;
  if (!found) process.stderr.write('pgbench is not installed: its tests are left out\n');
  return found;
}

describe.runIf(hasPgbench())("pgbench's built-in scripts", () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack({ sample: 'SELECT 1' });
    await pgbench(stack.directUrl, '-i', '-q', '-s', '1');
  });
  afterAll(() => stack.close());

  function pgbench(url: string, ...args: string[]) {
    const { hostname, port, username, password, pathname } = new URL(url);
    return run('pgbench', ['-h', hostname, '-p', port, '-U', username, ...args, pathname.slice(1)], {
      env: { ...process.env, PGPASSWORD: password },
      timeout: 60_000,
    });
  }

  it.each(
    ['tpcb-like', 'simple-update', 'select-only'].flatMap((script) =>
      ['simple', 'extended', 'prepared'].map((mode) => [script, mode] as const),
    ),
  )('%s runs without a hold (%s)', async (script, mode) => {
    const { stdout } = await pgbench(stack.agentUrl, '-n', '-b', script, '-M', mode, '-c', '2', '-t', '20');
    expect(stdout).toContain('number of transactions actually processed: 40/40');
    expect(await stack.api.open()).toEqual([]);
  });

  it('leave as many statements in the audit log as they ran', async () => {
    const before = await counted();
    await pgbench(stack.agentUrl, '-n', '-b', 'tpcb-like', '-c', '1', '-t', '10');
    // BEGIN, three UPDATEs, SELECT, INSERT, END.
    await expect.poll(async () => (await counted()) - before, { timeout: 10_000 }).toBe(10 * 7);
  });

  async function counted(): Promise<number> {
    const { rows } = await stack.audit.query(
      "SELECT count(*)::int AS n FROM audit.statements WHERE outcome = 'executed' AND (sql ~* '^(BEGIN|END|UPDATE|INSERT)' OR sql LIKE 'SELECT abalance%')",
    );
    return rows[0]?.n as number;
  }
});
