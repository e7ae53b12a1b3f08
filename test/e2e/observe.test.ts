import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { eventually } from '../proxy/support.ts';
import { type Served, serveBeside } from '../support/served.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { playSteps, type Step } from '../support/wire-script.ts';

let stack: Stack;
let served: Served;
let role = '';
beforeAll(async () => {
  stack = await startStack({
    sample: 'CREATE TABLE notes (id int, body text); CREATE TABLE gone (id int)',
    config: (config) => ({ ...config, mode: 'observe' }),
  });
  served = await serveBeside(stack, { mode: 'observe' });
  role = stack.config.agents[0]?.upstream.user ?? '';
});
afterAll(async () => {
  await served.close();
  await stack.close();
});

/** Text as bytes: one a character. */
const bytes = (text: string) => Buffer.from(text, 'latin1');
const Q = (text: string) => encodeFrame(0x51, bytes(`${text}\0`));
const P = (text: string, name = '') => encodeFrame(0x50, bytes(`${name}\0${text}\0\0\0`));
const B = (statement = '', portal = '') => serialize.bind({ statement, portal });
const E = (portal = '') => serialize.execute({ portal });
const S = serialize.sync();
const copyData = (text: string) => serialize.copyData(bytes(text));
const copyDone = serialize.copyDone();
/** abs(-5) by the fast path. */
const CALL = encodeFrame(0x46, Buffer.from([0, 0, 5, 117, 0, 0, 0, 1, 0, 0, 0, 2, 0x2d, 0x35, 0, 0]));

/** Two characters whose second byte is a backslash, and one that opens a quotation. */
const BIG5 = '\xa5\x5c\xb3\x5c';
const SJIS = '\x95\x5c\x83\x5c';

