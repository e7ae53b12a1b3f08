import { connect } from 'node:net';
import { serialize } from 'pg-protocol';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { UpstreamAddress } from '../../src/config/config.ts';
import { BACKEND, decodeErrorFields, encodeFrame } from '../../src/protocol/backend.ts';
import { FrameReader } from '../../src/protocol/frame-reader.ts';
import { PROTOCOL_3_0, PROTOCOL_3_2 } from '../../src/protocol/startup.ts';
import { cancelUpstream, openUpstream, type Upstream, UpstreamRefused } from '../../src/proxy/upstream.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { logInRaw } from './scram-client.ts';
import { Bytes, eventually, expectServed, failure, framesOf, packet } from './support.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
});
afterAll(() => stack.close());
afterEach(() => expectServed(stack.agentUrl));

/** Reads nothing, and takes longer than anybody waits. */
const SLOW = 'SELECT count(*) FROM generate_series(1, 30000) a, generate_series(1, 30000) b';

function address(): UpstreamAddress {
  const { hostname, port } = new URL(stack.agentUrl);
  return {
    host: hostname,
    port: Number(port),
    database: null,
    user: null,
    password: null,
    tls: { mode: 'disable' },
  };
}

/** A client of the proxy, with the cancel key that it was given. */
async function open(): Promise<Upstream> {
  const { username, password, pathname } = new URL(stack.agentUrl);
  return openUpstream(
    address(),
    { user: username, password, database: pathname.slice(1), parameters: new Map() },
    5_000,
  );
}

/** The first column of the first row; rejects with the server's error, once it is ready again. */
function ask(client: Upstream, sql: string): Promise<string | null> {
  return new Promise((done, failed) => {
    const reader = new FrameReader(1 << 20);
    let value: string | null = null;
    let error: UpstreamRefused | null = null;
    client.wire.listen({
      chunk: (chunk) =>
        reader.push(chunk, (type, frame) => {
          if (type === BACKEND.dataRow) value = frame.toString('utf8', 11);
          if (type === BACKEND.error) error = new UpstreamRefused(decodeErrorFields(frame));
          if (type === BACKEND.readyForQuery && error === null) done(value);
          if (type === BACKEND.readyForQuery && error !== null) failed(error);
          return true;
        }),
      closed: () => failed(new Error('the connection ended')),
      drained: () => {},
    });
    client.wire.write(serialize.query(sql));
  });
}
const cancel = (client: Upstream) => cancelUpstream(address(), client, 5_000);

async function running(sql: string): Promise<boolean> {
  const { rows } = await stack.shop.query(
    "SELECT FROM pg_stat_activity WHERE state = 'active' AND query = $1 AND datname = current_database()",
    [sql],
  );
  return rows.length > 0;
}

/** Asks and waits until the server is at it. The promise is wrapped: it ends later. */
async function begin(client: Upstream, sql = SLOW): Promise<{ readonly answer: Promise<string | null> }> {
  const answer = ask(client, sql);
  answer.catch(() => {});
  await eventually('the statement runs', () => running(sql));
  return { answer };
}

function cancelPacket(processId: number, key: Buffer): Buffer {
  const id = Buffer.alloc(4);
  id.writeInt32BE(processId, 0);
  return packet(80877102, Buffer.concat([id, key]));
}

