/** A server to which cancels get late, or never: what the client may rely on meanwhile. */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type Stack, startStack } from '../support/stack.ts';
import { CancelClient, sendCancel, simple } from './cancel-client.ts';
import { eventually } from './support.ts';

const CANCEL_REQUEST = 80877102;
const LATE_MS = 700;
const LONG_MS = 60_000;
const SLOW = 'SELECT count(*) FROM generate_series(1, 30000) a, generate_series(1, 30000) b';

const sockets = new Set<Socket>();
let between: Server;
let here: Stack;
let there: Stack;
/** What becomes of cancels. */
let way: 'late' | 'never' | 'reset' = 'late';
let letThrough = 0;

beforeAll(async () => {
  const { port } = inject('postgres');
  between = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', (first: Buffer) => {
      const cancel = first.length >= 8 && first.readUInt32BE(4) === CANCEL_REQUEST;
      if (cancel && way === 'never') return;
      if (cancel && way === 'reset') return void socket.resetAndDestroy();
      setTimeout(
        () => {
          if (cancel) letThrough += 1;
          const real = connect({ host: '127.0.0.1', port });
          sockets.add(real);
          real.on('error', () => {});
          real.write(first);
          socket.pipe(real).pipe(socket);
        },
        cancel ? LATE_MS : 0,
      );
    });
  });
  await new Promise<void>((done) => between.listen(0, '127.0.0.1', done));
  const address = between.address();
  const late = address !== null && typeof address === 'object' ? address.port : 0;
  here = await startStack({
    limits: { cancelMs: 2_500 },
    config: (config) => ({ ...config, upstream: { ...config.upstream, port: late } }),
  });
  there = await here.second();
}, 120_000);
afterAll(async () => {
  await here.close();
  for (const socket of sockets) socket.destroy();
  between.close();
});

async function begin(sql: string): Promise<CancelClient> {
  const client = await CancelClient.open(here.agentUrl);
  client.send(simple(sql));
  await eventually(
    'the statement runs',
    async () => {
      const { rows } = await here.shop.query(
        "SELECT FROM pg_stat_activity WHERE state = 'active' AND query = $1 AND datname = current_database()",
        [sql],
      );
      return rows.length > 0;
    },
    LONG_MS,
  );
  return client;
}

describe('a cancel that gets to the server late', () => {
  it.each(['here', 'there'] as const)(
    'keeps its socket open until then, sent %s',
    async (where) => {
      way = 'late';
      const client = await begin(`${SLOW} -- ${where}`);
      const before = letThrough;
      await sendCancel((where === 'here' ? here : there).agentUrl, client.packet);
      expect(letThrough).toBe(before + 1);
      expect(await client.answer()).toContain('E:57014');
      client.close();
    },
    120_000,
  );

  it('hits no statement that is sent while it is on its way', async () => {
    way = 'late';
    const client = await CancelClient.open(here.agentUrl);
    await client.query('SELECT 1');
    const before = letThrough;
    client.send(simple('SELECT 5 FROM pg_sleep(0.2)'));
    await new Promise((done) => setTimeout(done, 50));
    const cancelled = sendCancel(here.agentUrl, client.packet);
    expect(await client.answer()).toContain('D:5');
    expect(letThrough).toBe(before);
    expect(await client.query('SELECT 6 FROM pg_sleep(0.2)')).toContain('D:6');
    expect(letThrough).toBe(before + 1);
    await cancelled;
    client.close();
  }, 120_000);
});

describe.each(['never', 'reset'] as const)('a cancel whose connection is answered thus: %s', (how) => {
  it('ends the session, for nobody knows what it may hit', async () => {
    const client = await begin(`${SLOW} -- ${how}`);
    way = how;
    await sendCancel(here.agentUrl, client.packet);
    const seen: string[] = [];
    while (!seen.at(-1)?.startsWith('Z')) seen.push(await client.next());
    expect(seen.slice(-2)).toEqual(['E:57P01', 'Z end of the connection']);
    way = 'late';
    await here.shop.query('SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = $1', [
      `${SLOW} -- ${how}`,
    ]);
  }, 120_000);
});
