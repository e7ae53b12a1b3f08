/** The audit database is away for as long as the journal has room: then reads stop, too, nothing is lost, and all comes back. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Jwks } from '../../src/audit/verify/trusted-keys.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { connectPg, failure } from '../proxy/support.ts';
import { withClient } from '../support/postgres.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { type AuditServer, startAuditServer } from './audit-server.ts';
import { printCounts } from './counts.ts';

const JOURNAL_BYTES = 512 * 1024;
/** So that the journal is full after some twenty. */
const PADDING = 'x'.repeat(20_000);
/** The superuser holds it while a statement is to run. */
const LOCK = 4711;

let server: AuditServer;
let stack: Stack;
beforeAll(async () => {
  server = await startAuditServer();
  stack = await startStack({
    sample: 'CREATE TABLE marks (mark text); CREATE TABLE few (n integer); INSERT INTO few VALUES (1), (2)',
    limits: { pollMs: 300, checkpointMs: 500, journalBytes: JOURNAL_BYTES },
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

const read = (mark: string) => `SELECT n FROM few /* ${mark} ${PADDING} */`;
const connect = async () => {
  const client = await connectPg({ connectionString: stack.agentUrl });
  client.on('error', () => {});
  return client;
};
const audited = (sql: string) =>
  withClient({ connectionString: server.auditorUrl() }, async (client) => (await client.query(sql)).rows);
const readiness = async () => (await fetch(`${stack.httpUrl}/readyz`)).status;

/** Reads until one is refused. */
async function fill(client: Awaited<ReturnType<typeof connect>>) {
  for (let done = 0; done < 200; done += 1) {
    const ending = await client.query(read(`fill${done}x`)).then(
      ({ rowCount }) => rowCount,
      ({ code }: { readonly code?: string }) => code ?? 'broken',
    );
    if (ending !== 2) return { done, ending };
  }
  return { done: 200, ending: 'never refused' };
}

it('reads go on to the limit, then nothing does, and what ran is all there afterwards', async () => {
  const [filling, other, slow] = [await connect(), await connect(), await connect()];
  // Slices of the agent's budget are in that database.
  for (const client of [filling, other, slow]) await client.query('SELECT n FROM few');
  await withClient({ connectionString: stack.shop.url }, async (holder) => {
    await holder.query(`SELECT pg_advisory_lock(${LOCK})`);
    server.way.away();
    const sleeper = slow.query(`SELECT pg_advisory_xact_lock(${LOCK}) /* sleeper */`);
    const { done, ending } = await fill(filling);
    expect(ending).toBe('57P03');
    expect(done).toBeGreaterThan(10);
    expect(done * PADDING.length).toBeLessThan(JOURNAL_BYTES);
    expect(done * PADDING.length).toBeGreaterThan(JOURNAL_BYTES * 0.8);
    expect(stack.running).toBeDefined();
    // Every kind of statement, and who comes only now.
    expect(await failure(other.query(read('late')))).toMatchObject({ code: '57P03' });
    expect(await failure(connect())).toMatchObject({ code: '57P03' });
    expect(await readiness()).toBe(503);
    // What ran when it became full comes to its end, and its client hears of it.
    await holder.query(`SELECT pg_advisory_unlock(${LOCK})`);
    expect((await sleeper).rowCount).toBe(1);
    expect(await failure(slow.query('SELECT n FROM few /* late */'))).toMatchObject({ code: '57P03' });

    server.way.resume();
    await expect.poll(readiness, { timeout: 60_000 }).toBe(200);
    const ran = Array.from({ length: done }, (_, no) => `fill${no}x`);
    await expect
      .poll(
        async () => {
          const rows = await audited(
            "SELECT substring(sql FROM 'fill[0-9]+x') AS mark, outcome, rows::int FROM audit.statements WHERE sql LIKE '%fill%'",
          );
          return rows.map(({ mark, outcome, rows: n }) => `${mark} ${outcome} ${n}`).sort();
        },
        { timeout: 60_000 },
      )
      .toEqual(ran.map((mark) => `${mark} executed 2`).sort());
    expect(await audited("SELECT outcome FROM audit.statements WHERE sql LIKE '%/* sleeper */'")).toEqual([
      { outcome: 'executed' },
    ]);
    const again = await connect();
    await again.query("INSERT INTO marks VALUES ('again')");
    for (let i = 0; i < 5; i += 1) expect((await again.query(read(`again${i}x`))).rowCount).toBe(2);
    await again.end();
    // What was refused never reached the server, so nothing is said of it.
    expect(await audited("SELECT sql FROM audit.statements WHERE sql LIKE '%/* late%'")).toEqual([]);
    printCounts(
      `a journal of ${JOURNAL_BYTES} bytes took ${done} reads, all of them in the log afterwards, and refused 4 statements and log-ins`,
    );
  });
}, 240_000);

it('and the log is whole', async () => {
  const keys = (await (await fetch(`${stack.httpUrl}/.well-known/jwks.json`)).json()) as Jwks;
  expect(await verifyLog({ url: server.auditorUrl(), schema: 'audit', keys })).toMatchObject({
    findings: [],
    whole: true,
  });
}, 120_000);
