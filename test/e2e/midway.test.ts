import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Stack } from '../support/stack.ts';
import * as midway from './midway-support.ts';
import {
  B,
  D,
  E,
  errorIn,
  eventually,
  LARGE,
  P,
  Q,
  read,
  rowsIn,
  S,
  SMALL,
  startMidway,
  statusIn,
  types,
  usable,
} from './midway-support.ts';

let stack: Stack;
/** Waits for people no longer than a moment. */
let hasty: Stack;
beforeAll(async () => {
  stack = await startMidway();
  hasty = await startMidway({ holdTimeoutInTransactionMs: 1_500, drainMs: 4_000 });
});
afterAll(async () => {
  await stack.close();
  await hasty.close();
});

const connected = (on = stack, begin = false) => midway.connected(on, begin);
const asked = (client: midway.Client, sql: string, frames: readonly Buffer[], on = stack) =>
  midway.asked(on, client, sql, frames);
const recorded = (sql: string, on = stack) => midway.recorded(on, sql);
const notes = async (on = stack) =>
  (await on.shop.query('SELECT count(*)::int AS n FROM notes')).rows[0]?.['n'];

const WAYS: readonly (readonly [string, (sql: string) => readonly Buffer[], number])[] = [
  ['a simple query', (sql) => [Q(sql)], 1],
  ['a string of reads', (sql) => [Q(`SELECT 1; ${sql}\n; SELECT 2`)], 1],
  ['an extended query', (sql) => [P(sql), B(), D, E, S], 1],
  ['a binary one', (sql) => [P(sql), B(true), D, E, S], 1],
  ['one with more in its group', (sql) => [P(sql), B(), E, P('SELECT 2'), B(), E, S], 1],
  ['one behind a write', (sql) => [P('INSERT INTO notes VALUES (2)'), B(), E, P(sql), B(), E, S], 1],
  ['a pipeline', (sql) => [P(sql), B(), E, S, P('SELECT 2'), B(), E, S], 2],
];

describe.each(WAYS)('%s', (_name, frames, syncs) => {
  it.each([
    ['small', false],
    ['large', false],
    ['small', true],
    ['large', true],
  ] as const)(
    '%s, in a transaction: %s: denied, the rest is an error and nothing is left of it',
    async (size, begin) => {
      const client = await connected(stack, begin);
      const sql = read(size);
      const before = await notes();
      const { came, request } = await asked(client, sql, frames(sql));
      const sent = rowsIn(came);
      expect(sent).toBeGreaterThanOrEqual(1_000);
      expect(sent).toBeLessThanOrEqual(1_001);
      expect((await stack.api.verdict(request.id, 'deny')).status).toBe(200);
      const rest = await client.ready(syncs, 30_000);
      const one = begin ? 'E' : '12DCZ';
      expect(types(rest)).toBe(syncs === 1 ? 'EZ' : begin ? 'EZEZ' : `EZ${one}`);
      expect(errorIn(rest)).toMatchObject({
        C: '42501',
        D: expect.stringContaining('The result is not whole: 1000 rows of '),
      });
      expect(statusIn(rest)).toBe(begin ? 'E' : 'I');
      await usable(client, statusIn(rest));
      expect(await notes()).toBe(before);
      if (frames(sql).length > 1)
        await eventually(async () =>
          expect(await recorded(sql)).toMatchObject({ outcome: 'failed', rows: 1_000, sqlstate: '42501' }),
        );
    },
  );

  it.each(['small', 'large'] as const)('%s: approved, all of it comes', async (size) => {
    const client = await connected();
    const sql = read(size);
    const { came, request } = await asked(client, sql, frames(sql));
    await stack.api.verdict(request.id, 'approve');
    const rest = await client.ready(syncs, 30_000);
    const whole = [...came, ...rest].filter((frame) => frame[0] !== 0x4e);
    expect(rowsIn(whole)).toBeGreaterThanOrEqual(size === 'small' ? SMALL : LARGE);
    expect(rowsIn(whole)).toBeLessThanOrEqual((size === 'small' ? SMALL : LARGE) + 2);
    expect(errorIn(rest)).toBeNull();
    await usable(client, 'I');
    await stack.shop.query('DELETE FROM notes');
    await eventually(async () => {
      const { rows } = await stack.audit.query('SELECT state FROM countersign.request WHERE id = $1', [
        request.id,
      ]);
      expect(rows).toEqual([{ state: 'executed' }]);
    });
  });
});

describe('a person is told', () => {
  it('what it is, and what was sent already; the log says who approved', async () => {
    const client = await connected();
    const sql = read('small');
    const { came, request } = await asked(client, sql, [Q(sql)]);
    const bytes = came.filter((f) => f[0] === 0x44).reduce((sum, frame) => sum + frame.length - 5, 0);
    const shown = await fetch(`${stack.httpUrl}/api/requests/${request.id}`, {
      headers: { authorization: `Bearer ${stack.approverToken}` },
    });
    expect(await shown.json()).toMatchObject({
      class: 'export',
      rule: 'default:export',
      reasons: [
        `its result is larger than 1000 rows; 1000 rows of ${bytes} bytes were sent already`,
        expect.any(String),
      ],
    });
    await stack.api.verdict(request.id, 'approve');
    await client.ready();
    await eventually(async () =>
      expect(await recorded(sql)).toMatchObject({
        outcome: 'executed',
        rows: SMALL,
        approvers: ['approver'],
      }),
    );
    client.close();
  });
});

