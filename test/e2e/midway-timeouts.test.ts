/** The server's own time-outs fire while a person is asked about the rest of a result: what is said is the server's. */
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Stack } from '../support/stack.ts';
import {
  asked,
  type Client,
  connected,
  errorIn,
  eventually,
  LARGE,
  LIMIT,
  Q,
  read,
  rowsIn,
  type Size,
  SMALL,
  startMidway,
  stateOf,
  types,
} from './midway-support.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startMidway();
});
afterAll(() => stack.close());

const TIMEOUT_MS = 700;
/** Longer than any of them. */
const WAITS_MS = 2_000;

/** Asked about the rest, and the time-out is over; nothing has come meanwhile. */
async function timedOut(setting: string, size: Size, begin: boolean) {
  const client = await connected(stack);
  client.send(Q(`SET ${setting} = ${TIMEOUT_MS}`), ...(begin ? [Q('BEGIN')] : []));
  await client.ready(begin ? 2 : 1);
  const sql = read(size);
  const { came, request } = await asked(stack, client, sql);
  expect(rowsIn(came)).toBe(LIMIT);
  await new Promise((done) => setTimeout(done, WAITS_MS));
  expect(await client.quiet(100)).toEqual([]);
  return { client, request, sql };
}

/** Everything to the end of the session. */
const toEnd = (client: Client) => client.until(() => client.closed, 30_000);
const codes = (frames: readonly Buffer[]) =>
  frames.filter((frame) => frame[0] === 0x45).map((frame) => errorIn([frame])?.['C']);

describe('statement_timeout', () => {
  it('does not strike what the server has sent whole', async () => {
    const { client, request } = await timedOut('statement_timeout', 'small', true);
    await stack.api.verdict(request.id, 'approve');
    const rest = await client.ready(1, 30_000);
    expect([rowsIn(rest), errorIn(rest)]).toEqual([SMALL - LIMIT, null]);
    client.close();
  });

  it('approved too late: the error is the server\u2019s own', async () => {
    const { client, request } = await timedOut('statement_timeout', 'large', true);
    await stack.api.verdict(request.id, 'approve');
    const rest = await client.ready(1, 30_000);
    expect(rowsIn(rest)).toBeLessThan(LARGE - LIMIT);
    expect(errorIn(rest)).toMatchObject({ C: '57014', M: 'canceling statement due to statement timeout' });
    expect(types(rest).slice(-2)).toBe('EZ');
    await eventually(async () => expect(await stateOf(stack, request.id)).toBe('failed'));
    client.close();
  });

  it('denied: nothing comes but the denial', async () => {
    const { client, request } = await timedOut('statement_timeout', 'large', true);
    await stack.api.verdict(request.id, 'deny');
    const rest = await client.ready(1, 30_000);
    expect([types(rest), errorIn(rest)?.['C']]).toEqual(['EZ', '42501']);
    client.close();
  });
});

/** The setting, its SQLSTATE, whether it is about transactions. */
const OF_SESSIONS: readonly (readonly [string, string, boolean])[] = [
  ['idle_in_transaction_session_timeout', '25P03', true],
  ['idle_session_timeout', '57P05', false],
  ['transaction_timeout', '25P04', true],
];
const known = ([setting]: (typeof OF_SESSIONS)[number]) =>
  setting !== 'transaction_timeout' || inject('postgres').major >= 17;

describe.each(OF_SESSIONS.filter(known))('%s', (setting, code, begin) => {
  it('approved: the whole result, and then what the server said', async () => {
    const { client, request } = await timedOut(setting, 'small', begin);
    await stack.api.verdict(request.id, 'approve');
    const rest = await toEnd(client);
    expect(rowsIn(rest)).toBe(SMALL - LIMIT);
    expect(types(rest).slice(-3)).toBe('CZE');
    expect(codes(rest)).toEqual([code]);
    await eventually(async () => expect(await stateOf(stack, request.id)).toBe('executed'));
  });

  it.each(['denied', 'cancelled'] as const)(
    '%s: no row more, and the server\u2019s own words',
    async (how) => {
      const { client, request } = await timedOut(setting, 'small', begin);
      if (how === 'denied') await stack.api.verdict(request.id, 'deny');
      else await client.cancel();
      const rest = await toEnd(client);
      expect(rowsIn(rest)).toBe(0);
      expect(codes(rest)).toEqual([code]);
    },
  );
});

describe.runIf(inject('postgres').major >= 17)('transaction_timeout in the middle of sending', () => {
  it.each(['approve', 'deny'] as const)(
    '%s: ends the session with the server\u2019s words',
    async (verdict) => {
      const { client, request } = await timedOut('transaction_timeout', 'large', true);
      await stack.api.verdict(request.id, verdict);
      const rest = await toEnd(client);
      expect(codes(rest).at(-1)).toBe('25P04');
      if (verdict === 'deny') expect(rowsIn(rest)).toBe(0);
      expect(rowsIn(rest)).toBeLessThan(LARGE - LIMIT);
    },
  );
});
