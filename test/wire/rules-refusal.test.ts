/**
 * What a refusal leaves as it was, and what it destroys, as a failure of the server's own does.
 */
import { describe, expect, it } from 'vitest';
import { B, describePortal, E, P, Q, S } from './refusals/messages.ts';
import { codes, shown, types, useRules } from './rules-support.ts';

const rules = useRules();
const { connect, deny, approve } = rules;

describe('a refusal', () => {
  let n = 0;
  /** A statement that nobody was asked about before. */
  const remove = () => `DELETE FROM held /* ${++n} */`;

  it.each([
    ['READ ONLY', 'SET default_transaction_read_only = on'],
    ['a search_path without pg_catalog in front', 'SET search_path = public, pg_catalog'],
    ['an empty search_path', "SET search_path = ''"],
    ['quote_all_identifiers', 'SET quote_all_identifiers = on'],
  ])('is ours under %s', async (_what, setting) => {
    const client = await connect('proxied');
    client.send(Q(setting));
    await client.ready();
    client.send(Q(remove().replace('held', 'public.held')));
    const frames = await deny(client);
    expect(codes(frames)).toEqual(['42501']);
    expect(types(frames)).toBe('EZ');
  });

  it('of a Query destroys the statement without a name, as a syntax error does', async () => {
    const outcome = async (side: 'direct' | 'proxied', refused: string) => {
      const client = await connect(side);
      client.send(P('SELECT 1'), P('SELECT 2', 'x'), S);
      await client.ready();
      client.send(Q(refused));
      if (side === 'proxied') await deny(client);
      else await client.ready();
      client.send(B(), S, B('x'), E(), S);
      return (await client.ready(2)).map(shown);
    };
    const direct = await outcome('direct', 'SELEC');
    expect(await outcome('proxied', remove())).toEqual(direct);
    expect(direct[0]).toContain('26000');
  });

  it.each(['', 'x'])('of a Parse leaves a statement with a name, and none without: "%s"', async (name) => {
    const outcome = async (side: 'direct' | 'proxied', refused: string) => {
      const client = await connect(side);
      client.send(P('SELECT 1', name), S);
      await client.ready();
      client.send(P(refused, name), S);
      expect(types(await client.ready())).toBe('EZ');
      client.send(B(name), E(), S);
      return (await client.ready()).map(shown);
    };
    const direct = await outcome('direct', 'SELEC');
    expect(await outcome('proxied', "SET client_encoding = 'LATIN1'")).toEqual(direct);
    expect(direct[0]?.startsWith('E')).toBe(name === '');
  });

  it('of a Bind leaves the statement without a name', async () => {
    const client = await connect('proxied');
    client.send(P(remove(), 'x'), P('SELECT 1'), S);
    await client.ready();
    client.send(B('x', 'p'), S);
    expect(codes(await deny(client))).toEqual(['42501']);
    client.send(B(), E(), S);
    expect(types(await client.ready())).toBe('2DCZ');
  });

  it('cannot be turned into a success by a statement that has the reserved name', async () => {
    const client = await connect('proxied');
    client.send(P('SELECT 5', '\u0001cs'), P(remove(), 'x'), S);
    await client.ready();
    client.send(B('x'), E(), S);
    expect(codes(await deny(client))).toEqual(['42501']);
    // Its own statement of that name is gone; nothing else is bound in its place.
    client.send(B('\u0001cs'), E(), S);
    expect(codes(await client.ready())).toEqual(['26000']);
  });

  it('of an Execute leaves the portal that SQL made for ROLLBACK TO, and it is asked about again', async () => {
    const client = await connect('proxied');
    client.send(Q('BEGIN'));
    await client.ready();
    client.send(Q(`DECLARE k CURSOR FOR SELECT id FROM held /* ${++n} */ ORDER BY id`));
    await approve(client);
    client.send(Q('SAVEPOINT s'));
    await client.ready();
    client.send(E('k', 1), S);
    const refused = await deny(client);
    expect(codes(refused)).toEqual(['42501']);
    expect(refused.at(-1)?.toString('latin1', 5)).toBe('E');
    client.send(Q('ROLLBACK TO s'));
    await client.ready();
    // Denied a moment ago: that answer is repeated, and the server's cursor has not moved.
    client.send(E('k', 1), S);
    expect(codes(await client.ready())).toEqual(['42501']);
    client.send(Q('ROLLBACK TO s'), describePortal('k'), S);
    expect(types(await client.ready(2))).toBe('CZTZ');
  });

  it('leaves no trace of its text in what the server runs', async () => {
    const secret = 'text_that_stays_here';
    const client = await connect('proxied');
    client.send(Q('SELECT pg_backend_pid()'));
    const row = (await client.ready()).find((frame) => frame[0] === 0x44);
    const pid = row?.toString('latin1', 11) ?? '';
    client.send(Q(`DELETE FROM held /* ${secret} */`));
    await deny(client);
    const { rows } = await rules
      .stack()
      .shop.query('SELECT query FROM pg_stat_activity WHERE pid = $1', [pid]);
    expect(rows[0].query).toMatch(/^SELECT "cs:[0-9a-z:]+"$/);
  });
});
