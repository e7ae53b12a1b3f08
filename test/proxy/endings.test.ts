import { serialize } from 'pg-protocol';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makePolicy } from '../../src/config/policy.ts';
import { decodeErrorFields, encodeFrame } from '../../src/protocol/backend.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { logInRaw } from './scram-client.ts';
import { eventually, expectServed } from './support.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    config: (config) => ({
      ...config,
      policy: makePolicy([{ name: 'exports', match: { class: ['export'] }, decision: 'allow' }]),
    }),
  });
});
afterAll(() => stack.close());
afterEach(() => expectServed(stack.agentUrl));

const MIB = 1 << 20;
/** 200 MiB in 200 rows. */
const BIG = `SELECT repeat('x', ${MIB}) FROM generate_series(1, 200)`;
const SLOW = 'SELECT count(*) FROM generate_series(1, 30000) a, generate_series(1, 30000) b';

const typesOf = (frames: readonly Buffer[]) =>
  frames.map((frame) => String.fromCharCode(frame[0] ?? 0)).join('');
const simple = (sql: string) => encodeFrame(0x51, Buffer.from(`${sql}\0`));
const rss = () => process.memoryUsage().rss;

/** The server's side of a statement: what it waits for, or null where it does not run. */
async function waitsFor(sql: string): Promise<{ readonly pid: number; readonly wait: string | null } | null> {
  const { rows } = await stack.shop.query(
    "SELECT pid, wait_event AS wait FROM pg_stat_activity WHERE state = 'active' AND query = $1",
    [sql],
  );
  return rows[0] ?? null;
}

async function outcomesOf(sql: string): Promise<readonly string[]> {
  const { rows } = await stack.audit.query(
    "SELECT o.outcome FROM audit.entry i JOIN audit.entry o USING (session_id, statement_no) WHERE i.kind = 'intent' AND o.kind = 'outcome' AND i.sql = $1",
    [sql],
  );
  return rows.map((row: { outcome: string }) => row.outcome);
}

/** Asks for the big result and does not read it; the server is stuck in sending when this resolves. */
async function slowReader(sql: string) {
  const { client } = await logInRaw(stack.agentUrl, 0x30000);
  client.socket.pause();
  client.send(simple(sql));
  await eventually(
    'the server waits for its reader',
    async () => (await waitsFor(sql))?.wait === 'ClientWrite',
  );
  return client;
}

describe('a slow reader of a result of 200 MiB', () => {
  it('does not fill our memory, does not stop others, and gets all of it in the end', async () => {
    const before = rss();
    const client = await slowReader(BIG);
    for (let i = 0; i < 5; i++) await expectServed(stack.agentUrl);
    expect(rss() - before).toBeLessThan(100 * MIB);
    let got = 0;
    let tail: Buffer = Buffer.alloc(0);
    client.socket.removeAllListeners('data');
    const all = new Promise<void>((done) => {
      client.socket.on('data', (chunk: Buffer) => {
        got += chunk.length;
        tail = (chunk.length >= 6 ? chunk : Buffer.concat([tail, chunk])).subarray(-6);
        if (got > 200 * MIB && tail.toString('latin1') === 'Z\0\0\0\x05I') done();
      });
    });
    client.socket.resume();
    await all;
    expect(got).toBeLessThan(201 * MIB);
    client.close();
    await eventually('the outcome is recorded', async () => (await outcomesOf(BIG)).includes('executed'));
  });

  it.each([
    ['resets the connection', (socket: { resetAndDestroy: () => unknown }) => socket.resetAndDestroy()],
    ['closes the connection', (socket: { destroy: () => unknown }) => socket.destroy()],
  ])('that %s does not hold the database for ever', async (how, leave) => {
    const sql = `${BIG} -- ${how}`;
    const client = await slowReader(sql);
    leave(client.socket);
    await eventually('the statement is over', async () => (await waitsFor(sql)) === null);
    await eventually('its outcome is recorded', async () => (await outcomesOf(sql)).length === 1);
  });
});

