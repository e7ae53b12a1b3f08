import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { makeScramVerifier } from '../../src/config/scram-verifier.ts';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { beginScram, ScramError } from '../../src/proxy/scram-server.ts';
import { hasPsql, psql } from '../support/psql.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { initialResponse, mechanism, proof } from './scram-client.ts';
import { Bytes, connectPg, expectServed, failure, refusedLogins, startup } from './support.ts';

const MOCK = Buffer.alloc(32, 7);

describe('the exchange of RFC 7677', () => {
  const CLIENT_FIRST = 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO';
  const SERVER_NONCE = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
  const CLIENT_FINAL =
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=';
  const verifier = makeScramVerifier('pencil', Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64'));
  const begin = () => beginScram(CLIENT_FIRST, 'user', verifier, SERVER_NONCE, MOCK);

  it('is spoken as printed there', () => {
    const exchange = begin();
    expect(exchange.serverFirst).toBe(
      'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    );
    expect(exchange.finish(CLIENT_FINAL)).toBe('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
  });

  it.each([
    ['another proof', CLIENT_FINAL.replace('dHzb', 'dHzc'), '28P01'],
    ['another nonce', CLIENT_FINAL.replace('r=rOpr', 'r=rOps'), '08P01'],
    ['the client nonce alone', CLIENT_FINAL.replace('%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0', ''), '08P01'],
    ['another binding flag', CLIENT_FINAL.replace('c=biws', 'c=eSws'), '08P01'],
    ['no binding', CLIENT_FINAL.replace('c=biws,', ''), '08P01'],
    ['no proof', CLIENT_FINAL.replace(/,p=.*/, ''), '08P01'],
    ['a proof that is no base64', CLIENT_FINAL.replace('dHzb', '!!!!'), '08P01'],
    ['a proof in loose base64', CLIENT_FINAL.replace(/=$/, ''), '08P01'],
    ['a short proof', CLIENT_FINAL.replace(/p=.*/, 'p=dHzb'), '08P01'],
    ['something behind the proof', `${CLIENT_FINAL},x=y`, '08P01'],
    ['a NUL at its end', `${CLIENT_FINAL}\0`, '08P01'],
    ['nothing', '', '08P01'],
    ['a huge extension', CLIENT_FINAL.replace(',p=', `,x=${'y'.repeat(10_000)},p=`), '08P01'],
  ])('fails with %s', (_name, final, code) => {
    const exchange = begin();
    let error: unknown;
    try {
      exchange.finish(final);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ScramError);
    expect(error).toMatchObject({ code });
  });

  it.each([
    ['channel binding that was not offered', 'p=tls-unique,,n=,r=abc'],
    ['an unknown flag', 'x,,n=,r=abc'],
    ['no flag', ',,n=,r=abc'],
    ['a flag with a value', 'n=x,,n=,r=abc'],
    ['an authorization identity', 'n,a=postgres,n=,r=abc'],
    ['a mandatory extension', 'n,,m=x,n=,r=abc'],
    ['no user name', 'n,,r=abc'],
    ['no nonce', 'n,,n='],
    ['an empty nonce', 'n,,n=,r='],
    ['a nonce with a comma', 'n,,n=,r=,'],
    ['a nonce that cannot be printed', 'n,,n=,r=a\u0001b'],
    ['a huge nonce', `n,,n=,r=${'a'.repeat(1_025)}`],
    ['a huge message', `n,,n=,r=a,${'x'.repeat(5_000)}`],
    ['nothing', ''],
  ])('does not begin with %s', (_name, first) => {
    expect(() => beginScram(first, 'user', verifier, SERVER_NONCE, MOCK)).toThrow(ScramError);
  });

  it('gives an unknown user the same salt each time, and never lets it in', () => {
    const one = beginScram(CLIENT_FIRST, 'ghost', null, SERVER_NONCE, MOCK);
    const two = beginScram(CLIENT_FIRST, 'ghost', null, SERVER_NONCE, MOCK);
    const other = beginScram(CLIENT_FIRST, 'ghost2', null, SERVER_NONCE, MOCK);
    expect(one.serverFirst).toBe(two.serverFirst);
    expect(one.serverFirst).not.toBe(other.serverFirst);
    expect(one.serverFirst).toMatch(/,s=[A-Za-z0-9+/]{22}==,i=4096$/);
    expect(() => one.finish(CLIENT_FINAL)).toThrow('password authentication failed');
  });
});

describe('a log-in', () => {
  let stack: Stack;
  beforeAll(async () => {
    stack = await startStack();
  });
  afterAll(() => stack.close());
  afterEach(() => expectServed(stack.agentUrl));

  const withUser = (user: string, password: string) => {
    const url = new URL(stack.agentUrl);
    url.username = user;
    url.password = password;
    return url.href;
  };

  it('with the right password is let in: postgres.js', async () => {
    const sql = postgres(stack.agentUrl, { max: 1 });
    expect(await sql`SELECT 1 AS one`).toMatchObject([{ one: 1 }]);
    await sql.end();
  });

  it.runIf(hasPsql())('with the right password is let in: psql', async () => {
    const { stdout, code } = await psql(stack.agentUrl, 'SELECT 41 + 1', '-At').done;
    expect([code, stdout.trim()]).toEqual([0, '42']);
    const refused = await psql(withUser('agent', 'wrong'), 'SELECT 1').done;
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('password authentication failed for user "agent"');
  });

  it.each(['agent', 'ghost'])('with a wrong password is refused and recorded: %s', async (user) => {
    const error = await failure(connectPg({ connectionString: withUser(user, 'wrong') }));
    expect(error).toMatchObject({
      code: '28P01',
      message: `password authentication failed for user "${user}"`,
    });
    // Entries of earlier log-ins may still be on their way.
    const last = async () => (await refusedLogins(stack, 1)).at(-1);
    await expect.poll(last).toMatchObject({ user, code: '28P01' });
    expect(JSON.stringify(await last())).not.toContain('wrong');
  });

  /** Goes through the steps with raw messages; returns what the server said to each. */
  async function exchange(
    user: string,
    password: string,
    change: { first?: (text: string) => string; final?: (text: string) => string } = {},
  ): Promise<{ types: string; microseconds: number; last: Buffer; finalSent: string; client: Bytes }> {
    const client = await Bytes.connect(stack.agentUrl);
    const began = process.hrtime.bigint();
    client.send(
      startup([
        ['user', user],
        ['database', stack.shop.name],
      ]),
    );
    const asked = await client.frame();
    const bare = `n=,r=${randomBytes(12).toString('base64')}`;
    client.send(initialResponse((change.first ?? same)(`n,,${bare}`)));
    const challenge = await client.frame();
    let types = String.fromCharCode(asked[0] ?? 0, challenge[0] ?? 0);
    let last = challenge;
    let finalSent = '';
    if (challenge[0] === 0x52) {
      finalSent = (change.final ?? same)(proof(password, bare, challenge.toString('utf8', 9)));
      client.send(encodeFrame(0x70, Buffer.from(finalSent)));
      last = await client.frame();
      types += String.fromCharCode(last[0] ?? 0);
    }
    return { types, microseconds: Number(process.hrtime.bigint() - began) / 1000, last, finalSent, client };
  }

  it('takes the same steps and about the same time for an unknown user', async () => {
    // Other work of the machine makes one measurement wrong; a difference in what is computed makes all of them so.
    const ratios: number[] = [];
    while (ratios.length < 4 && !ratios.some((ratio) => ratio < 2)) ratios.push(await ratioOfTimes());
    expect(Math.min(...ratios)).toBeLessThan(2);
  }, 120_000);

  /** Of known to unknown users, or the other way round; by the lower quartile, as other work only ever adds. */
  async function ratioOfTimes(): Promise<number> {
    const times: Record<string, number[]> = { agent: [], ghost: [] };
    for (let i = 0; i < 40; i++)
      for (const user of ['agent', 'ghost']) {
        const { types, microseconds, client } = await exchange(user, 'wrong');
        expect(types).toBe('RRE');
        times[user]?.push(microseconds);
        client.close();
      }
    const quartile = (values: number[] = []) => values.sort((a, b) => a - b)[values.length >> 2] ?? 0;
    const [known, unknown] = [quartile(times['agent']), quartile(times['ghost'])];
    return Math.max(known, unknown) / Math.min(known, unknown);
  }

  it('keeps the salt of an unknown user when the proxy starts anew', async () => {
    const saltOf = async (url: string) => {
      const client = await Bytes.connect(url);
      client.send(startup([['user', 'ghost']]));
      await client.frame();
      client.send(initialResponse('n,,n=,r=abc'));
      const challenge = (await client.frame()).toString('utf8', 9);
      client.close();
      return /s=([^,]+)/.exec(challenge)?.[1];
    };
    const second = await stack.second();
    expect(await saltOf(second.agentUrl)).toBe(await saltOf(stack.agentUrl));
  });

  it('cannot be replayed', async () => {
    const right = await exchange('agent', 'agent-secret');
    expect(right.types).toBe('RRR');
    right.client.close();
    const replayed = await exchange('agent', 'agent-secret', { final: () => right.finalSent });
    expect(replayed.types).toBe('RRE');
    replayed.client.close();
  });

  it.each<[string, Buffer]>([
    ['another mechanism', encodeFrame(0x70, Buffer.from('PLAIN\0\0\0\0\x05agent', 'latin1'))],
    ['SCRAM-SHA-256-PLUS', encodeFrame(0x70, mechanism('SCRAM-SHA-256-PLUS', 'p=tls-unique,,n=,r=a'))],
    ['no mechanism', encodeFrame(0x70, Buffer.alloc(0))],
    ['a mechanism without NUL', encodeFrame(0x70, Buffer.from('SCRAM-SHA-256'))],
    [
      'a response length that is too long',
      encodeFrame(
        0x70,
        Buffer.concat([
          Buffer.from('SCRAM-SHA-256\0'),
          Buffer.from([127, 255, 255, 255]),
          Buffer.from('n,,n=,r=a'),
        ]),
      ),
    ],
    [
      'a response length of -1',
      encodeFrame(0x70, Buffer.concat([Buffer.from('SCRAM-SHA-256\0'), Buffer.alloc(4, 255)])),
    ],
    ['a message of length 3', Buffer.from([0x70, 0, 0, 0, 3])],
    ['a message of length -2', Buffer.from([0x70, 255, 255, 255, 254])],
    ['a message that never ends', Buffer.from([0x70, 127, 255, 255, 255])],
    ['another message', encodeFrame(0x51, Buffer.from('SELECT 1\0'))],
  ])('is refused with %s', async (_name, message) => {
    const client = await Bytes.connect(stack.agentUrl);
    client.send(startup([['user', 'agent']]));
    await client.frame();
    client.send(message);
    expect(await client.fatal()).toMatchObject({ C: '08P01' });
  });

  it('takes what comes ahead of its answers, and in pieces', async () => {
    const client = await Bytes.connect(stack.agentUrl);
    const bare = 'n=,r=abcdef';
    for (const byte of startup([
      ['user', 'agent'],
      ['database', stack.shop.name],
    ]))
      client.send(Buffer.of(byte));
    client.send(initialResponse(`n,,${bare}`));
    await client.frame();
    const challenge = await client.frame();
    const final = encodeFrame(0x70, Buffer.from(proof('agent-secret', bare, challenge.toString('utf8', 9))));
    const query = encodeFrame(0x51, Buffer.from('SELECT 7 AS seven\0'));
    client.send(final, query);
    // A second one, while the upstream connection is being made.
    setTimeout(() => client.send(query), 3);
    let types = '';
    while (!/Z.*Z.*Z/.test(types)) types += String.fromCharCode((await client.frame())[0] ?? 0);
    expect(types).toMatch(/^RRS+KZTDCZTDCZ$/);
    client.close();
  });
});

const same = (text: string) => text;
