/** A session that ends in the middle of a row: nothing is put where the rest of the row would be read. */
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { type Between, standBetween } from './between.ts';
import { logInRaw } from './scram-client.ts';
import { eventually, expectServed, framesOf } from './support.ts';

let between: Between;
let stack: Stack;
beforeAll(async () => {
  between = await standBetween(inject('postgres').port);
  stack = await startStack({
    config: (config) => ({ ...config, upstream: { ...config.upstream, port: between.port } }),
  });
  await expectServed(stack.agentUrl);
});
afterAll(async () => {
  await stack.close();
  await between.close();
});

const ROW = encodeFrame(0x44, Buffer.concat([Buffer.from([0, 1, 0, 0, 0, 100]), Buffer.alloc(100, 0x78)]));

/** Two rows have come, and so many bytes of a third. */
async function midRow(bytes: number) {
  const parameters = [['application_name', 'evil']] as const;
  const { client } = await logInRaw(stack.agentUrl, 0x30000, { parameters });
  const server = between.sessions.at(-1);
  if (server === undefined) throw new Error('no upstream connection');
  const said = Buffer.concat([ROW, ROW, ROW.subarray(0, bytes)]);
  between.change = (all) => {
    if (all[0] !== 0x54) return all;
    const description = all.subarray(0, 1 + all.readInt32BE(1));
    return Buffer.concat([description, said]);
  };
  client.send(serialize.query("SELECT 'x' AS text"));
  const first = await client.frame();
  expect(first[0]).toBe(0x54);
  // A header that is not whole is kept back.
  const passed = bytes < 5 ? said.subarray(0, 2 * ROW.length) : said;
  expect((await client.take(passed.length)).equals(passed)).toBe(true);
  between.change = null;
  return { client, server };
}

describe.each([5, 6, 50, ROW.length - 1])('after %s bytes of a row', (bytes) => {
  it('the server goes: the client gets no byte more', async () => {
    const { client, server } = await midRow(bytes);
    server.socket.destroy();
    expect((await client.toEnd()).length).toBe(0);
    await expectServed(stack.agentUrl);
  });

  it('the proxy ends: likewise', async () => {
    const { client } = await midRow(bytes);
    await stack.restart();
    expect((await client.toEnd()).length).toBe(0);
    await eventually('it is back', () => expectServed(stack.agentUrl).then(() => true));
  });
});

describe.each([0, 3, ROW.length])('after %s bytes of a row, between two frames,', (bytes) => {
  it('the client is told why', async () => {
    const { client, server } = await midRow(bytes);
    server.socket.destroy();
    const rest = framesOf(await client.toEnd());
    expect(rest.map((frame) => frame[0])).toEqual([0x45]);
    await expectServed(stack.agentUrl);
  });
});