describe('a backend that is terminated', () => {
  it('in the middle of a result tells the client so', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    client.send(serialize.query(SLOW));
    await eventually('it runs', async () => (await waitsFor(SLOW)) !== null);
    await stack.shop.query('SELECT pg_terminate_backend($1)', [(await waitsFor(SLOW))?.pid]);
    const frames = await client.until(() => false);
    expect(typesOf(frames)).toBe('TE');
    expect(decodeErrorFields(frames[1] ?? Buffer.alloc(5))).toMatchObject({
      S: 'FATAL',
      C: '57P01',
      M: 'terminating connection due to administrator command',
    });
    await eventually('the outcome is recorded', async () => (await outcomesOf(SLOW)).length === 1);
  });

  it.each(['idle', 'held'])('while the session is %s tells the client so', async (how) => {
    const client = await RawClient.connect(stack.agentUrl, { application_name: `terminated ${how}` });
    if (how === 'held') {
      client.send(serialize.query('DROP TABLE orders'));
      await stack.api.waitFor('DROP TABLE orders');
      await client.until((frames) => frames.length > 0);
    }
    await stack.shop.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1',
      [`terminated ${how}`],
    );
    const frames = await client.until(() => false);
    expect(typesOf(frames)).toBe('E');
    expect(decodeErrorFields(frames[0] ?? Buffer.alloc(5))).toMatchObject({ S: 'FATAL', C: '57P01' });
    await eventually('the end of the session is recorded', async () => {
      const { rows } = await stack.audit.query(
        "SELECT FROM audit.entry WHERE kind = 'session_end' AND application_name = $1",
        [`terminated ${how}`],
      );
      return rows.length === 1;
    });
  });
});

it('a session that its client ended is not said to have been ended by the server', async () => {
  const name = 'says goodbye';
  const client = await RawClient.connect(stack.agentUrl, { application_name: name });
  client.send(serialize.end());
  await client.until(() => false);
  const ends = async () =>
    (
      await stack.audit.query(
        "SELECT jsonb_object(detail) ->> 'why' AS why FROM audit.entry WHERE kind = 'session_end' AND application_name = $1",
        [name],
      )
    ).rows;
  await eventually('the end of the session is recorded', async () => (await ends()).length === 1);
  expect(await ends()).toEqual([{ why: 'the client closed the connection' }]);
});

describe('notifications', () => {
  it.each(['idle', 'held'])('reach a client that is %s', async (how) => {
    const client = await RawClient.connect(stack.agentUrl);
    client.send(serialize.query(`LISTEN news_${how}`));
    await client.ready();
    if (how === 'held') {
      client.send(serialize.query('DROP TABLE customers'));
      await stack.api.waitFor('DROP TABLE customers');
      await client.until((frames) => frames.length > 0);
    }
    await stack.shop.query(`NOTIFY news_${how}, 'hello'`);
    const [notification] = await client.until((frames) => frames.length > 0, 5_000);
    expect(notification?.toString('latin1', 9)).toBe(`news_${how}\0hello\0`);
    client.close();
  });

  it('reach a client between its results, in the order of the server', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    client.send(serialize.query('LISTEN own'));
    await client.ready();
    client.send(serialize.query("NOTIFY own, 'a'"));
    expect(typesOf(await client.ready())).toBe('CAZ');
    client.close();
  });
});

describe('a client that leaves', () => {
  it.each<[string, Buffer]>([
    ['in the middle of a message', simple('SELECT 1').subarray(0, 9)],
    [
      'with Terminate in the middle of a group',
      Buffer.concat([serialize.parse({ text: 'SELECT 1', name: '', types: [] }), serialize.end()]),
    ],
    ['in COPY', Buffer.concat([simple('COPY orders FROM STDIN'), serialize.copyData(Buffer.from('1\t'))])],
  ])('%s ends its session, and the upstream connection', async (how, bytes) => {
    const name = `leaves ${how}`.slice(0, 60);
    const client = await RawClient.connect(stack.agentUrl, { application_name: name });
    client.send(bytes);
    await new Promise((done) => setTimeout(done, 50));
    client.close();
    await eventually('the upstream connection ends', async () => {
      const { rows } = await stack.shop.query('SELECT FROM pg_stat_activity WHERE application_name = $1', [
        name,
      ]);
      return rows.length === 0;
    });
  });

  it('half ends its session too, with an outcome for what it had asked', async () => {
    const { client } = await logInRaw(stack.agentUrl, 0x30000);
    client.socket.end(simple("SELECT 'last words'"));
    await client.toEnd();
    await eventually(
      'the outcome is recorded',
      async () => (await outcomesOf("SELECT 'last words'")).length === 1,
    );
  });
});
