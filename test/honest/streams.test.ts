/** Processes as they begin, end, die and follow one another, and a log that alarms nobody. */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RawClient } from '../support/raw-client.ts';
import { serveBeside } from '../support/served.ts';
import { type Stack, startStack } from '../support/stack.ts';
import {
  agentSends,
  answered,
  connect,
  PATIENCE,
  published,
  requireSound,
  sends,
  settled,
  stateOf,
} from './support.ts';

const SAMPLE = `CREATE TABLE notes (id int PRIMARY KEY, body text);
  INSERT INTO notes SELECT i, 'body ' || i FROM generate_series(1, 50) i`;
const LIMITS = { pollMs: 300, policyPollMs: 200, checkpointMs: 700 };

let stack: Stack;
beforeAll(async () => {
  // Whoever asks the database sees times and dates in a way of their own.
  stack = await startStack({ sample: SAMPLE, limits: LIMITS });
  await stack.audit.query(
    `ALTER DATABASE ${stack.audit.name} SET timezone = 'Asia/Kolkata';
     ALTER DATABASE ${stack.audit.name} SET datestyle = 'German, DMY';
     ALTER DATABASE ${stack.audit.name} SET intervalstyle = 'sql_standard';
     ALTER DATABASE ${stack.audit.name} SET bytea_output = 'escape';
     ALTER DATABASE ${stack.audit.name} SET extra_float_digits = -15;
     ALTER DATABASE ${stack.audit.name} SET search_path = 'countersign', 'public'`,
  );
}, 120_000);
afterAll(() => stack?.close());