const SCRIPTS: Record<string, readonly Step[]> = {
  'LATIN1, simple': [
    [1, Q("SET client_encoding = 'LATIN1'")],
    [1, Q('SELECT \'caf\xe9\' AS "\xe9"')],
    [1, Q("INSERT INTO notes VALUES (1, '\xe9\xe8'); SELECT body FROM notes")],
    [1, Q('RESET client_encoding')],
    [1, Q("SELECT 'caf\xc3\xa9'")],
  ],
  'LATIN1, sent ahead': [
    [3, Q('SET client_encoding TO LATIN1'), Q("SELECT '\xe9'"), Q('SELECT 2')],
    [1, P("SELECT '\xe9'"), B(), E(), P('SELECT 3'), B(), E(), S],
  ],
  'a setting changed in the middle of a group': [
    [1, P("SET client_encoding = 'LATIN1'"), B(), E(), P("SELECT '\xe9'"), B(), E(), S],
    [1, P("SELECT '\xe9'", 'named'), B('named'), E(), S],
    [1, B('named'), E(), S],
  ],
  'a setting that a ROLLBACK undoes': [
    [1, Q('BEGIN')],
    [1, Q("SET LOCAL client_encoding = 'LATIN1'")],
    [2, Q('ROLLBACK'), Q("SELECT 'caf\xc3\xa9'")],
  ],
  BIG5: [
    [1, Q("SET client_encoding = 'BIG5'")],
    [1, Q(`SELECT '${BIG5}'`)],
    [1, Q(`SELECT E'${BIG5}', '${BIG5}'`)],
    [1, P(`SELECT '${BIG5}'::text`), B(), E(), S],
  ],
  SJIS: [
    [1, Q("SET client_encoding = 'SJIS'")],
    [1, Q(`SELECT '${SJIS}'`)],
    [1, Q(`SELECT U&'${SJIS}'`)],
  ],
  'strings that are not conforming': [
    [1, Q('SET standard_conforming_strings = off')],
    [1, Q("SELECT 'a\\'b; DROP TABLE gone; --'")],
    [1, Q("SELECT 'a\\\\'")],
    [1, Q('SET standard_conforming_strings = on')],
    [1, Q("SELECT 'a\\'")],
  ],
  'names made by what was not read': [
    [1, Q("SET client_encoding = 'LATIN1'")],
    [1, Q("PREPARE unseen AS SELECT '\xe9'::text")],
    [1, Q("BEGIN; DECLARE unseen CURSOR FOR SELECT '\xe9'::text")],
    [1, B('unseen'), E(), S],
    [1, E('unseen'), S],
    [1, Q('COMMIT; DEALLOCATE unseen')],
    [1, B('unseen'), E(), S],
  ],
  'COPY in both directions, not read': [
    [1, Q("SET client_encoding = 'LATIN1'")],
    [0, Q('COPY notes FROM STDIN')],
    [1, copyData('7\t\xe9\n'), copyDone],
    [1, Q("COPY (SELECT '\xe9'::text) TO STDOUT")],
    [1, Q('COPY notes FROM STDIN'), copyData('8\t\xe9\n'), copyDone],
    [2, Q('COPY notes FROM STDIN'), copyData('9\t\xe9\n'), copyDone, Q('SELECT 1')],
    [1, Q('SELECT 1; COPY notes FROM STDIN; SELECT 2'), copyData('10\t\xe9\n'), copyDone],
    [
      1,
      Q('COPY notes FROM STDIN; COPY notes FROM STDIN'),
      copyData('11\t\xe9\n'),
      copyDone,
      copyData('12\t\xe9\n'),
      copyDone,
    ],
    [1, Q('COPY notes FROM STDIN'), copyData('bad\t\xe9\n'), copyDone],
    [1, Q('COPY notes FROM STDIN'), serialize.copyFail('no more')],
    [1, P('COPY notes FROM STDIN'), B(), E(), copyData('13\tx\n'), copyDone, S],
    [1, P('COPY notes FROM STDIN'), B(), E(), copyData('bad\tx\n'), copyDone, S],
    [2, copyDone, Q('SELECT 1'), copyDone, S],
    [1, Q('SELECT count(*) FROM notes')],
    [2, Q('COPY nowhere FROM STDIN'), copyData('1\n'), copyDone, Q('SELECT 1')],
  ],
  'a function call': [
    [1, CALL],
    [2, Q('SELECT 1'), CALL],
    [1, Q('BEGIN; SELECT 1/0')],
    [1, CALL],
    [1, Q('ROLLBACK')],
  ],
  'what is held and denied otherwise': [
    [1, Q('CREATE TABLE made (id int)')],
    [1, Q('COPY notes TO STDOUT')],
    [1, Q('DO $$ BEGIN END $$')],
    [1, Q('DROP TABLE made')],
    [1, Q('SELEC 1')],
    [1, B('ghost'), E(), S],
    [1, E('ghost'), S],
  ],
  'malformed messages': [
    [1, P('SELECT 1'), bytes('B\0\0\0\x06\0\0'), E(), S],
    [1, bytes('Q\0\0\0\x0aSELE\0\0')],
    [1, bytes('E\0\0\0\x06\0\0'), S],
    [1, bytes('D\0\0\0\x06X\0'), S],
    [1, bytes('H\0\0\0\x05X'), S],
    [1, Q('SELECT 1')],
  ],
};

const reset = () => stack.shop.query('TRUNCATE notes');

