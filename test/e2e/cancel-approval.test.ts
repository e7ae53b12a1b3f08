/** A cancel and an approval in the same moment: one wins, and everybody says which. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CancelClient, randoms, sendCancel, simple } from '../proxy/cancel-client.ts';
import { eventually } from '../proxy/support.ts';
import { hasPsql, psql } from '../support/psql.ts';
import { type Stack, startStack } from '../support/stack.ts';

let here: Stack;
let there: Stack;
beforeAll(async () => {
  here = await startStack({
    limits: { cancelsRoutedPerSecond: 10_000, cancelsRoutedPerAddressPerSecond: 10_000 },
  });
  there = await here.second();
}, 120_000);
afterAll(() => here.close());

const ROUNDS = 24;
const LONG_MS = 60_000;

async function stateOf(id: string): Promise<string> {
  const { rows } = await here.audit.query('SELECT state FROM countersign.request WHERE id = $1', [id]);
  return (rows[0] as { state: string } | undefined)?.state ?? 'none';
}

const waited = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

/** Milliseconds from a person's answer to the client's, where nothing comes between. */
async function approvalTakes(client: CancelClient, where: string): Promise<number> {
  const table = `not_raced_${where}`;
  let tookMs = 0;
  for (const _ of [1, 2]) {
    client.send(simple(`CREATE TABLE IF NOT EXISTS ${table} (id int)`));
    const request = await here.api.waitFor(table);
    const began = performance.now();
    await Promise.all([there.api.verdict(request.id, 'approve'), client.answer()]);
    tookMs = performance.now() - began;
  }
  return tookMs;
}

async function exists(table: string): Promise<boolean> {
  const { rows } = await here.shop.query('SELECT to_regclass($1) IS NOT NULL AS there', [table]);
  return (rows[0] as { there: boolean }).there;
}

describe('a cancel and an approval in the same moment', () => {
  it.each(['here', 'there'] as const)(
    'where the cancel reaches the process %s',
    async (where) => {
      const random = randoms(where.length);
      const client = await CancelClient.open(here.agentUrl);
      const counts: Record<string, number> = {};
      const tookMs = await approvalTakes(client, where);
      for (let i = 0; i < ROUNDS; i++) {
        const table = `raced_${where}_${i}`;
        client.send(simple(`CREATE TABLE ${table} (id int)`));
        const request = await here.api.waitFor(table);
        const url = where === 'here' ? here.agentUrl : there.agentUrl;
        const [answer] = await Promise.all([
          client.answer(),
          waited(random(Math.ceil(tookMs * 1.2))).then(() => sendCancel(url, client.packet)),
          there.api.verdict(request.id, 'approve'),
        ]);
        const ran = answer.includes('C');
        expect(answer.filter((word) => word !== 'N')).toEqual(ran ? ['C', 'Z:I'] : ['E:57014', 'Z:I']);
        const ended = ran ? ['executed'] : ['withdrawn', 'failed'];
        await eventually(
          'the request has ended',
          async () => ended.includes(await stateOf(request.id)),
          LONG_MS,
        );
        expect(await exists(table)).toBe(ran);
        const state = await stateOf(request.id);
        counts[state] = (counts[state] ?? 0) + 1;
        expect(await client.query('SELECT 8')).toContain('D:8');
      }
      process.stderr.write(`cancel ${where} and approval at once: ${JSON.stringify(counts)}\n`);
      expect(Object.keys(counts).length).toBeGreaterThan(1);
      client.close();
    },
    300_000,
  );
});

describe.runIf(hasPsql())('psql', () => {
  it('stops what runs with Ctrl-C, and fails', async () => {
    const running = psql(
      here.agentUrl,
      'SELECT count(*) FROM generate_series(1, 30000) a, generate_series(1, 30000) b',
    );
    await eventually(
      'it runs',
      async () => {
        const { rows } = await here.shop.query(
          "SELECT FROM pg_stat_activity WHERE state = 'active' AND application_name = 'psql' AND datname = current_database()",
        );
        return rows.length > 0;
      },
      LONG_MS,
    );
    running.interrupt();
    const { stderr, code } = await running.done;
    expect(stderr).toContain('canceling statement due to user request');
    expect(code).toBe(1);
  }, 120_000);
});
