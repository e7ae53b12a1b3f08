/** An approval of the rest of one result is good for that rest, once, and for nothing else. */
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Stack } from '../support/stack.ts';
import {
  asked,
  connected,
  errorIn,
  eventually,
  LARGE,
  LIMIT,
  Q,
  read,
  rowsIn,
  S,
  SIZES,
  SMALL,
  startMidway,
  stateOf,
  statusIn,
  types,
  usable,
} from './midway-support.ts';

let stack: Stack;
/** Another process of the same installation. */
let other: Stack;
beforeAll(async () => {
  stack = await startMidway();
  other = await stack.second();
});
afterAll(() => stack.close());

const WHOLE = { small: SMALL, large: LARGE } as const;
const approved = async (id: string) => expect((await stack.api.verdict(id, 'approve')).status).toBe(200);

/** Asked about the rest, and gone: what people answer then is for whoever sends the same again. */
async function leftBehind(sql: string, frames = [Q(sql)]): Promise<string> {
  const client = await connected(stack);
  const { request } = await asked(stack, client, sql, frames);
  client.close();
  await eventually(async () => {
    const { rows } = await stack.audit.query(
      'SELECT attached_by IS NULL AS free FROM countersign.request WHERE id = $1',
      [request.id],
    );
    expect(rows).toEqual([{ free: true }]);
  });
  return request.id;
}

describe('an approval of the rest', () => {
  it('does nothing for another text, and everything for its own, once', async () => {
    const sql = read('small');
    const id = await leftBehind(sql);
    await approved(id);
    const client = await connected(stack);
    // One blank more is another statement.
    const similar = sql.replace('SELECT id', 'SELECT  id');
    const { came, request } = await asked(stack, client, similar);
    expect(rowsIn(came)).toBe(LIMIT);
    expect(request.id).not.toBe(id);
    await stack.api.verdict(request.id, 'deny');
    expect(errorIn(await client.ready())?.['C']).toBe('42501');
    client.send(Q(sql));
    const whole = await client.ready(1, 30_000);
    expect([rowsIn(whole), errorIn(whole)]).toEqual([SMALL, null]);
    // It is used up: the next time a person is asked anew.
    const again = await asked(stack, client, sql);
    expect(rowsIn(again.came)).toBe(LIMIT);
    expect(again.request.id).not.toBe(id);
    await client.cancel();
    await client.ready();
    client.close();
  });

  it('does nothing for other parameters', async () => {
    const text = `SELECT id, body FROM items WHERE kind = $1 -- parameters, replayed.`;
    const frames = (kind: string) => [
      serialize.parse({ text, types: [25] }),
      serialize.bind({ values: [kind] }),
      serialize.execute({}),
      S,
    ];
    const id = await leftBehind(text, frames('small'));
    await approved(id);
    const client = await connected(stack);
    const { came, request } = await asked(stack, client, text, frames('large'));
    expect(rowsIn(came)).toBe(LIMIT);
    expect(request.id).not.toBe(id);
    await stack.api.verdict(request.id, 'deny');
    expect(errorIn(await client.ready())?.['C']).toBe('42501');
    client.send(...frames('small'));
    const whole = await client.ready(1, 30_000);
    expect([rowsIn(whole), errorIn(whole)]).toEqual([SMALL, null]);
    client.close();
  });

  it('does nothing for a cursor of the same name over something else', async () => {
    const over = (size: 'small' | 'large') =>
      Q(`DECLARE replayed CURSOR FOR SELECT id, body FROM items WHERE kind = '${size}'`);
    const fetch = 'FETCH 2000 FROM replayed';
    const first = await connected(stack);
    first.send(Q('BEGIN'), over('small'));
    await first.ready(2);
    const { request } = await asked(stack, first, fetch);
    first.close();
    await approved(request.id);
    const client = await connected(stack);
    client.send(Q('BEGIN'), over('large'));
    await client.ready(2);
    const second = await asked(stack, client, fetch);
    expect(second.request.id).not.toBe(request.id);
    await client.cancel();
    expect(errorIn(await client.ready())?.['C']).toBe('57014');
    client.close();
  });

  it('that was written into the database by hand lets nothing through', async () => {
    const client = await connected(stack, true);
    const sql = read('large');
    const { request } = await asked(stack, client, sql);
    await stack.audit.query(
      `INSERT INTO countersign.verdict (request_id, person, verdict, channel, assurance, ids, facts)
       VALUES ($1, 'approver', 'approve', 'api', 1, '{}', '{}')`,
      [request.id],
    );
    await stack.audit.query(
      `UPDATE countersign.request SET state = 'approved', receipt = 'eyJhbGciOiJFZERTQSJ9.e30.AAAA',
         receipt_expires_at = expires_at, revision = nextval('countersign.revision'), changed_at = clock_timestamp()
       WHERE id = $1`,
      [request.id],
    );
    const rest = await client.ready(1, 30_000);
    expect([types(rest), rowsIn(rest)]).toEqual(['EZ', 0]);
    expect(errorIn(rest)).toMatchObject({ C: '42501', M: expect.stringContaining('could not be used') });
    await usable(client, statusIn(rest));
  });
});

