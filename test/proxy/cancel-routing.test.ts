/** Two processes of one installation, and cancels that reach the wrong one. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { instanceOf } from '../../src/proxy/cancel-keys.ts';
import { startCancelRouting } from '../../src/proxy/cancel-routing.ts';
import { openKeys } from '../../src/signing/keys.ts';
import { newSealing } from '../../src/signing/sealing.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { CancelClient, cancelPacket, sendCancel, simple } from './cancel-client.ts';
import { eventually, expectServed } from './support.ts';

let here: Stack;
let there: Stack;
beforeAll(async () => {
  here = await startStack();
  there = await here.second();
}, 120_000);
afterAll(() => here.close());

const SLOW = 'SELECT count(*) FROM generate_series(1, 30000) a, generate_series(1, 30000) b';
const LONG_MS = 60_000;

async function running(sql: string): Promise<boolean> {
  const { rows } = await here.shop.query(
    "SELECT FROM pg_stat_activity WHERE state = 'active' AND query = $1 AND datname = current_database()",
    [sql],
  );
  return rows.length > 0;
}

async function begin(sql: string, protocol?: number): Promise<CancelClient> {
  const client = await CancelClient.open(here.agentUrl, protocol);
  client.send(simple(sql));
  await eventually('the statement runs', () => running(sql), LONG_MS);
  return client;
}

/** Whoever may connect to the audit database can listen. */
async function eavesdrop(...instances: number[]) {
  const spy = new pg.Client({ connectionString: here.auditorUrl });
  const heard: { readonly channel: string; readonly payload: string }[] = [];
  spy.on('notification', ({ channel, payload }) => heard.push({ channel, payload: payload ?? '' }));
  await spy.connect();
  for (const instance of instances) await spy.query(`LISTEN countersign_cancel_${instance}`);
  return { spy, heard };
}

async function instances(): Promise<number[]> {
  const { rows } = await here.audit.query('SELECT number FROM countersign.cancel_instance ORDER BY number');
  return rows.map(({ number }: { number: number }) => number);
}

it('a start that meets no trouble warns of none', async () => {
  const said: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => void said.push(line) });
  const { url } = here.config.audit;
  const sealing = newSealing(await openKeys(here.config.keys.directory));
  const routing = await startCancelRouting({ url, sealing, limits: here.config.limits, log });
  // It has heard its own word that it is there.
  await eventually('it is known', async () => (await instances()).includes(routing.instance()));
  await new Promise((done) => setTimeout(done, 200));
  await routing.close();
  expect(said).toEqual([]);
});

