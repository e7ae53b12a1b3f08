import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { type Served, serveBeside } from '../support/served.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { logInRaw } from './scram-client.ts';
import { eventually, expectServed } from './support.ts';

const MIB = 1 << 20;
/** In CI a part of it; the whole: COUNTERSIGN_SLOW_READER_MB=1024. */
const SIZE_MB = Number(process.env['COUNTERSIGN_SLOW_READER_MB'] ?? 256);
const STALL_MS = 6_000;

let stack: Stack;
let served: Served;
beforeAll(async () => {
  stack = await startStack();
  served = await serveBeside(stack, {
    limits: { clientStallMs: STALL_MS },
    rules: [{ name: 'exports', match: { class: ['export'] }, decision: 'allow' }],
  });
});
afterAll(async () => {
  await served.close();
  await stack.close();
});

const simple = (sql: string) => encodeFrame(0x51, Buffer.from(`${sql}\0`));

/** Reads so many bytes, then no more until it is called again; false where the connection has ended. */
function reader(socket: Socket): (bytes: number) => Promise<Buffer | null> {
  socket.removeAllListeners('data');
  let tail: Buffer = Buffer.alloc(0);
  return (bytes) =>
    new Promise((done) => {
      let got = 0;
      const end = (answer: Buffer | null) => {
        socket.pause();
        socket.off('data', take);
        socket.off('close', closed);
        done(answer);
      };
      const closed = () => end(null);
      const take = (chunk: Buffer) => {
        got += chunk.length;
        tail = Buffer.from((chunk.length >= 6 ? chunk : Buffer.concat([tail, chunk])).subarray(-6));
        if (got >= bytes || tail.toString('latin1') === 'Z\0\0\0\x05I') end(tail);
      };
      socket.on('close', closed);
      socket.on('data', take);
      socket.resume();
    });
}

async function recordOf(sql: string) {
  const { rows } = await stack.audit.query(
    "SELECT s.outcome, s.sqlstate, s.rows::int, (SELECT jsonb_object(e.detail) ->> 'why' FROM audit.entry e WHERE e.kind = 'session_end' AND e.session_id = s.session_id) AS why FROM audit.statements s WHERE s.sql = $1",
    [sql],
  );
  return rows[0] as
    | { outcome: string | null; sqlstate: string | null; rows: number; why: string }
    | undefined;
}

const running = async (sql: string) => {
  const { rows } = await stack.shop.query(
    "SELECT wait_event AS wait FROM pg_stat_activity WHERE state = 'active' AND query = $1",
    [sql],
  );
  return rows[0] as { wait: string | null } | undefined;
};

describe(`a result of ${SIZE_MB} MB, read slowly`, () => {
  it('comes whole, and takes little memory', async () => {
    await expectServed(served.agentUrl);
    const before = served.peakMemory();
    const sql = `SELECT repeat('x', ${MIB}) FROM generate_series(1, ${SIZE_MB}) -- slowly`;
    const { client } = await logInRaw(served.agentUrl, 0x30000);
    client.send(simple(sql));
    const read = reader(client.socket);
    const PART = 16 * MIB;
    let parts = 0;
    for (let end = false; !end; parts++) {
      const tail = await read(PART);
      if (tail === null) throw new Error('the connection ended');
      end = tail.toString('latin1') === 'Z\0\0\0\x05I';
      await new Promise((done) => setTimeout(done, 50));
    }
    expect(parts).toBeGreaterThanOrEqual(SIZE_MB / 16);
    client.close();
    await eventually('it is recorded', async () => (await recordOf(sql))?.outcome === 'executed', 30_000);
    expect((await recordOf(sql))?.rows).toBe(SIZE_MB);
    const after = served.peakMemory();
    if (before === null || after === null) return;
    const megabytes = (bytes: number) => Math.round(bytes / MIB);
    process.stdout.write(
      `result ${SIZE_MB} MB: peak memory ${megabytes(after)} MB, before ${megabytes(before)} MB\n`,
    );
    expect(after - before).toBeLessThan(96 * MIB);
  }, 600_000);
});

