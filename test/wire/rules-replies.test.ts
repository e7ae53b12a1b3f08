/**
 * Replies and names, compared with the server.
 */
import { describe, expect, it } from 'vitest';
import { B, c, d, describePortal, describeStatement, E, f, H, P, Q, S } from './refusals/messages.ts';
import { codes, held, shown, types, useRules } from './rules-support.ts';

const rules = useRules();
const { connect, approve, expectSame } = rules;

describe('names are cut at 63 bytes', () => {
  const long = 'a'.repeat(63);

  it('in the protocol bytewise: two names are one, and what it stands for is held', async () => {
    await expectSame(1, P('SELECT 7', `${long}1`), B(`${long}2`), describePortal(), E(), S);
    const client = await connect('proxied');
    client.send(P('DELETE FROM held', `${long}1`), S);
    await client.ready();
    client.send(B(`${long}2`), E(), S);
    await held(client);
  });

  it.each([
    ['ASCII', `${long}1`, `${long}2`],
    ['two bytes a character', `${'é'.repeat(31)}a1`, `${'é'.repeat(31)}a2`],
    ['a character across the limit', `${'é'.repeat(31)}é1`, `${'é'.repeat(31)}`],
  ])('in SQL by whole characters, with a NOTICE: %s', async (_what, made, used) => {
    const said = await expectSame(2, Q(`PREPARE "${made}" AS SELECT 8`), Q(`EXECUTE "${used}"`));
    expect(said.filter((line) => line.startsWith('N '))).not.toEqual([]);
    expect(said.some((line) => line.startsWith('D '))).toBe(true);
    // The protocol reaches it by the bytes that are left.
    const cut = Buffer.from(made)
      .subarray(0, 62)
      .toString()
      .replace(/\ufffd+$/, '');
    const name = Buffer.from(made).subarray(0, 63).toString().endsWith('\ufffd') ? cut : made;
    await expectSame(2, Q(`PREPARE "${made}" AS SELECT 8`), B(name), E(), S);
  });
});

describe('replies', () => {
  it.each<[string, number, Buffer[]]>([
    ['a constraint that fails at Sync', 1, [P('INSERT INTO child VALUES (9)'), B(), E(), S]],
    ['a constraint that fails at COMMIT', 1, [Q('BEGIN; INSERT INTO child VALUES (9); COMMIT')]],
    [
      'Describe of a statement and a portal, with and without rows',
      1,
      [
        P('SELECT $1::int', 'a'),
        describeStatement('a'),
        P('BEGIN', 'b'),
        describeStatement('b'),
        B('b'),
        describePortal(),
        S,
      ],
    ],
    ['COPY messages that nobody waits for', 1, [d('1\n'), c, f, H, S]],
    ['COPY messages in a group', 1, [P('SELECT 1'), d('1\n'), B(), c, E(), f, S]],
    ['a notification of its own', 2, [Q('LISTEN news'), Q('SELECT 1 FROM tiny LIMIT 1; COMMIT; SELECT 2')]],
    ['notices in a string', 1, [Q('COMMIT; COMMIT; SELECT 1; ROLLBACK')]],
    ['settings in a string', 1, [Q("SET application_name = 'a'; SET application_name = 'b'; SELECT 1")]],
    ['an empty string and an empty statement', 2, [Q(''), P(''), describeStatement(), B(), E(), S]],
    ['Execute again: SELECT', 1, [P('SELECT id FROM tiny ORDER BY id LIMIT 2'), B(), E(), E(), E('', 1), S]],
    ['Execute again: RETURNING', 1, [P('INSERT INTO box VALUES (1) RETURNING id'), B(), E(), E(), S]],
    ['Execute again: SHOW', 1, [P('SHOW work_mem'), B(), E(), E(), S]],
    ['Execute again: INSERT', 1, [P('INSERT INTO box VALUES (1)'), B(), E(), E(), S]],
    ['Execute again: BEGIN', 1, [P('BEGIN'), B(), E(), E(), S]],
    [
      'Execute in steps to the very end',
      1,
      [P('SELECT id FROM tiny ORDER BY id LIMIT 2'), B(), E('', 2), E('', 2), E('', 2), S],
    ],
    ['a Query in the skip', 2, [P('SELEC'), Q('SELECT 1'), S, Q('SELECT 2')]],
    ['a Query that ends a group', 2, [P('SELECT 1', 'a'), B('a'), E(), Q('SELECT 2'), E(), S]],
  ])('are the same: %s', async (_what, ready, frames) => {
    await expectSame(ready, ...frames);
  });

  it('are the same: CALL, once approved', async () => {
    const frames = [P('CALL nothing()'), B(), E(), E(), S];
    const direct = await connect('direct');
    direct.send(...frames);
    const said = (await direct.ready()).map(shown);
    const proxied = await connect('proxied');
    proxied.send(...frames);
    expect((await approve(proxied)).map(shown)).toEqual(said);
  });
});

describe('names that SQL makes', () => {
  it('PREPARE survives ROLLBACK and a string that fails, on both sides', async () => {
    await expectSame(4, Q('BEGIN'), Q('PREPARE p AS SELECT 1'), Q('ROLLBACK'), B('p'), E(), S);
    await expectSame(2, Q('PREPARE p AS SELECT 1; SELECT 1/0'), B('p'), E(), S);
    await expectSame(2, Q('PREPARE p AS SELECT 1; SELECT 1/0'), Q('EXECUTE p'));
  });

  it('WITH HOLD survives the transaction, other portals do not', async () => {
    const read = 'SELECT id FROM tiny ORDER BY id LIMIT 2';
    await expectSame(3, Q(`BEGIN; DECLARE a CURSOR FOR ${read}`), Q('COMMIT'), E('a', 1), S);
    const client = await connect('proxied');
    client.send(Q(`DECLARE b CURSOR WITH HOLD FOR ${read}`));
    await approve(client);
    client.send(E('b', 1), S);
    expect(types(await client.ready())).toBe('DsZ');
  });

  it('where nobody saw them are refused, though the server has them', async () => {
    const made = Q("DO $$ BEGIN EXECUTE 'prepare unseen as delete from held'; END $$");
    const direct = await connect('direct');
    direct.send(made, Q('BEGIN; EXECUTE unseen; ROLLBACK'));
    expect(codes(await direct.ready(2))).toEqual([]);
    const client = await connect('proxied');
    client.send(made);
    await approve(client);
    const kept = async () =>
      (await rules.stack().shop.query('SELECT count(*)::int AS n FROM held')).rows[0].n;
    const before = await kept();
    client.send(Q('EXECUTE unseen'), B('unseen'), E(), S);
    expect(codes(await client.ready(2))).toEqual(['26000', '26000']);
    expect(await kept()).toBe(before);
  });
});
