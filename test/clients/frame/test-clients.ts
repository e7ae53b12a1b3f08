import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../../support/stack.ts';
import { type Approver, startApprover } from './approver.ts';
import { type Cell, type Client, FEATURES, type Feature, type Row } from './client.ts';
import { parseReports, type Report } from './report.ts';
import { isPresent, type Run, runClient } from './run-client.ts';
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
    it(client.name, { timeout: (client.timeoutMs ?? 150_000) + 30_000, retry: 0 }, async (context) => {
      if (!isPresent(client)) {
        context.task.meta.client = skippedRow(client);
        context.skip(`not installed: ${client.install}`);
      }
      const before = approver.unexpected.length;
      const run = await runClient(client, stack.agentUrl, tagOf(client));
      const problems = await judge(client, stack, run);
      const held = approver.unexpected.slice(before).map((sql) => `held, but nobody expected it: ${sql}`);
      const early = approver.early.filter((table) => table === `${tagOf(client)}_approved`);
      const notes = [
        ...[...problems].map(([feature, problem]) => `${feature}: ${problem}`),
        ...held,
        ...early.map((table) => `${table} was there before its approval`),
      ];
      context.task.meta.client = { name: client.name, cells: cellsOf(client, problems), notes };
      expect(notes, run.stderr.slice(-4_000)).toEqual([]);
    });
  }
}

/** What is wrong, by feature. */
async function judge(client: Client, stack: Stack, run: Run): Promise<Map<Feature, string>> {
  const problems = new Map<Feature, string>();
  const reports = parseReports(run.stdout);
  for (const feature of FEATURES) {
    const own = reports.filter((report) => report.feature === feature);
    const problem =
      client.cannot?.[feature] === undefined
        ? (problemOf(own, run) ?? (await TRACES[feature]?.(stack, tagOf(client))) ?? null)
        : own.length === 0
          ? null
          : 'reported, although it is declared as impossible';
    if (problem !== null) problems.set(feature, problem);
  }
  return problems;
}

function problemOf(reports: readonly Report[], run: Run): string | null {
  const [report, ...more] = reports;
  if (report === undefined)
    return `not reported; the program ended with ${run.code ?? 'its time over'}: ${run.stderr.slice(-500)}`;
  if (more.length > 0) return 'reported more than once';
  return report.ok ? null : report.detail || 'failed';
}

function cellsOf(client: Client, problems: ReadonlyMap<Feature, string>): Row['cells'] {
  return cells((feature) =>
    problems.has(feature) ? 'NO' : client.cannot?.[feature] === undefined ? 'yes' : 'can not',
  );
}

function skippedRow(client: Client): Row {
  return { name: client.name, cells: cells(() => 'skipped'), notes: [`not installed: ${client.install}`] };
}

function cells(cell: (feature: Feature) => Cell): Row['cells'] {
  return Object.fromEntries(FEATURES.map((feature) => [feature, cell(feature)])) as Record<Feature, Cell>;
}

function tagOf({ name }: Client): string {
  return `t_${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_')}`;
}