describe('processes', { timeout: 600_000 }, () => {
  it('that start and end without anything between', async () => {
    const idle = await stack.second();
    const keys = await published(idle);
    await idle.running.close();
    await requireSound(stack, keys, true);
  });

  it('that are killed while statements run, one of them released, and are followed by another', async () => {
    const served = await serveBeside(stack, { limits: LIMITS });
    const on = { ...stack, agentUrl: served.agentUrl };
    expect(await agentSends(on, 'SELECT body FROM notes WHERE id = 1')).toBe('SELECT');
    const clients: pg.Client[] = [];
    const running = async (sql: string) => {
      const client = await connect(served.agentUrl);
      clients.push(client);
      return sends(client, sql);
    };
    const napping = 'DO $$ BEGIN PERFORM pg_sleep(60); END $$ -- lost.';
    const all = [
      running('INSERT INTO notes SELECT 1000, pg_sleep(60)::text -- written.'),
      running('SELECT pg_sleep(1), pg_sleep(50) -- read.'),
      running(napping),
      running('CREATE TABLE asked_for (id int) -- open.'),
    ];
    const { id } = await stack.api.waitFor('lost.');
    expect((await stack.api.verdict(id, 'approve')).status).toBe(200);
    const open = await stack.api.waitFor('open.');
    await expect.poll(() => stateOf(stack, id), PATIENCE).toBe('consumed');
    const asleep = async () =>
      (await stack.shop.query("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'")).rowCount;
    await expect.poll(asleep, PATIENCE).toBeGreaterThanOrEqual(1);
    process.kill(served.pid, 'SIGKILL');
    await Promise.all(all);
    for (const client of clients) await client.end().catch(() => {});
    // Nobody has come after it yet.
    await requireSound(stack, await published(stack), true);
    const next = await served.restart();
    await expect.poll(() => stateOf(stack, id), PATIENCE).toBe('unknown');
    expect(await stateOf(stack, open.id)).toBe('open');
    const recovered = async () =>
      (await stack.audited("SELECT FROM audit.events WHERE kind = 'log_recovered'")).length;
    // In its own stream, and in that of who recovered it.
    await expect.poll(recovered, PATIENCE).toBeGreaterThanOrEqual(2);
    const again = agentSends(
      { ...stack, agentUrl: next.agentUrl },
      'CREATE TABLE asked_for (id int) -- open.',
    );
    expect((await stack.api.verdict(open.id, 'approve')).status).toBe(200);
    expect(await again).toBe('CREATE');
    await settled(stack);
    await requireSound(stack, await published(stack), true);
    await next.close();
    await requireSound(stack, await published(stack), true);
  });

  it('that run at once', async () => {
    const second = await stack.second();
    const reads = [stack, second].map(async (on) => {
      for (let i = 1; i < 20; i++) await agentSends(on, `SELECT body FROM notes WHERE id = ${i}`);
    });
    expect((await answered(second, 'CREATE TABLE at_once (id int)', 'approve')).got).toBe('CREATE');
    await Promise.all(reads);
    await settled(stack);
    await requireSound(stack, await published(stack), true);
    await second.running.close();
  });

  it('that refuse log-ins, clients that break the protocol, and are cancelled', async () => {
    const wrong = new URL(stack.agentUrl);
    wrong.password = 'guess';
    await expect(connect(wrong.href)).rejects.toThrow();
    await expect(connect(wrong.href.replace('agent:', 'nobody:'))).rejects.toThrow();
    const broken = await RawClient.connect(stack.agentUrl);
    broken.send(Buffer.from([0x7a, 0, 0, 0, 4]));
    await broken.until(() => false, 60_000);
    const client = await RawClient.connect(stack.agentUrl);
    client.send(Buffer.concat([Buffer.from('Q\0\0\0\x18SELECT pg_sleep(30)', 'latin1'), Buffer.from([0])]));
    await new Promise((done) => setTimeout(done, 300));
    await client.cancel();
    await client.ready(1, 60_000);
    client.close();
    await settled(stack);
    await requireSound(stack, await published(stack), true);
  });

  it('whose policy changes while they run, also to one that cannot be used', async () => {
    const served = await serveBeside(stack, { limits: LIMITS });
    const read = () =>
      agentSends({ ...stack, agentUrl: served.agentUrl }, 'SELECT body FROM notes WHERE id = 2');
    served.rewrite([{ name: 'no-reads', match: { class: ['read'] }, decision: 'deny' }]);
    await expect.poll(read, PATIENCE).toBe('42501');
    served.rewrite('policy: [');
    served.rewrite([{ name: 'x', match: { class: ['no such class'] }, decision: 'deny' }]);
    const refused = async () =>
      (await stack.audited("SELECT FROM audit.configuration_changes WHERE change = 'policy_refused'")).length;
    await expect.poll(refused, PATIENCE).toBeGreaterThanOrEqual(1);
    served.rewrite([]);
    await expect.poll(read, PATIENCE).toBe('SELECT');
    await served.close();
    await settled(stack);
    await requireSound(stack, await published(stack), true);
  });

  it('without a person who had approved, after one with a clock that was ahead of theirs by a day', async () => {
    const { id } = await answered(stack, 'CREATE TABLE of_the_approver (id int)', 'approve');
    const keys = await published(stack);
    await stack.running.close();
    const day = 26 * 3_600_000;
    const [now, origin] = [Date.now, performance.timeOrigin];
    let later: Stack | undefined;
    try {
      Date.now = () => now() - day;
      Object.defineProperty(performance, 'timeOrigin', { value: origin - day, configurable: true });
      later = await stack.second({
        people: stack.config.people.filter((one) => one.id !== 'approver'),
        http: { ...stack.config.http, apiKeys: [] },
      });
      expect(await agentSends(later, 'SELECT body FROM notes WHERE id = 3')).toBe('SELECT');
      const client = await connect(later.agentUrl);
      sends(client, 'CREATE TABLE nobody_left (id int)');
      const asked = async () =>
        (await stack.audit.query("SELECT FROM countersign.request WHERE sql LIKE '%nobody_left%'")).rowCount;
      await expect.poll(asked, PATIENCE).toBe(1);
      await client.end();
      await settled(stack);
      await requireSound(later, keys, true);
      await later.running.close();
    } finally {
      Date.now = now;
      Object.defineProperty(performance, 'timeOrigin', { value: origin, configurable: true });
    }
    await requireSound(stack, keys);
    expect(await stateOf(stack, id)).toBe('executed');
  });
});