describe('nobody answers', () => {
  it.each(['small', 'large'] as const)('%s: the client cancels', async (size) => {
    const client = await connected(stack, true);
    const sql = read(size);
    const { request } = await asked(client, sql, [P(sql), B(), E, S]);
    await client.cancel();
    const rest = await client.ready(1, 30_000);
    expect(types(rest)).toBe('EZ');
    expect(errorIn(rest)).toMatchObject({ C: '57014', M: expect.stringContaining('countersign: ') });
    await usable(client, statusIn(rest));
    await eventually(async () => {
      const { rows } = await stack.audit.query('SELECT state FROM countersign.request WHERE id = $1', [
        request.id,
      ]);
      expect(rows).toEqual([{ state: 'withdrawn' }]);
    });
  });

  it('the client goes: the server does not go on', async () => {
    const client = await connected();
    const sql = read('large');
    await asked(client, sql, [Q(sql)]);
    client.close();
    await eventually(async () => {
      const { rows } = await stack.shop.query(
        "SELECT 1 FROM pg_stat_activity WHERE query = $1 AND state = 'active'",
        [sql],
      );
      expect(rows).toEqual([]);
      expect(await recorded(sql)).toMatchObject({ outcome: 'failed', rows: 1_000, sqlstate: '57014' });
    });
  });

  it('time is up: the same statement, sent again, takes up the request', async () => {
    const client = await connected(hasty, true);
    const sql = read('large');
    const { request } = await asked(client, sql, [Q(sql)], hasty);
    const rest = await client.ready(1, 30_000);
    expect(types(rest)).toBe('EZ');
    expect(errorIn(rest)).toMatchObject({ C: '57014', M: expect.stringContaining('still open') });
    client.send(Q('ROLLBACK'));
    await client.ready();
    await hasty.api.verdict(request.id, 'approve');
    client.send(Q(sql));
    const whole = await client.ready(1, 30_000);
    expect([rowsIn(whole), errorIn(whole)]).toEqual([LARGE, null]);
    client.close();
  });

  it('the proxy ends: the client is told to come again', async () => {
    const client = await connected(hasty);
    const sql = read('small');
    await asked(client, sql, [P(sql), B(), E, S], hasty);
    const closing = hasty.running.drain();
    const rest = await client.ready(1, 30_000);
    expect([types(rest).slice(0, 2), errorIn(rest)]).toEqual(['EZ', expect.objectContaining({ C: '57014' })]);
    await closing;
    expect((await client.until(() => client.closed)).every((frame) => frame[0] === 0x45)).toBe(true);
    await hasty.restart();
  });
});

describe('what writes', () => {
  it('and returns what is stored, without a bound, is asked about before it runs', async () => {
    const client = new pg.Client({ connectionString: stack.agentUrl });
    await client.connect();
    const sql = "INSERT INTO sink SELECT id, body FROM items WHERE kind = 'large' RETURNING id, body";
    const running = client.query(sql).catch((error: pg.DatabaseError) => error.code);
    const request = await stack.api.waitFor(sql);
    await stack.api.verdict(request.id, 'deny');
    expect(await running).toBe('42501');
    expect((await stack.shop.query('SELECT count(*)::int AS n FROM sink')).rows).toEqual([{ n: 0 }]);
    await client.end();
  });

  it.each(['extended', 'in a transaction'])(
    'and returns very many rows, %s: nothing is left of it',
    async (how) => {
      const begin = how !== 'extended';
      const client = await connected(stack, begin);
      const sql = `INSERT INTO sink SELECT i, 'x' FROM generate_series(1, 100000) i RETURNING id -- ${how}`;
      const { request } = await asked(client, sql, begin ? [Q(sql)] : [P(sql), B(), E, S]);
      await stack.api.verdict(request.id, 'deny');
      const rest = await client.ready(1, 30_000);
      expect(types(rest)).toBe('EZ');
      expect(errorIn(rest)?.['C']).toBe('42501');
      await usable(client, statusIn(rest));
      expect((await stack.shop.query('SELECT count(*)::int AS n FROM sink')).rows).toEqual([{ n: 0 }]);
    },
  );

  it.each([true, false])(
    'and returns too many bytes, in a transaction: %s: what the client hears is true',
    async (begin) => {
      const client = await connected(stack, begin);
      const rows = Array.from({ length: 500 }, (_, i) => `(${i})`).join(', ');
      const sql = `INSERT INTO sink SELECT i, repeat('x', 20000) FROM (VALUES ${rows}) AS v(i) RETURNING id, body -- ${begin}`;
      const { request } = await asked(client, sql, [Q(sql)]);
      await stack.api.verdict(request.id, 'deny');
      const rest = await client.until((all) => all.some((f) => f[0] === 0x5a) || client.closed, 30_000);
      if (begin) expect(types(rest)).toBe('EZ');
      const committed = errorIn(rest)?.['M']?.includes('is committed') === true;
      if (!committed) await usable(client, statusIn(rest));
      client.close();
      const { rows: left } = await stack.shop.query('SELECT count(*)::int AS n FROM sink');
      expect(left).toEqual([{ n: committed ? 500 : 0 }]);
      await stack.shop.query('DELETE FROM sink');
    },
  );
});