describe('a cancel that reaches another process', () => {
  it.each([
    ['3.0', 0x30000, 4],
    ['3.2', 0x30002, 32],
  ])('stops the statement, with the key of protocol %s', async (version, protocol, length) => {
    const sql = `${SLOW} -- ${version}`;
    const client = await begin(sql, protocol);
    expect(client.key).toHaveLength(length);
    await sendCancel(there.agentUrl, client.packet);
    // The end of its socket says that it has been done.
    expect(await client.answer()).toEqual(['T', 'E:57014', 'Z:I']);
    expect(await client.query('SELECT 1')).toEqual(['T', 'D:1', 'C', 'Z:I']);
    client.close();
  });

  it('withdraws what is held', async () => {
    const client = await CancelClient.open(here.agentUrl);
    client.send(simple('DROP TABLE customers'));
    const request = await there.api.waitFor('DROP TABLE customers');
    await sendCancel(there.agentUrl, client.packet);
    const answer = await client.answer();
    expect(answer.slice(-2)).toEqual(['E:57014', 'Z:I']);
    await eventually(
      'the request is withdrawn',
      async () => (await stateOf(request.id)) === 'withdrawn',
      LONG_MS,
    );
    expect((await there.api.verdict(request.id, 'approve')).status).toBe(409);
    expect(await client.query('SELECT 1')).toContain('D:1');
    client.close();
  });

  it('does nothing with a wrong key, and lets nothing be learned', async () => {
    const sql = `${SLOW} -- wrong`;
    const client = await begin(sql);
    const { processId, key } = client;
    const guesses = [
      cancelPacket(processId, Buffer.from(key.map((byte, i) => (i === 31 ? byte ^ 1 : byte)))),
      cancelPacket(processId, key.subarray(0, 4)),
      cancelPacket(processId, Buffer.concat([key, Buffer.alloc(1)])),
      cancelPacket(processId ^ 1, key),
      cancelPacket(-1, key),
      cancelPacket(0, key),
    ];
    for (const guess of guesses) await sendCancel(there.agentUrl, guess);
    expect(await running(sql)).toBe(true);
    await sendCancel(there.agentUrl, client.packet);
    expect(await client.answer()).toContain('E:57014');
    client.close();
  });

  it('tells a listener in the database neither the key nor a way to use it again', async () => {
    const sql = `${SLOW} -- heard`;
    const client = await begin(sql, 0x30000);
    const instance = instanceOf(client.processId);
    const { spy, heard } = await eavesdrop(instance);
    await sendCancel(there.agentUrl, client.packet);
    expect(await client.answer()).toContain('E:57014');
    await eventually('it was heard', () => heard.length > 0);
    const [{ payload = '' } = {}] = heard;
    const raw = Buffer.from(payload, 'base64');
    expect(raw.includes(client.key)).toBe(false);
    for (const encoding of ['hex', 'base64', 'latin1'] as const)
      expect(payload).not.toContain(client.key.toString(encoding));

    client.send(simple(sql));
    await eventually('it runs again', () => running(sql), LONG_MS);
    for (const bytes of [
      raw,
      altered(raw, 1),
      altered(raw, 9),
      altered(raw, 40),
      raw.subarray(0, 20),
      Buffer.alloc(0),
    ])
      await spy.query('SELECT pg_notify($1, $2)', [
        `countersign_cancel_${instance}`,
        bytes.toString('base64'),
      ]);
    await spy.query('SELECT pg_notify($1, $2)', [`countersign_cancel_${instance}`, 'no base64 {}']);
    // One that is right goes the same way, behind them.
    const other = await begin(`${SLOW} -- other`);
    await sendCancel(there.agentUrl, other.packet);
    expect(await other.answer()).toContain('E:57014');
    expect(await running(sql)).toBe(true);
    await sendCancel(there.agentUrl, client.packet);
    expect(await client.answer()).toContain('E:57014');
    for (const one of [client, other]) one.close();
    await spy.end();
  });

  it('and a flood of guesses cost the database little', async () => {
    const limited = await startStack({
      limits: { cancelsRoutedPerSecond: 2, cancelsRoutedPerAddressPerSecond: 1 },
    });
    const second = await limited.second();
    const client = await CancelClient.open(limited.agentUrl);
    const known = instanceOf(client.processId);
    const unknown = known === 7 ? 8 : 7;
    const spy = new pg.Client({ connectionString: limited.auditorUrl });
    const heard: string[] = [];
    spy.on('notification', ({ channel }) => heard.push(channel));
    await spy.connect();
    await spy.query(`LISTEN countersign_cancel_${known}; LISTEN countersign_cancel_${unknown}`);
    const began = performance.now();
    for (let i = 0; i < 10; i++)
      await Promise.all(
        Array.from({ length: 20 }, (_, j) =>
          sendCancel(
            second.agentUrl,
            cancelPacket(((j % 2 === 0 ? known : unknown) << 19) | (i * 20 + j), randomBytes(4)),
          ),
        ),
      );
    await spy.query('SELECT 1');
    expect(heard.filter((channel) => channel.endsWith(`_${unknown}`))).toEqual([]);
    // Four at once, and one a second.
    const allowed = 4 + Math.ceil((performance.now() - began) / 1000) + 1;
    expect(heard.length).toBeGreaterThan(0);
    expect(heard.length).toBeLessThanOrEqual(Math.min(allowed, 99));
    await expectServed(second.agentUrl);
    client.close();
    await spy.end();
    await limited.close();
  }, 120_000);
});