describe(`a result of ${SIZE_MB} MB that waits for a person in its middle`, () => {
  it('takes little memory, and comes whole when it is approved', async () => {
    const asking = await serveBeside(stack);
    await expectServed(asking.agentUrl);
    const before = asking.peakMemory();
    const sql = `SELECT repeat('x', ${MIB / 2}) FROM generate_series(1, ${2 * SIZE_MB}) -- asked`;
    const { client } = await logInRaw(asking.agentUrl, 0x30000);
    client.send(simple(sql));
    const { id } = await stack.api.waitFor('-- asked');
    await new Promise((done) => setTimeout(done, 3_000));
    const waiting = asking.peakMemory();
    await stack.api.verdict(id, 'approve');
    const read = reader(client.socket);
    for (let end = false; !end; ) {
      const tail = await read(16 * MIB);
      if (tail === null) throw new Error('the connection ended');
      end = tail.toString('latin1') === 'Z\0\0\0\x05I';
    }
    await eventually('it is recorded', async () => (await recordOf(sql))?.outcome === 'executed', 30_000);
    expect((await recordOf(sql))?.rows).toBe(2 * SIZE_MB);
    const after = asking.peakMemory();
    client.close();
    await asking.close();
    if (before === null || waiting === null || after === null) return;
    const megabytes = [before, waiting, after].map((bytes) => Math.round(bytes / MIB)).join(', ');
    process.stdout.write(`asked in its middle: peak memory before, while and after: ${megabytes} MB\n`);
    expect(waiting - before).toBeLessThan(64 * MIB);
    expect(after - before).toBeLessThan(96 * MIB);
  }, 600_000);
});

describe('a reader that never reads', () => {
  it('is cut off, its statement cancelled, and the outcome is what it was', async () => {
    const sql = `SELECT repeat('x', ${MIB}) FROM generate_series(1, 200) -- never`;
    const { client } = await logInRaw(served.agentUrl, 0x30000);
    client.socket.pause();
    client.send(simple(sql));
    await eventually('the server waits for it', async () => (await running(sql))?.wait === 'ClientWrite');
    await eventually('the statement is over', async () => (await running(sql)) === undefined, 60_000);
    await eventually(
      'its outcome is recorded',
      async () => typeof (await recordOf(sql))?.why === 'string',
      30_000,
    );
    expect(await recordOf(sql)).toMatchObject({
      outcome: 'failed',
      sqlstate: '57014',
      why: `the client read nothing for ${STALL_MS} ms`,
    });
    await expectServed(served.agentUrl);
    client.close();
  }, 120_000);

  it('of a result that the server has sent whole is cut off too; the statement was executed', async () => {
    const sql = `SELECT repeat('x', ${MIB}) FROM generate_series(1, 7) -- finished`;
    const { client } = await logInRaw(served.agentUrl, 0x30000);
    client.socket.pause();
    client.send(simple(sql));
    await eventually('its session ends', async () => typeof (await recordOf(sql))?.why === 'string', 60_000);
    expect((await recordOf(sql))?.why).toBe(`the client read nothing for ${STALL_MS} ms`);
    const { outcome, sqlstate } = (await recordOf(sql)) ?? {};
    // The server may have finished, or was still sending when it was cancelled: either is said as it was.
    expect([`executed null`, 'failed 57014']).toContain(`${outcome} ${sqlstate}`);
    client.close();
  }, 120_000);

  it('but stops and goes on is left alone', async () => {
    const sql = `SELECT repeat('x', ${MIB}) FROM generate_series(1, 64) -- stops`;
    const { client } = await logInRaw(served.agentUrl, 0x30000);
    client.send(simple(sql));
    const read = reader(client.socket);
    // Longer in all than the limit allows at a time.
    for (let i = 0; i < 4; i++) {
      expect(await read(8 * MIB)).not.toBeNull();
      await new Promise((done) => setTimeout(done, STALL_MS / 3));
    }
    let tail = await read(64 * MIB);
    while (tail !== null && tail.toString('latin1') !== 'Z\0\0\0\x05I') tail = await read(64 * MIB);
    expect(tail).not.toBeNull();
    client.close();
    await eventually('it is recorded', async () => (await recordOf(sql))?.outcome === 'executed');
  }, 120_000);
});