describe('a cancel request', () => {
  it('stops the statement that runs, and the session goes on', async () => {
    const client = await open();
    const { answer } = await begin(client);
    await cancel(client);
    expect(await failure(answer)).toMatchObject({
      fields: { C: '57014', M: 'canceling statement due to user request' },
    });
    expect(await ask(client, 'SELECT 5')).toBe('5');
    expect(await running(SLOW)).toBe(false);
    client.wire.destroy();
  });

  it('hits no later statement, however it races with the end of one', async () => {
    const client = await open();
    const counts = { cancelled: 0, finished: 0 };
    for (let i = 0; i < 200; i++) {
      const short = ask(client, `SELECT count(*) FROM generate_series(1, ${1 + (i % 20) * 4000})`).then(
        () => 'finished' as const,
        () => 'cancelled' as const,
      );
      if (i % 3 === 0) await new Promise((done) => setTimeout(done, i % 5));
      const cancelled = cancel(client);
      // Some at the end of the statement, some at the end of the cancel's own connection.
      if (i % 2 === 0) await cancelled;
      counts[await short] += 1;
      expect(await ask(client, `SELECT ${i}`)).toBe(String(i));
      await cancelled;
    }
    expect(counts.finished + counts.cancelled).toBe(200);
    expect(Math.min(counts.finished, counts.cancelled)).toBeGreaterThan(0);
    client.wire.destroy();
  }, 120_000);

  it('after the end of the statement does nothing', async () => {
    const client = await open();
    expect(await ask(client, 'SELECT 1')).toBe('1');
    for (let i = 0; i < 20; i++) {
      await cancel(client);
      expect(await ask(client, 'SELECT 2')).toBe('2');
    }
    client.wire.destroy();
  });

  it('with a wrong key does nothing, and learns nothing', async () => {
    const client = await open();
    const other = await open();
    const { answer } = await begin(client);
    const { processId, cancelKey } = client;
    const flipped = Buffer.from(cancelKey.map((byte, i) => (i === 3 ? byte ^ 1 : byte)));
    const guesses: [number, Buffer][] = [
      [processId, flipped],
      [processId, other.cancelKey],
      [other.processId, cancelKey],
      [processId, Buffer.concat([cancelKey, Buffer.alloc(1)])],
      [processId, Buffer.alloc(32)],
      [processId, Buffer.alloc(256)],
      [0, cancelKey],
      [-1, cancelKey],
      ...Array.from({ length: 300 }, (_, i): [number, Buffer] => [
        processId,
        Buffer.of(i >> 8, i & 255, 7, 7),
      ]),
    ];
    for (let i = 0; i < guesses.length; i += 50)
      await Promise.all(
        guesses.slice(i, i + 50).map(async ([id, key]) => {
          const socket = await Bytes.connect(stack.agentUrl);
          socket.send(cancelPacket(id, key));
          expect(await socket.toEnd()).toHaveLength(0);
        }),
      );
    expect(await running(SLOW)).toBe(true);
    await cancel(other);
    expect(await running(SLOW)).toBe(true);
    await cancel(client);
    expect(await failure(answer)).toMatchObject({ fields: { C: '57014' } });
    for (const { wire } of [client, other]) wire.destroy();
  });

  it.each([0, 1, 3, 257, 1000])('with a key of %i bytes is refused', async (length) => {
    const socket = await Bytes.connect(stack.agentUrl);
    socket.send(cancelPacket(1, Buffer.alloc(length)));
    expect(await socket.fatal()).toMatchObject({ C: '08P01' });
  });

  it('leaves no connection open, even where the client does not close its side', async () => {
    const { hostname, port } = new URL(stack.agentUrl);
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    let broken = false;
    socket.on('error', () => {
      broken = true;
    });
    socket.resume();
    socket.write(cancelPacket(1, Buffer.alloc(4)));
    await new Promise((done) => socket.once('end', done));
    await eventually('the socket is gone', () => {
      socket.write('x');
      return broken;
    });
  });

  it.each([
    ['3.0', PROTOCOL_3_0, 4],
    ['3.2', PROTOCOL_3_2, 32],
    ['3.9999, negotiated down', 0x3270f, 32],
  ])('works with the key of protocol %s', async (_name, protocol, keyLength) => {
    const { client, frames, negotiated } = await logInRaw(stack.agentUrl, protocol);
    expect(negotiated?.subarray(5).toString('hex') ?? '').toBe(
      protocol === 0x3270f ? '0003000200000000' : '',
    );
    const key = frames.find((frame) => frame[0] === 0x4b) ?? Buffer.alloc(0);
    expect(key.length).toBe(9 + keyLength);
    client.send(encodeFrame(0x51, Buffer.from(`${SLOW}\0`)));
    await eventually('the statement runs', () => running(SLOW));
    const socket = await Bytes.connect(stack.agentUrl);
    socket.send(cancelPacket(key.readInt32BE(5), key.subarray(9)));
    await socket.toEnd();
    const answer = Buffer.concat([await client.frame(), await client.frame(), await client.frame()]);
    expect(framesOf(answer).map((frame) => String.fromCharCode(frame[0] ?? 0))).toEqual(['T', 'E', 'Z']);
    expect(answer.toString()).toContain('57014');
    client.close();
  });

  it('is of no use once the session has ended', async () => {
    const client = await open();
    client.wire.destroy();
    await new Promise((done) => setTimeout(done, 100));
    await cancel(client);
  });

  it('withdraws a statement that is held', async () => {
    const client = await open();
    const held = ask(client, 'DROP TABLE orders');
    held.catch(() => {});
    await stack.api.waitFor('DROP TABLE orders');
    await cancel(client);
    expect(await failure(held)).toMatchObject({ fields: { C: '57014' } });
    await eventually('the request is closed', async () => (await stack.api.open()).length === 0);
    expect(await ask(client, 'SELECT 3')).toBe('3');
    client.wire.destroy();
  });

  it('stops a statement whose client has left, once', async () => {
    const client = await open();
    await begin(client);
    client.wire.destroy();
    await cancel(client);
    await eventually('nothing runs', async () => !(await running(SLOW)));
  });
});