describe('the processes of an installation', () => {
  it('give out ids of their own, and leave no key in the database', async () => {
    const clients = await Promise.all(
      [here, there, here, there].map(({ agentUrl }) => CancelClient.open(agentUrl)),
    );
    const [one, two] = await instances();
    expect(new Set(clients.map(({ processId }) => instanceOf(processId)))).toEqual(new Set([one, two]));
    expect(clients.every(({ processId }) => processId > 0)).toBe(true);
    const { rows } = await here.audit.query('SELECT to_jsonb(i) AS row FROM countersign.cancel_instance i');
    const stored = JSON.stringify(rows);
    for (const { key } of clients)
      for (const encoding of ['hex', 'base64'] as const) expect(stored).not.toContain(key.toString(encoding));
    for (const client of clients) client.close();
  });

  it('are forgotten when they end, and when they are not heard of any more', async () => {
    const third = await here.second();
    await eventually('three are there', async () => (await instances()).length === 3, LONG_MS);
    const number = (await instances()).find((one) => one !== undefined) ?? 0;
    await third.running.close();
    await eventually('two are left', async () => (await instances()).length === 2, LONG_MS);
    // As if a process had died.
    await here.audit.query(
      `INSERT INTO countersign.cancel_instance SELECT CASE WHEN $1 = 4095 THEN 4094 ELSE 4095 END,
         decode(repeat('04', 65), 'hex'), kid, signature, clock_timestamp() - interval '1 second'
       FROM countersign.cancel_instance LIMIT 1`,
      [number],
    );
    await eventually('it is removed', async () => (await instances()).length === 2, LONG_MS);
  });

  it('whose connections are cut, and whose rows are lost, find one another again', async () => {
    const before = await instances();
    await here.audit.query('DELETE FROM countersign.cancel_instance');
    await here.audit.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'countersign cancels' AND datname = current_database()",
    );
    await eventually('they are back', async () => (await instances()).length === 2, LONG_MS);
    expect(await instances()).toEqual(before);
    const sql = `${SLOW} -- back`;
    const client = await begin(sql);
    await eventually(
      'the cancel arrives',
      async () => {
        await sendCancel(there.agentUrl, client.packet);
        return !(await running(sql));
      },
      LONG_MS,
    );
    expect(await client.answer()).toContain('E:57014');
    client.close();
  });

  it('believe nobody whom the installation has not signed', async () => {
    const { rows } = await here.audit.query(
      `INSERT INTO countersign.cancel_instance SELECT 77, decode('04' || repeat('ab', 64), 'hex'), kid, signature,
         clock_timestamp() + interval '1 minute' FROM countersign.cancel_instance LIMIT 1 RETURNING number`,
    );
    expect(rows).toEqual([{ number: 77 }]);
    const { spy, heard } = await eavesdrop(77);
    await spy.query('NOTIFY countersign_cancel');
    await new Promise((done) => setTimeout(done, 1_500));
    await sendCancel(there.agentUrl, cancelPacket((77 << 19) | 5, randomBytes(4)));
    await spy.query('SELECT 1');
    expect(heard).toEqual([]);
    await here.audit.query('DELETE FROM countersign.cancel_instance WHERE number = 77');
    await spy.end();
  });
});

function altered(bytes: Buffer, at: number): Buffer {
  return Buffer.from(bytes.map((byte, i) => (i === at ? byte ^ 1 : byte)));
}

async function stateOf(id: string): Promise<string> {
  const { rows } = await here.audit.query('SELECT state FROM countersign.request WHERE id = $1', [id]);
  return (rows[0] as { state: string } | undefined)?.state ?? 'none';
}
