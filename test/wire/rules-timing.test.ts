/**
 * What runs when, and what a timeout counts: each says first that the server does so, then that the proxy reckons
 * with it.
 */
import { describe, expect, it } from 'vitest';
import { B, describeStatement, E, P, Q, S } from './refusals/messages.ts';
import { codes, held, types, useRules } from './rules-support.ts';

const rules = useRules();
const { connect, deny } = rules;

const traces = async () => (await rules.stack().shop.query('SELECT count(*)::int AS n FROM trace')).rows[0].n;
const pause = (ms: number) => new Promise((done) => setTimeout(done, ms));

describe('judged at Bind', () => {
  it.each(['stable_liar', 'immutable_liar'])(
    '%s(): planning runs it, so it is held before Bind, not before Execute',
    async (name) => {
      const bound = [P(`SELECT 1 FROM tiny WHERE id = ${name}() AND id > 100`), B(), S];
      const direct = await connect('direct');
      direct.send(...bound);
      expect(types(await direct.ready())).toBe('12Z');
      expect(await traces()).toBe(1);
      const proxied = await connect('proxied');
      proxied.send(...bound);
      const id = await held(proxied);
      expect(await traces()).toBe(1);
      await rules.stack().api.verdict(id, 'deny');
      expect(codes(await proxied.ready())).toEqual(['42501']);
      expect(await traces()).toBe(1);
    },
  );

  it('EXPLAIN plans too: it is judged as what it explains', async () => {
    const explain = Q('EXPLAIN SELECT immutable_liar()');
    const direct = await connect('direct');
    direct.send(explain);
    await direct.ready();
    expect(await traces()).toBe(1);
    const proxied = await connect('proxied');
    proxied.send(explain);
    expect(codes(await deny(proxied))).toEqual(['42501']);
    expect(await traces()).toBe(1);
  });

  it('Parse, Describe and SQL PREPARE of a harmless-looking statement run nothing', async () => {
    for (const side of ['direct', 'proxied'] as const) {
      const client = await connect(side);
      client.send(P('SELECT immutable_liar()', 'x'), describeStatement('x'), S);
      expect(types(await client.ready())).toBe('1tTZ');
      expect(await traces()).toBe(0);
    }
    expect(await rules.stack().api.open()).toEqual([]);
  });
});

describe('timeouts while held', () => {
  it("statement_timeout does not count a person's time: the approved statement runs", async () => {
    const client = await connect('proxied');
    client.send(Q("SET statement_timeout = '1500ms'"));
    await client.ready();
    client.send(P('INSERT INTO held VALUES (3)', 'x'), B('x'), E(), S);
    const id = await held(client);
    await pause(2_000);
    await rules.stack().api.verdict(id, 'approve');
    expect(types((await client.ready()).filter((frame) => frame[0] !== 0x4e))).toBe('12CZ');
  });

  it('idle_in_transaction_session_timeout does not strike in the middle of a group', async () => {
    const client = await connect('proxied');
    client.send(Q("SET idle_in_transaction_session_timeout = '300ms'"));
    await client.ready();
    client.send(
      P('INSERT INTO box VALUES (1)'),
      B(),
      E(),
      P('INSERT INTO held VALUES (4)', 'x'),
      B('x'),
      E(),
      S,
    );
    const id = await held(client);
    await pause(900);
    await rules.stack().api.verdict(id, 'approve');
    expect(codes(await client.ready())).toEqual([]);
  });

  it('in BEGIN it does: the server ends the session, in its own words, and the request stays open', async () => {
    const client = await connect('proxied');
    client.send(Q("SET idle_in_transaction_session_timeout = '600ms'"), Q('BEGIN'));
    await client.ready(2);
    client.send(Q('INSERT INTO held VALUES (5)'));
    const id = await held(client);
    const frames = await client.until(() => false, 20_000);
    expect(client.closed).toBe(true);
    expect(codes(frames)).toEqual(['25P03']);
    expect((await rules.stack().api.open()).map((one) => one.id)).toContain(id);
  });
});
