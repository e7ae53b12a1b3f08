/** Start-up towards upstream: which protocol is asked for and spoken, and how the password is proved. */
import { createServer, type Server, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import type { UpstreamAddress, UpstreamTls } from '../../src/config/config.ts';
import { encodeFrame } from '../../src/protocol/backend.ts';
import { PROTOCOL_3_0, PROTOCOL_3_2 } from '../../src/protocol/startup.ts';
import { askUpstream, cancelUpstream, openUpstream, type Upstream } from '../../src/proxy/upstream.ts';
import { superuser } from '../support/postgres.ts';
import { failure, packet, TLS } from './support.ts';

const LOGIN = { user: 'u', password: 'secret', database: 'd', parameters: new Map<string, string>() };
const at = (port: number, tls: UpstreamTls = { mode: 'disable' }): UpstreamAddress => ({
  host: '127.0.0.1',
  port,
  database: null,
  user: null,
  password: null,
  tls,
});

const M = (type: string, ...body: (string | Buffer | number)[]) =>
  encodeFrame(
    type.charCodeAt(0),
    Buffer.concat(
      body.map((one) => {
        if (typeof one !== 'number') return Buffer.from(one as string, 'latin1');
        const bytes = Buffer.alloc(4);
        bytes.writeInt32BE(one);
        return bytes;
      }),
    ),
  );
const OK = M('R', 0);
const READY = M('Z', 'I');
const key = (length: number) => M('K', 7, Buffer.alloc(length, 9));
const error = (code: string) => M('E', `SFATAL\0VFATAL\0C${code}\0Munsupported\0\0`);
const negotiate = (version: number, options: number) => M('v', version, options);

let server: Server | null = null;
afterEach(() => {
  server?.close();
  server = null;
});

/** Listens on loopback; `answer` gets each connection's first packet. */
async function standIn(answer: (socket: Socket, first: Buffer) => void): Promise<number> {
  const listening = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (first: Buffer) => answer(socket, first));
  });
  server = listening;
  await new Promise<void>((done) => listening.listen(0, '127.0.0.1', done));
  const address = listening.address();
  return address !== null && typeof address === 'object' ? address.port : 0;
}

/** A server that says this, with the protocols that it was asked for. */
async function scripted(
  ...answers: readonly (readonly Buffer[])[]
): Promise<{ port: number; asked: number[] }> {
  const asked: number[] = [];
  const port = await standIn((socket, first) => {
    socket.write(Buffer.concat(answers[asked.length] ?? []));
    asked.push(first.readUInt32BE(4));
  });
  return { port, asked };
}

async function open(port: number): Promise<Upstream> {
  const upstream = await openUpstream(at(port), LOGIN, 5_000);
  upstream.wire.destroy();
  return upstream;
}

