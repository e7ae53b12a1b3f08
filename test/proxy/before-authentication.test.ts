import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { PROTOCOL_3_0, PROTOCOL_3_2 } from '../../src/protocol/startup.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';
import {
  Bytes,
  eventually,
  expectServed,
  GSSENC_REQUEST,
  packet,
  refusedLogins,
  SSL_REQUEST,
  startup,
} from './support.ts';

const AUTHENTICATION_MS = 6_000;
let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ limits: { authenticationMs: AUTHENTICATION_MS, sessions: 20 } });
});
afterAll(() => stack.close());
afterEach(() => expectServed(stack.agentUrl));

const AGENT: readonly [string, string] = ['user', 'agent'];
const database = (): readonly [string, string] => ['database', stack.shop.name];

/** Sends bytes on a new connection; the FATAL error that they get. */
async function refusal(...bytes: Buffer[]): Promise<Record<string, string>> {
  const client = await Bytes.connect(stack.agentUrl);
  client.send(...bytes);
  return client.fatal();
}

/** Lengths as they stand in the first four bytes, whatever follows. */
function length(value: number, rest = Buffer.alloc(4)): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(value, 0);
  return Buffer.concat([head, rest]);
}

describe('requests for encryption', () => {
  it('are answered N, each once, and then a client may log in', async () => {
    const client = await Bytes.connect(stack.agentUrl);
    client.send(GSSENC_REQUEST);
    expect((await client.take(1)).toString()).toBe('N');
    client.send(SSL_REQUEST);
    expect((await client.take(1)).toString()).toBe('N');
    client.send(startup([AGENT, database()]));
    expect((await client.frame())[0]).toBe(0x52);
    client.close();
  });

  it.each([
    ['SSLRequest', SSL_REQUEST],
    ['GSSENCRequest', GSSENC_REQUEST],
  ])('are refused when repeated: %s', async (_name, request) => {
    const client = await Bytes.connect(stack.agentUrl);
    client.send(request);
    await client.take(1);
    client.send(request);
    expect(await client.fatal()).toMatchObject({ C: '08P01', M: expect.stringContaining('repeated') });
  });

  it.each([
    ['SSLRequest', SSL_REQUEST],
    ['GSSENCRequest', GSSENC_REQUEST],
  ])('are refused with anything behind them: %s', async (_name, request) => {
    const behind = startup([AGENT, database()]);
    expect(await refusal(request, behind)).toMatchObject({
      C: '08P01',
      M: expect.stringContaining('unencrypted data'),
    });
    expect(await refusal(request, Buffer.from([0]))).toMatchObject({ C: '08P01' });
  });
});

