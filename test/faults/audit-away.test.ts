/**
 * The audit database is killed, out of reach, silent, full, read-only: reads go on, nothing else starts, and all comes
 * back by itself, with nothing lost.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { connectPg, failure } from '../proxy/support.ts';
import { withClient } from '../support/postgres.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { AILMENTS, type AuditServer, startAuditServer } from './audit-server.ts';
import { printCounts } from './counts.ts';

const LONG = process.env['COUNTERSIGN_ROUNDS'] !== undefined;
/** The ordinary run has these; `npm run test:faults` all. */
const FEW = ['without room on its disk'];

let server: AuditServer;
let stack: Stack;
const numbers = { next: 0, reads: 0, refused: 0 };
beforeAll(async () => {
  server = await startAuditServer();
  stack = await startStack({
    sample: 'CREATE TABLE marks (mark text); CREATE TABLE few (n integer); INSERT INTO few VALUES (1), (2)',
    limits: { pollMs: 300, holdTimeoutMs: 6_000, checkpointMs: 500 },
    config: (config) => ({
      ...config,
      audit: { ...config.audit, url: server.url, adminUrl: server.adminUrl() },
    }),
  });
}, 300_000);
afterAll(async () => {
  await stack.close();
  await server.close();
}, 120_000);
afterEach(async () => {
  await expect.poll(() => outcomeOf('write'), { timeout: 60_000, interval: 500 }).toBe('done');
}, 90_000);

const marker = () => `mark${++numbers.next}x`;
const marks = async (mark: string) =>
  (await stack.shop.query('SELECT count(*)::int AS n FROM marks WHERE mark = $1', [mark])).rows[0]?.n;
const audited = (sql: string) =>
  withClient({ connectionString: server.auditorUrl() }, async (client) => (await client.query(sql)).rows);

const SQL = {
  read: (mark: string) => `SELECT n, '${mark}' AS mark FROM few`,
  write: (mark: string) => `INSERT INTO marks VALUES ('${mark}')`,
  held: (mark: string) => `CREATE TABLE ${mark} (n integer)`,
};

/** On a session of its own: `done`, or the SQLSTATE of its end. */
async function outcomeOf(kind: keyof typeof SQL, mark = marker()): Promise<string> {
  try {
    const client = await connectPg({ connectionString: stack.agentUrl });
    client.on('error', () => {});
    try {
      return await client.query(SQL[kind](mark)).then(
        () => 'done',
        ({ code }: { readonly code?: string }) => code ?? 'broken',
      );
    } finally {
      await client.end().catch(() => {});
    }
  } catch (error) {
    return `no session: ${String(error)}`;
  }
}

const ailments = Object.entries(AILMENTS).filter(([name]) => LONG || FEW.includes(name));

describe.each(ailments)('the audit database is %s', (_name, ailment) => {
  it('reads go on, nothing else starts, and all comes back', async () => {
    expect(await outcomeOf('write')).toBe('done');
    // Takes a slice of the agent's budget, which is in that database: reads go on as far as it goes.
    expect(await outcomeOf('read')).toBe('done');
    const before = await connectPg({ connectionString: stack.agentUrl });
    before.on('error', () => {});
    await ailment.begin(server);
    const read: string[] = [];
    const refused: string[] = [];
    try {
      // A change to a standby takes seconds: the journal bridges those.
      await expect
        .poll(
          async () => {
            const mark = marker();
            const outcome = await outcomeOf('write', mark);
            if (outcome !== 'done') refused.push(mark);
            return outcome;
          },
          { timeout: 60_000, interval: 500 },
        )
        .toBe('57P03');
      for (const mark of [marker(), marker()]) {
        read.push(mark);
        expect(await outcomeOf('read', mark)).toBe('done');
      }
      expect((await before.query(SQL.read('still'))).rows).toHaveLength(2);
      const last = marker();
      refused.push(last);
      expect(await failure(before.query(SQL.write(last)))).toMatchObject({ code: '57P03' });
      const held = marker();
      expect(await outcomeOf('held', held)).not.toBe('done');
      expect((await stack.shop.query('SELECT to_regclass($1) AS made', [held])).rows).toEqual([
        { made: null },
      ]);
      for (const mark of refused) expect(await marks(mark)).toBe(0);
    } finally {
      await ailment.end(server);
    }
    await expect.poll(() => outcomeOf('write'), { timeout: 60_000, interval: 500 }).toBe('done');
    numbers.reads += read.length + 1;
    numbers.refused += refused.length + 1;
    for (const mark of read)
      await expect
        .poll(() => audited(`SELECT outcome FROM audit.statements WHERE sql LIKE '%${mark}%'`), {
          timeout: 60_000,
        })
        .toEqual([{ outcome: 'executed' }]);
    await before.end().catch(() => {});
  }, 240_000);
});

it('after all that every row is there, once, and the log is whole', async () => {
  const ran = (await stack.shop.query('SELECT mark FROM marks ORDER BY mark')).rows.map(
    ({ mark }) => mark as string,
  );
  await expect
    .poll(async () => {
      const rows = await audited(
        "SELECT sql FROM audit.statements WHERE sql LIKE 'INSERT%' AND outcome = 'executed' ORDER BY 1",
      );
      return rows.map(({ sql }) => /'(.*)'/.exec(String(sql))?.[1]).sort();
    })
    .toEqual(ran.sort());
  printCounts(
    `the audit database in ${ailments.length} states: ${numbers.reads} reads went on, ${numbers.refused} other statements did not start, ${ran.length} writes ran while it was there and are in the log`,
  );
  const keys = { keys: [...(await jwks())] };
  expect(await verifyLog({ url: server.auditorUrl(), schema: 'audit', keys })).toMatchObject({
    findings: [],
    whole: true,
  });
}, 120_000);

async function jwks(): Promise<readonly Record<string, unknown>[]> {
  const answer = await fetch(`${stack.httpUrl}/.well-known/jwks.json`);
  return ((await answer.json()) as { keys: Record<string, unknown>[] }).keys;
}