describe('countersign serve in mode observe', () => {
  it.each(Object.keys(SCRIPTS))('relays byte for byte: %s', async (name) => {
    const steps = SCRIPTS[name] ?? [];
    await reset();
    const direct = await playSteps(stack.directUrl, steps);
    await reset();
    expect(await playSteps(served.agentUrl, steps)).toEqual(direct);
  });

  it.each<[string, readonly (readonly [string, string])[], readonly Step[]]>([
    ['client_encoding', [['client_encoding', 'LATIN1']], [[1, Q("SELECT '\xe9', 'started LATIN1'")]]],
    [
      'client_encoding in options',
      [['options', '-c client_encoding=BIG5']],
      [[1, Q(`SELECT '${BIG5}', 'started BIG5'`)]],
    ],
    [
      'standard_conforming_strings in options',
      [['options', '-c standard_conforming_strings=off']],
      [[1, Q("SELECT 'a\\'; started off'")]],
    ],
    ['nothing', [], [[1, Q("SELECT 'started plain'")]]],
  ])('lets start-up set %s', async (_name, parameters, steps) => {
    const direct = await playSteps(stack.directUrl, steps, parameters);
    expect(await playSteps(served.agentUrl, steps, parameters)).toEqual(direct);
  });

  it.each([
    ["client_encoding = 'LATIN1'", "SELECT '\xe9', 'role LATIN1'"],
    ['standard_conforming_strings = off', "SELECT 'a\\'; role off'"],
  ])('lets the role have %s', async (setting, sql) => {
    await stack.shop.query(`ALTER ROLE ${role} SET ${setting}`);
    try {
      const direct = await playSteps(stack.directUrl, [[1, Q(sql)]]);
      expect(await playSteps(served.agentUrl, [[1, Q(sql)]])).toEqual(direct);
    } finally {
      await stack.shop.query(`ALTER ROLE ${role} RESET ALL`);
    }
  });
});

describe('what mode observe records', () => {
  const recorded = async (like: string) => {
    const { rows } = await stack.audit.query(
      'SELECT class, decision, rule, outcome FROM audit.statements WHERE sql LIKE $1 ORDER BY stream, seq',
      [like],
    );
    return rows as { class: string; decision: string; rule: string; outcome: string | null }[];
  };
  it('is what would have been, and what came of it', async () => {
    const steps: Step[] = [
      [1, Q("SELECT 'before'")],
      [1, Q("SET client_encoding = 'LATIN1' /* would be denied */")],
      [2, Q("SELECT 'after'"), Q("SELECT 'after' FROM gone")],
      [1, Q("SET client_encoding = 'UTF8' /* back */")],
      [1, Q("SELECT 'pinned again'")],
      [2, Q('SET standard_conforming_strings = off'), Q("SELECT 'sent ahead'")],
      [1, CALL],
      [1, Q('CREATE TABLE "observed" (id int)')],
    ];
    await playSteps(served.agentUrl, steps);
    await eventually('everything is recorded', async () => {
      const [last] = await recorded('CREATE TABLE "observed"%');
      return last?.outcome === 'executed';
    });
    const read = { class: 'read', decision: 'allow', rule: 'default:read', outcome: 'executed' };
    const unparsed = { class: 'unparsed', decision: 'hold', rule: 'default:unparsed', outcome: 'executed' };
    expect(await recorded("SELECT 'before'")).toEqual([read]);
    expect(await recorded('%would be denied%')).toMatchObject([{ decision: 'deny', rule: 'floor:pinned' }]);
    expect(await recorded("SELECT 'after'%")).toEqual([unparsed, unparsed]);
    expect(await recorded('%/* back */')).toEqual([unparsed]);
    expect(await recorded("SELECT 'pinned again'")).toEqual([read]);
    expect(await recorded("SELECT 'sent ahead'")).toEqual([unparsed]);
    expect(await recorded('-- function call protocol: function 1397')).toContainEqual({
      class: 'unparsed',
      decision: 'deny',
      rule: 'floor:function_call',
      outcome: 'executed',
    });
    expect(await recorded('%started LATIN1%')).toEqual([unparsed]);
    expect(await recorded('%started off%')).toEqual([unparsed]);
    expect(await recorded('%role LATIN1%')).toEqual([unparsed]);
    expect(await recorded('%role off%')).toEqual([unparsed]);
    expect(await recorded('%started plain%')).toEqual([read]);
    expect(await stack.api.open()).toEqual([]);
  });
});