describe('start-up packets', () => {
  it.each([0, 1, 2, 3, 4, 5, 6, 7, 10_001, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])(
    'of length %i are refused before their body is there',
    async (value) => {
      expect(await refusal(length(value))).toMatchObject({
        C: '08P01',
        M: 'invalid length of startup packet',
      });
    },
  );

  it('of 10,001 bytes that are all there are refused, and recorded', async () => {
    const body = `user\0agent\0application_name\0${'x'.repeat(10_001 - 8 - 30)}\0\0`;
    const whole = packet(PROTOCOL_3_0, body);
    expect(whole.length).toBe(10_001);
    const before = await refusedLogins(stack, 0);
    expect(await refusal(whole)).toMatchObject({ C: '08P01', M: 'invalid length of startup packet' });
    const after = await refusedLogins(stack, before.length + 1);
    expect(after.at(-1)).toMatchObject({ code: '08P01', message: 'invalid length of startup packet' });
  });

  it.each<[string, string, string]>([
    ['a duplicate key', 'user\0agent\0user\0postgres\0\0', '08P01'],
    ['a duplicate key in other case', 'user\0agent\0TimeZone\0UTC\0timezone\0UTC\0\0', '08P01'],
    ['NUL within a value', 'user\0agent\0application_name\0a\0role\0postgres\0\0', '0A000'],
    ['an odd number of strings', 'user\0agent\0application_name\0\0', '08P01'],
    ['no terminator', 'user\0agent\0', '08P01'],
    ['a name that does not end', 'user\0agent\0application_name', '08P01'],
    ['bytes behind the terminator', 'user\0agent\0\0database\0x\0\0', '08P01'],
    ['no user', 'database\0shop\0\0', '28000'],
    ['an empty user', 'user\0\0database\0shop\0\0', '28000'],
    ['500 keys', `user\0agent\0${Array.from({ length: 500 }, (_, i) => `k${i}\0v\0`).join('')}\0`, '0A000'],
    ['replication=database', 'user\0agent\0replication\0database\0\0', '0A000'],
    ['replication=true', 'user\0agent\0replication\0true\0\0', '0A000'],
    ['replication=1', 'user\0agent\0replication\x001\0\0', '0A000'],
    ['role', 'user\0agent\0role\0postgres\0\0', '0A000'],
    ['ROLE', 'user\0agent\0ROLE\0postgres\0\0', '0A000'],
    ['session_authorization', 'user\0agent\0session_authorization\0postgres\0\0', '0A000'],
    ['client_encoding', 'user\0agent\0client_encoding\0BIG5\0\0', '0A000'],
    ['standard_conforming_strings', 'user\0agent\0Standard_Conforming_Strings\0off\0\0', '0A000'],
    ['session_preload_libraries', 'user\0agent\0session_preload_libraries\0x\0\0', '0A000'],
    ['local_preload_libraries', 'user\0agent\0local_preload_libraries\0x\0\0', '0A000'],
    ['options -c', 'user\0agent\0options\0-c role=postgres\0\0', '0A000'],
    ['options -c without a blank', 'user\0agent\0options\0-crole=postgres\0\0', '0A000'],
    ['options --', 'user\0agent\0options\0--role=postgres\0\0', '0A000'],
    ['options with dashes', 'user\0agent\0options\0--client-encoding=SJIS\0\0', '0A000'],
    ['options with an escaped name', 'user\0agent\0options\0-c r\\ole=postgres\0\0', '0A000'],
    ['options behind others', 'user\0agent\0options\0-c geqo=off\t-c role=postgres\0\0', '0A000'],
    ['options of another kind', 'user\0agent\0options\0-d 5\0\0', '0A000'],
    ['options without a value', 'user\0agent\0options\0-c role\0\0', '08P01'],
  ])('with %s are refused', async (_name, body, code) => {
    expect(await refusal(packet(PROTOCOL_3_0, body))).toMatchObject({ C: code });
  });

  it('are refused for what is no Postgres', async () => {
    expect(await refusal(packet(0x20000, 'agent'))).toMatchObject({
      C: '0A000',
      M: 'unsupported frontend protocol 2.0: server supports 3.0 to 3.2',
    });
    expect(await refusal(startup([AGENT], 0x40000))).toMatchObject({ C: '0A000' });
    expect(await refusal(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'))).toMatchObject({ C: '08P01' });
    // A TLS ClientHello at once, where TLS is not configured.
    const hello = Buffer.from('16030100c8010000c40303', 'hex');
    expect(await refusal(hello)).toMatchObject({ C: '08P01', M: expect.stringContaining('TLS') });
  });

  it.each([
    ['3.2', PROTOCOL_3_2, [], true],
    ['3.9999', 0x3270f, [], true],
    ['3.0 with an option', PROTOCOL_3_0, [['_pq_.x', '1']], false],
    [
      '3.9999 with options',
      0x3270f,
      [
        ['_pq_.x', '1'],
        ['_pq_.command_tag_format', 'y'],
      ],
      true,
    ],
    ['3.1', 0x30001, [], true],
  ] as [string, number, [string, string][], boolean][])(
    'of protocol %s are negotiated as a server does that knows 3.2',
    async (_name, protocol, options, newer) => {
      const answer = async (url: string) => {
        const { username, pathname } = new URL(url);
        const client = await Bytes.connect(url);
        client.send(startup([['user', username], ['database', pathname.slice(1)], ...options], protocol));
        const first = await client.frame();
        client.close();
        return String.fromCharCode(first[0] ?? 0) === 'R' ? 'authentication' : first.toString('hex');
      };
      const [proxied, direct] = [await answer(stack.agentUrl), await answer(stack.directUrl)];
      if (inject('postgres').major >= 18 || !newer) return expect(proxied).toBe(direct);
      // Where the server itself would negotiate 3.0, the proxy still speaks 3.2 with its client.
      expect(direct).toMatch(/^76.{8}00030000/);
      expect(proxied).toMatch(/^(?:authentication$|76.{8}00030002)/);
    },
  );
});

describe('slowness', () => {
  it('is ended when the time for authentication is over, and does not stop others', async () => {
    const began = Date.now();
    const silent = await Promise.all(Array.from({ length: 300 }, () => Bytes.connect(stack.agentUrl)));
    const slow = await Bytes.connect(stack.agentUrl);
    const whole = startup([AGENT, database()]);
    let sent = 0;
    const dribble = setInterval(() => slow.send(whole.subarray(sent, ++sent)), 400);
    await expectServed(stack.agentUrl);
    // Not more than 200 strangers at a time: the oldest made room.
    expect(silent.filter(({ ended }) => ended).length).toBeGreaterThanOrEqual(100);
    expect(Date.now() - began).toBeLessThan(AUTHENTICATION_MS);
    expect(await slow.fatal()).toMatchObject({ C: '57014', M: 'canceling authentication due to timeout' });
    clearInterval(dribble);
    expect(Date.now() - began).toBeLessThan(AUTHENTICATION_MS * 3);
    await Promise.all(silent.map((client) => client.toEnd()));
  });

  it('of a log-in that stops half-way is ended too', async () => {
    const client = await Bytes.connect(stack.agentUrl);
    client.send(startup([AGENT, database()]));
    await client.frame();
    expect(await client.fatal()).toMatchObject({ C: '57014' });
  });
});

describe('the run that an agent names', () => {
  it.each([
    ['as a parameter', [['countersign.run', 'run-1']]],
    ['in the options', [['options', '-c countersign.run=run-1 --search-path=public']]],
  ] as [string, [string, string][]][])('is recorded: %s', async (_name, parameters) => {
    const client = await RawClient.connect(stack.agentUrl, Object.fromEntries(parameters));
    client.close();
    await eventually('a session of run-1', async () => {
      const { rows } = await stack.audit.query("SELECT FROM audit.entry WHERE run = 'run-1'");
      return rows.length > 0;
    });
  });
});

it('records what was refused, with the name that was claimed', async () => {
  const before = (await refusedLogins(stack, 0)).length;
  await refusal(
    startup([
      ['user', 'nobody'],
      ['role', 'postgres'],
    ]),
  );
  await refusal(
    startup([
      ['user', 'x'.repeat(5_000)],
      ['user', 'y'],
    ]),
  );
  const { length: all, ...rest } = await refusedLogins(stack, before + 2);
  expect(all).toBe(before + 2);
  expect(rest[before]).toMatchObject({ code: '0A000', message: expect.stringContaining('"role"') });
  // What strangers send must not fill the log.
  expect(JSON.stringify(rest[before + 1]).length).toBeLessThan(1_000);
});