describe('two sessions that wait for one and the same request', () => {
  it.each(SIZES.flatMap((size) => [[size, 'this'] as const, [size, 'another'] as const]))(
    '%s, the second one in %s process: exactly one goes on',
    async (size, where) => {
      const second = where === 'this' ? stack : other;
      const sql = read(size);
      const a = await connected(stack);
      const { request } = await asked(stack, a, sql);
      // As if the first one's process had been silent for longer than its lease.
      await stack.audit.query('UPDATE countersign.request SET attached_by = NULL WHERE id = $1', [
        request.id,
      ]);
      const b = await connected(second);
      const attached = await asked(stack, b, sql);
      expect(attached.request.id).toBe(request.id);
      await approved(request.id);
      const rests = await Promise.all([a, b].map((client) => client.ready(1, 40_000)));
      const more = rests.map(rowsIn).sort((x, y) => x - y);
      expect(more).toEqual([0, WHOLE[size] - LIMIT]);
      expect(rests.map((rest) => errorIn(rest)?.['C'] ?? 'whole').sort()).toEqual(['42501', 'whole']);
      await eventually(async () => expect(await stateOf(stack, request.id)).toBe('executed'));
      for (const client of [a, b]) await usable(client, 'I');
    },
  );

  it('where each has asked by itself there are two requests, and one answer is for one of them', async () => {
    const sql = read('small');
    const clients = [await connected(stack), await connected(other)];
    const ids: string[] = [];
    for (const client of clients) {
      client.send(Q(sql));
      await client.until((all) => all.some((frame) => frame[0] === 0x4e), 20_000);
      const open = (await stack.api.open()).filter((one) => one.sql === sql).map(({ id }) => id);
      ids.push(...open.filter((id) => !ids.includes(id)));
    }
    expect(ids).toHaveLength(2);
    await approved(ids[0] ?? '');
    expect(rowsIn((await clients[0]?.ready(1, 30_000)) ?? [])).toBe(SMALL - LIMIT);
    expect(await clients[1]?.quiet(1_000)).toEqual([]);
    await stack.api.verdict(ids[1] ?? '', 'deny');
    expect(types((await clients[1]?.ready()) ?? [])).toBe('EZ');
    for (const client of clients) client.close();
  });
});

describe('a denial', () => {
  it.each(SIZES)('%s: after the client has gone answers whoever sends the same again', async (size) => {
    const sql = read(size);
    const id = await leftBehind(sql);
    expect((await stack.api.verdict(id, 'deny', 'too much')).status).toBe(200);
    const client = await connected(stack, true);
    client.send(Q(sql));
    const came = await client.ready(1, 30_000);
    expect(rowsIn(came)).toBe(LIMIT);
    expect(errorIn(came)).toMatchObject({ C: '42501', M: 'countersign: denied by approver: too much' });
    expect((await stack.api.open()).filter((one) => one.sql === sql)).toEqual([]);
    await usable(client, statusIn(came));
  });
});

describe('a request whose time is over', () => {
  it.each(SIZES)('%s: ends the result, and is good for nothing any more', async (size) => {
    const brief = await startMidway({ requestLifetimeMs: 6_000 });
    const client = await connected(brief, true);
    const sql = read(size);
    const { request } = await asked(brief, client, sql);
    const rest = await client.ready(1, 30_000);
    expect([types(rest), statusIn(rest)]).toEqual(['EZ', 'E']);
    expect(errorIn(rest)).toMatchObject({ C: '57014', M: expect.stringContaining('expired') });
    expect((await brief.api.verdict(request.id, 'approve')).status).toBe(409);
    await usable(client, 'E');
    await brief.close();
  });
});
