import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../../support/stack.ts';
import { type Approver, startApprover } from './approver.ts';
import type { Client, Row } from './client.ts';
import { judge, skippedRow } from './judge.ts';
import { isPresent, runClient } from './run-client.ts';
import { sampleSql, TRACES } from './traces.ts';

declare module 'vitest' {
  interface TaskMeta {
    client?: Row;
  }
}

/** One proxy for the file, one test for each client; the row of the table is in the test's meta. */
export function testClients(clients: readonly Client[]): void {
  let stack: Stack;
  let approver: Approver;
  beforeAll(async () => {
    stack = await startStack({
      sample: sampleSql(clients.map(tagOf)),
      // Long enough for an approver on a busy machine; clients also hear the repeated notice.
      limits: { holdTimeoutMs: 8_000, holdTimeoutInTransactionMs: 8_000, noticeIntervalMs: 1_000 },
    });
    approver = startApprover(stack);
  });
  afterAll(async () => {
    await approver.stop();
    await stack.close();
  });

  for (const client of clients) {
    // Not tried twice: the tables of the first time would be there.
    it(client.name, { timeout: (client.timeoutMs ?? 150_000) + 30_000, retry: 0 }, async ({ task, skip }) => {
      if (!isPresent(client)) {
        task.meta.client = skippedRow(client);
        skip(`not installed: ${client.install}`);
      }
      const tag = tagOf(client);
      const before = approver.unexpected.length;
      const run = await runClient(client, stack.agentUrl, tag);
      const row = await judge(client, run, async (feature) => (await TRACES[feature]?.(stack, tag)) ?? null);
      const held = approver.unexpected.slice(before).map((sql) => `held, but nobody expected it: ${sql}`);
      const early = approver.early
        .filter((table) => table === `${tag}_approved`)
        .map((table) => `${table} was there before its approval`);
      const notes = [...row.notes, ...held, ...early];
      task.meta.client = { ...row, notes };
      expect(notes, run.stderr.slice(-4_000)).toEqual([]);
    });
  }
}

function tagOf({ name }: Client): string {
  return `t_${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')}`;
}