describe('the protocol towards upstream', () => {
  it('is 3.2 where the server speaks it, with its long key, which cancels', async () => {
    const { port, user, password, database } = superuser();
    const login = { ...LOGIN, user, password, database };
    const upstream = await openUpstream(at(port), login, 5_000);
    const version = Number(await askUpstream(upstream, 'SHOW server_version_num', 5_000));
    expect(upstream.cancelKey.length).toBe(version >= 180_000 ? 32 : 4);
    const cancelled = failure(askUpstream(upstream, 'SELECT pg_sleep(60)', 50_000));
    await new Promise((done) => setTimeout(done, 300));
    await cancelUpstream(at(port), upstream, 5_000);
    expect(await cancelled).toMatchObject({ fields: { C: '57014' } });
    upstream.wire.destroy();
  });

  it('is 3.0 where an older server negotiates, whole or by its minor number', async () => {
    for (const said of [PROTOCOL_3_0, 0]) {
      const { port, asked } = await scripted([negotiate(said, 0), OK, key(4), READY]);
      expect((await open(port)).cancelKey.length).toBe(4);
      expect(asked).toEqual([PROTOCOL_3_2]);
      server?.close();
    }
  });

  it.each(['0A000', '08P01'])('is asked for again as 3.0 where 3.2 is refused with %s', async (code) => {
    const { port, asked } = await scripted([error(code)], [OK, key(4), READY]);
    await open(port);
    expect(asked).toEqual([PROTOCOL_3_2, PROTOCOL_3_0]);
  });

  it('is asked for once more at most', async () => {
    const { port, asked } = await scripted([error('0A000')], [error('0A000')]);
    expect(await failure(open(port))).toMatchObject({ fields: { C: '0A000' } });
    expect(asked).toEqual([PROTOCOL_3_2, PROTOCOL_3_0]);
  });

  it('says so where the server is silent, rather than that it hung up', async () => {
    const { port } = await scripted([OK]);
    const came = await failure(openUpstream(at(port), LOGIN, 300));
    expect(came).toMatchObject({
      name: 'UpstreamUnavailable',
      message: expect.stringContaining('within 300 ms'),
    });
  });

  it.each<[string, readonly Buffer[]]>([
    ['for another reason', [error('28000')]],
    ['after more was said', [OK, error('0A000')]],
  ])('is not asked for again where the server refuses %s', async (_why, answer) => {
    const { port, asked } = await scripted(answer, [OK, key(4), READY]);
    expect((await failure(open(port))).name).toBe('UpstreamRefused');
    expect(asked).toEqual([PROTOCOL_3_2]);
  });

  it.each<[string, readonly Buffer[]]>([
    ['a protocol above the one asked for', [negotiate(PROTOCOL_3_2 + 1, 0)]],
    ['3.1, which nobody speaks', [negotiate(PROTOCOL_3_0 + 1, 0)]],
    ['an option that was not sent', [negotiate(PROTOCOL_3_0, 1)]],
    ['less than a message', [M('v', 0)]],
    ['a key of 3 bytes', [key(3)]],
    ['a key of 257 bytes', [key(257)]],
    ['a key of 5 bytes in 3.0', [negotiate(PROTOCOL_3_0, 0), key(5)]],
  ])('is no ground for %s', async (_what, answer) => {
    const { port } = await scripted([...answer, OK, key(4), READY]);
    expect((await failure(open(port))).name).toBe('UpstreamUnavailable');
  });

  it.each([4, 32, 256])('3.2 has keys of %i bytes, which a cancel request has whole', async (length) => {
    const packets: Buffer[] = [];
    const port = await standIn((socket, first) => {
      packets.push(first);
      if (packets.length === 1) socket.write(Buffer.concat([OK, key(length), READY]));
      else socket.end();
    });
    await cancelUpstream(at(port), await open(port), 5_000);
    const body = Buffer.concat([Buffer.from([0, 0, 0, 7]), Buffer.alloc(length, 9)]);
    expect(packets[1]).toEqual(packet(80877102, body));
  });
});

/** Takes the TLS that is asked for; `then` gets the encrypted socket after its first packet, and whether it is one. */
async function standInWithTls(then: (socket: Socket, first: Buffer) => void): Promise<number> {
  return standIn((plain, first) => {
    if (first.length !== 8) return then(plain, first);
    plain.write('S');
    const socket = new TLSSocket(plain, { isServer: true, cert: TLS.cert, key: TLS.key });
    socket.on('error', () => {});
    socket.once('data', (startup: Buffer) => then(socket, startup));
  });
}

/** What the client answers to an offer of these mechanisms: its choice, and the beginning of its first message. */
async function chosen(tls: UpstreamTls, ...mechanisms: string[]): Promise<string[]> {
  let answer = Buffer.alloc(5);
  const port = await standInWithTls((socket) => {
    socket.once('data', (bytes: Buffer) => {
      answer = Buffer.from(bytes);
      socket.end(error('28P01'));
    });
    socket.write(M('R', 10, `${mechanisms.join('\0')}\0\0`));
  });
  await failure(openUpstream(at(port, tls), LOGIN, 5_000));
  // SASLInitialResponse: the mechanism, a length, and the message, which begins with the GS2 header.
  const end = answer.indexOf(0, 5);
  return [answer.toString('latin1', 5, end), /^[^,]*,,/.exec(answer.toString('latin1', end + 5))?.[0] ?? ''];
}

describe('SCRAM towards upstream', () => {
  const require: UpstreamTls = { mode: 'require' };
  const PLUS = 'SCRAM-SHA-256-PLUS';
  const PLAIN = 'SCRAM-SHA-256';

  it.each<[string, UpstreamTls, string[], string[]]>([
    ['is bound to the certificate over TLS', require, [PLUS, PLAIN], [PLUS, 'p=tls-server-end-point,,']],
    ['says that it could be bound where the server could not', require, [PLAIN], [PLAIN, 'y,,']],
    ['is not bound where there is no TLS', { mode: 'disable' }, [PLAIN], [PLAIN, 'n,,']],
    [
      'is not bound where there is no TLS, whatever is offered',
      { mode: 'disable' },
      [PLUS, PLAIN],
      [PLAIN, 'n,,'],
    ],
  ])('%s', async (_what, tls, offered, expected) => {
    expect(await chosen(tls, ...offered)).toEqual(expected);
  });
});
