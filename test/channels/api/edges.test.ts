import { createServer } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clientAddress } from '../../../src/channels/api/forwarded.ts';
import { answerParserErrors } from '../../../src/channels/api/parser-errors.ts';
import { type HttpServer, listenHttp } from '../../../src/channels/api/server.ts';
import { type ApprovalWorld, approvalWorld } from '../../approval/support.ts';
import { type HttpWorld, httpWorld } from './support.ts';

let world: ApprovalWorld;
let http: HttpWorld;
let server: HttpServer;
beforeAll(async () => {
  world = await approvalWorld('apedge');
  http = await httpWorld(world);
  server = await listenHttp(http.app, { host: '127.0.0.1', port: 0 }, { headersMs: 1_500, requestMs: 2_500 });
});
afterAll(async () => {
  await server?.close();
  await world?.close();
});

/** What comes back for these bytes until the server closes, at most 20 s. */
function sent(bytes: string, port = server.port): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let text = '';
    const late = setTimeout(() => reject(new Error(`still open after 20 s: ${text}`)), 20_000);
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(late);
      resolve(text);
    });
  });
}

describe("what Node's parser refuses", () => {
  it.each<[string, string, number, string]>([
    ['no request line', 'hello\r\n\r\n', 400, 'bad_request'],
    ['an unknown method', 'BREW /api/requests HTTP/1.1\r\nHost: x\r\n\r\n', 400, 'bad_request'],
    [
      'a header with a control character',
      'GET / HTTP/1.1\r\nHost: x\r\nA: \u0001\r\n\r\n',
      400,
      'bad_request',
    ],
    [
      'both lengths, as in smuggling',
      'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
      'bad_request',
    ],
    [
      'headers that are too long',
      `GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(20_000)}\r\n\r\n`,
      431,
      'headers_too_large',
    ],
    [
      'a TLS greeting',
      '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003',
      400,
      'bad_request',
    ],
    ['headers that do not come', 'GET / HTTP/1.1\r\nHost: x\r\n', 408, 'request_timeout'],
  ])('is answered in the form of every other refusal: %s', async (_what, bytes, status, code) => {
    const answer = await sent(bytes);
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(head.toLowerCase()).toContain('content-type: application/problem+json');
    expect(head.toLowerCase()).toContain('connection: close');
    expect(JSON.parse(body)).toMatchObject({ type: 'about:blank', status, code });
    expect(head.toLowerCase()).toContain(`content-length: ${Buffer.byteLength(body)}`);
    expect(body).not.toMatch(/hello|BREW|aaaa/);
  });

  it.each([
    ['no Host', 'GET /api/requests HTTP/1.1\r\nConnection: close\r\n\r\n'],
    ['a Host that is none', 'GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n'],
    ['a target that is none', 'GET http://[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
  ])('and so is what makes no URL: %s', async (_what, bytes) => {
    const answer = await sent(bytes);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer.toLowerCase()).toContain('application/problem+json');
    expect(answer).toContain('"code":"bad_request"');
  });

  it('never goes into the middle of an answer', async () => {
    const slow = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.write('begun');
    });
    answerParserErrors(slow);
    await new Promise<void>((done) => slow.listen(0, '127.0.0.1', done));
    const { port } = slow.address() as { port: number };
    const both = await new Promise<string>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
      let text = '';
      socket.on('data', (chunk) => {
        if (text === '') void sleep(50).then(() => socket.write('nonsense\r\n\r\n'));
        text += chunk;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
    });
    slow.closeAllConnections();
    slow.close();
    expect(both).toContain('begun');
    expect(both).not.toContain('problem+json');
  });

  it('leaves the connection of others alone', async () => {
    await sent('hello\r\n\r\n');
    expect((await fetch(`http://127.0.0.1:${server.port}/livez`)).status).toBe(200);
  });
});

describe('whose address counts', () => {
  const behind = clientAddress(['10.0.0.0/8', 'fd00::/8', '192.0.2.7']);
  it.each<[string, string | null, string | undefined, string | null]>([
    [
      'the socket of somebody who is no proxy, whatever is said',
      '203.0.113.9',
      '198.51.100.1',
      '203.0.113.9',
    ],
    ['who the proxy says is calling', '10.0.0.1', '198.51.100.1', '198.51.100.1'],
    [
      'the rightmost that is no proxy, not what was written before',
      '10.0.0.1',
      '1.1.1.1, 198.51.100.1',
      '198.51.100.1',
    ],
    ['through two proxies', '10.0.0.1', '1.1.1.1, 198.51.100.1, 192.0.2.7, 10.9.9.9', '198.51.100.1'],
    ['the proxy where it says nothing', '10.0.0.1', undefined, '10.0.0.1'],
    ['the proxy where it says nonsense', '10.0.0.1', '198.51.100.1, evil', '10.0.0.1'],
    ['the last proxy where all are', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['version 4 in the form of version 6', '::ffff:10.0.0.1', '::ffff:198.51.100.1', '198.51.100.1'],
    ['version 6', 'fd00::1', '1.1.1.1, 2001:db8::5', '2001:db8::5'],
    ['with a port', '10.0.0.1', '[2001:db8::5]:443', '2001:db8::5'],
    ['with a port, version 4', '10.0.0.1', '198.51.100.1:5000', '198.51.100.1'],
    ['a neighbour of the one trusted address', '192.0.2.8', '198.51.100.1', '192.0.2.8'],
    ['nobody without a socket', null, '198.51.100.1', null],
  ])('%s', (_what, socket, header, counts) => {
    expect(behind(socket, header)).toBe(counts);
  });

  it('is the socket alone where no proxy is trusted', () => {
    expect(clientAddress([])('127.0.0.1', '198.51.100.1')).toBe('127.0.0.1');
  });

  it('reads no more of a long header than its end', () => {
    expect(behind('10.0.0.1', `${'1.1.1.1, '.repeat(100_000)}198.51.100.1`)).toBe('198.51.100.1');
  });

  it.each([
    [[], ['127.0.0.1', '127.0.0.1']],
    [['127.0.0.0/8'], ['198.51.100.1', '198.51.100.2']],
  ])('is what limits and the log have, with %j trusted', async (proxies, expected) => {
    const counted: string[] = [];
    const logged: (string | null)[] = [];
    const { app } = await httpWorld(world, undefined, {
      changes: {
        clientAddress: clientAddress(proxies),
        allowed: {
          address: (address) => {
            counted.push(address);
            return true;
          },
          credential: () => true,
          failure: () => true,
        },
        refused: (_failure, address) => logged.push(address),
      },
    });
    const own = await listenHttp(new Hono().mount('/', app.fetch), { host: '127.0.0.1', port: 0 });
    for (const client of ['198.51.100.1', '1.1.1.1, 198.51.100.2'])
      await fetch(`http://127.0.0.1:${own.port}/api/requests`, {
        headers: { 'x-forwarded-for': client, authorization: 'Bearer wrong' },
      });
    await own.close();
    expect(counted).toEqual(expected);
    expect(logged).toEqual(expected);
  });
});
