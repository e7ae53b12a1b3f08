/** The server, or the way to it, is gone while a person is asked about the rest of a result. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { expectServed } from '../proxy/support.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { superuser } from '../support/postgres.ts';
import { type Stack, startStack } from '../support/stack.ts';
import {
  asked,
  type Client,
  connected,
  errorIn,
  eventually,
  LIMIT,
  Q,
  read,
  recorded,
  rowsIn,
  SAMPLE,
  SIZES,
  type Size,
  SMALL,
  stateOf,
  types,
  warmUp,
} from './midway-support.ts';

let between: FaultProxy;
let stack: Stack;
beforeAll(async () => {
  const { host, port } = superuser();
  between = await startFaultProxy({ target: { host, port } });
  stack = await startStack({
    sample: SAMPLE,
    config: (config) => ({
      ...config,
      upstream: { ...config.upstream, host: between.host, port: between.port },
    }),
  });
  await warmUp(stack);
});
afterAll(async () => {
  await stack.close();
  await between.close();
});
beforeEach(() => between.resume());

const toEnd = (client: Client) => client.until(() => client.closed, 60_000);

async function waiting(size: Size) {
  const client = await connected(stack, true);
  const sql = read(size);
  const { came, request } = await asked(stack, client, sql);
  expect(rowsIn(came)).toBe(LIMIT);
  return { client, sql, request };
}

/** Ends the server's process that has run this. */
async function killed(sql: string): Promise<void> {
  const { rowCount } = await stack.shop.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE query = $1 AND backend_type = 'client backend' AND datname = current_database()`,
    [sql],
  );
  expect(rowCount).toBe(1);
  await eventually(async () => {
    const { rows } = await stack.shop.query('SELECT FROM pg_stat_activity WHERE query = $1', [sql]);
    expect(rows).toEqual([]);
  });
}

/** What came ends with that, unless it ends in the middle of a row: there an error would be read as a part of it. */
const saidGone = (rest: readonly Buffer[]) => (errorIn(rest)?.['C'] ?? '08006') === '08006';

const unwritten = async () =>
  expect((await stack.shop.query('SELECT count(*)::int AS n FROM notes')).rows).toEqual([{ n: 0 }]);

describe('the server\u2019s process ends', () => {
  it('having sent everything; approved: the whole result, then the server\u2019s last words', async () => {
    const { client, sql, request } = await waiting('small');
    await killed(sql);
    expect(await client.quiet(300)).toEqual([]);
    await stack.api.verdict(request.id, 'approve');
    const rest = await toEnd(client);
    expect([rowsIn(rest), types(rest).slice(-3)]).toEqual([SMALL - LIMIT, 'CZE']);
    expect(errorIn(rest)).toMatchObject({ S: 'FATAL', C: '57P01' });
    await eventually(async () => expect(await stateOf(stack, request.id)).toBe('executed'));
    await unwritten();
  });

  it('in the middle of sending; approved: what it had sent, and that it is gone', async () => {
    const { client, sql, request } = await waiting('large');
    await killed(sql);
    expect(await client.quiet(300)).toEqual([]);
    await stack.api.verdict(request.id, 'approve');
    const rest = await toEnd(client);
    expect(saidGone(rest)).toBe(true);
    expect(types(rest)).not.toContain('C');
    // Nobody can know what became of it, and the approval is spent.
    await eventually(async () => expect(await stateOf(stack, request.id)).toBe('unknown'));
    expect(await recorded(stack, sql)).toMatchObject({ outcome: 'unknown', approvers: ['approver'] });
    await unwritten();
  });

  it.each(SIZES.flatMap((size) => [[size, 'denied'] as const, [size, 'cancelled'] as const]))(
    '%s, %s: no row more',
    async (size, how) => {
      const { client, sql, request } = await waiting(size);
      await killed(sql);
      if (how === 'denied') await stack.api.verdict(request.id, 'deny');
      else await client.cancel();
      const rest = await toEnd(client);
      expect(rowsIn(rest)).toBe(0);
      expect(errorIn(rest)).toMatchObject({ S: 'FATAL', C: size === 'small' ? '57P01' : '08006' });
      await eventually(async () =>
        expect(await stateOf(stack, request.id)).toBe(how === 'denied' ? 'denied' : 'withdrawn'),
      );
      await eventually(async () => expect((await recorded(stack, sql))?.['rows']).toBe(LIMIT));
      await unwritten();
    },
  );
});

describe('the way to the server breaks', () => {
  it.each(SIZES.flatMap((size) => [[size, 'approve'] as const, [size, 'deny'] as const]))(
    '%s, %s: nothing comes before the answer, and never more than was approved',
    async (size, verdict) => {
      const { client, sql, request } = await waiting(size);
      between.cut();
      expect(await client.quiet(300)).toEqual([]);
      expect((await stack.api.verdict(request.id, verdict)).status).toBe(200);
      const rest = await toEnd(client);
      if (verdict === 'deny') expect(rowsIn(rest)).toBe(0);
      expect(saidGone(rest)).toBe(true);
      await eventually(async () => {
        const row = await recorded(stack, sql);
        // A row of which only a part came counts as sent.
        expect([0, 1]).toContain(row?.['rows'] - LIMIT - rowsIn(rest));
        expect(['unknown', 'executed', 'failed']).toContain(row?.['outcome']);
      });
      await unwritten();
      await expectServed(stack.agentUrl);
    },
  );

  it.each(SIZES)('%s, and it stays away: a denial needs nobody there to be one', async (size) => {
    const { client, sql, request } = await waiting(size);
    between.away();
    await stack.api.verdict(request.id, 'deny');
    const rest = await toEnd(client);
    expect(rowsIn(rest)).toBe(0);
    // That it was stopped there cannot be said.
    expect(errorIn(rest)?.['S']).toBe('FATAL');
    await eventually(async () => expect((await recorded(stack, sql))?.['rows']).toBe(LIMIT));
    between.resume();
    await expectServed(stack.agentUrl);
  });

  it('is silent for a while; approved, the rest comes when it speaks again', async () => {
    const { client, request } = await waiting('large');
    between.stall();
    await stack.api.verdict(request.id, 'approve');
    await eventually(async () => expect(await stateOf(stack, request.id)).toBe('consumed'));
    between.resume();
    const rest = await client.ready(1, 60_000);
    expect(errorIn(rest)).toBeNull();
    client.send(Q('ROLLBACK'));
    await client.ready();
    client.close();
  });
});
