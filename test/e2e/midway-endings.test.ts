/** The client goes, in every way there is, while a person is asked about the rest of its result. */
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logInRaw } from '../proxy/scram-client.ts';
import { type Bytes, expectServed, framesOf } from '../proxy/support.ts';
import type { Stack } from '../support/stack.ts';
import {
  B,
  E,
  errorIn,
  eventually,
  LIMIT,
  P,
  Q,
  read,
  recorded,
  rowsIn,
  S,
  SIZES,
  type Size,
  startMidway,
  stateOf,
} from './midway-support.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startMidway();
});
afterAll(() => stack.close());

/** What the socket has given until the NOTICE that says that a person is asked. */
async function untilAsked(client: Bytes): Promise<Buffer[]> {
  const frames: Buffer[] = [];
  while (frames.at(-1)?.[0] !== 0x4e) frames.push(await client.frame(20_000));
  return frames;
}

/** In a transaction that has written, the rest of a result is asked about. */
async function waiting(size: Size, extended: boolean) {
  const { client } = await logInRaw(stack.agentUrl, 0x30000);
  client.send(Q('BEGIN'), Q(`INSERT INTO notes VALUES (17)`));
  for (let ready = 0; ready < 2; ) if ((await client.frame())[0] === 0x5a) ready += 1;
  const sql = read(size);
  client.send(...(extended ? [P(sql), B(), E, S] : [Q(sql)]));
  const came = await untilAsked(client);
  expect(rowsIn(came)).toBe(LIMIT);
  return { client, sql, request: await stack.api.waitFor(sql) };
}

const WAYS: readonly (readonly [string, (client: Bytes) => void])[] = [
  ['Terminate', (client) => client.send(serialize.end())],
  ['Terminate and the end of the socket', (client) => void client.socket.end(serialize.end())],
  ['the end of the socket', (client) => void client.socket.end()],
  ['a reset', (client) => void client.socket.resetAndDestroy()],
  ['a message that cannot be', (client) => client.send(Buffer.from('Q\0\0\0\x01'))],
];

describe.each(WAYS)('%s', (name, leave) => {
  it.each(SIZES.flatMap((size) => [[size, false] as const, [size, true] as const]))(
    '%s, extended: %s: nothing more comes, nothing stays behind, the request is open',
    async (size, extended) => {
      const { client, sql, request } = await waiting(size, extended);
      leave(client);
      const rest = framesOf(await client.toEnd(20_000));
      expect(rowsIn(rest)).toBe(0);
      // Whoever may still read hears why.
      if (name !== 'a reset')
        expect(errorIn(rest)).toMatchObject({ C: '57014', D: expect.stringContaining(request.id) });
      await eventually(async () => {
        const { rows } = await stack.shop.query(
          'SELECT query FROM pg_stat_activity WHERE query = $1 AND datname = current_database()',
          [sql],
        );
        expect(rows).toEqual([]);
      });
      await eventually(async () =>
        expect(await recorded(stack, sql)).toMatchObject({
          outcome: 'failed',
          rows: LIMIT,
          sqlstate: '57014',
        }),
      );
      expect((await stack.shop.query('SELECT count(*)::int AS n FROM notes WHERE id = 17')).rows).toEqual([
        { n: 0 },
      ]);
      expect(await stateOf(stack, request.id)).toBe('open');
      // What comes too late releases nothing.
      expect((await stack.api.verdict(request.id, 'approve')).status).toBe(200);
      expect((await recorded(stack, sql))?.['rows']).toBe(LIMIT);
      await expectServed(stack.agentUrl);
    },
  );
});
