import type { Socket } from 'node:net';
import { serialize } from 'pg-protocol';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { decodeErrorFields, encodeFrame } from '../../src/protocol/backend.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { type Between, type Session, standBetween } from './between.ts';
import { eventually, expectServed, failure } from './support.ts';

let between: Between;
let stack: Stack;
beforeAll(async () => {
  between = await standBetween(inject('postgres').port);
  stack = await startStack({
    limits: { authenticationMs: 1_500 },
    config: (config) => ({ ...config, upstream: { ...config.upstream, port: between.port } }),
  });
  await expectServed(stack.agentUrl);
});
afterAll(async () => {
  await stack.close();
  await between.close();
});
afterEach(async () => {
  between.script = null;
  between.change = null;
  await expectServed(stack.agentUrl);
});

const connect = () => RawClient.connect(stack.agentUrl, { application_name: 'evil' });
const typesOf = (frames: readonly Buffer[]) =>
  frames.map((frame) => String.fromCharCode(frame[0] ?? 0)).join('');
const B = (type: string, body: string | Buffer = '') =>
  encodeFrame(type.charCodeAt(0), typeof body === 'string' ? Buffer.from(body, 'latin1') : body);
const QUERY = serialize.query('SELECT 1');

/** A client in session, and the server's side of it. */
async function begin(): Promise<{ readonly client: RawClient; readonly server: Session }> {
  const client = await connect();
  const server = between.sessions.at(-1);
  if (server === undefined) throw new Error('no upstream connection');
  return { client, server };
}

/** The session ends with a FATAL error of that code, and the upstream connection with it. */
async function expectEnd({ client, server }: Awaited<ReturnType<typeof begin>>, code: string): Promise<void> {
  const frames = await client.until(() => false);
  expect(client.closed).toBe(true);
  expect(decodeErrorFields(frames.at(-1) ?? Buffer.alloc(5))).toMatchObject({ S: 'FATAL', C: code });
  await eventually('the upstream connection ends', () => server.socket.destroyed);
}

describe('what an upstream server may say', () => {
  it('an error without SQLSTATE goes on as it is', async () => {
    const { client, server } = await begin();
    const error = B('E', 'SERROR\0Mno code\0\0');
    server.say(error);
    expect(await client.until((frames) => frames.length > 0)).toEqual([error]);
    client.close();
  });

  it('an error without SQLSTATE, or without anything, answers a statement', async () => {
    const { client } = await begin();
    const error = B('E', 'SERROR\0Mno code\0\0');
    between.change = (bytes) => (bytes[0] === 0x54 ? Buffer.concat([error, B('Z', 'I')]) : bytes);
    client.send(QUERY);
    expect(await client.ready()).toEqual([error, B('Z', 'I')]);
    between.change = (bytes) => (bytes[0] === 0x54 ? Buffer.concat([B('E'), B('Z', 'I')]) : bytes);
    client.send(QUERY);
    expect(typesOf(await client.ready())).toBe('EZ');
    client.close();
  });

  it('a notice of 1 MiB, a notification and a setting go on, idle or in a result', async () => {
    const { client, server } = await begin();
    const notice = B('N', `SNOTICE\0M${'x'.repeat(1 << 20)}\0\0`);
    const said = [notice, B('A', '\0\0\0\x01news\0hello\0'), B('S', 'TimeZone\0UTC\0')];
    server.say(...said);
    const got = await client.until((frames) => frames.length >= 3);
    // A matcher would take seconds over a megabyte.
    expect(Buffer.concat(got).equals(Buffer.concat(said))).toBe(true);
    between.change = (bytes) => (bytes[0] === 0x54 ? Buffer.concat([...said, bytes]) : bytes);
    client.send(QUERY);
    expect(typesOf(await client.ready())).toBe('NASTDCZ');
    client.close();
  });

  it('and while a statement is held', async () => {
    const { client, server } = await begin();
    client.send(serialize.query('DROP TABLE orders'));
    const request = await stack.api.waitFor('DROP TABLE orders');
    await client.until((frames) => frames.length > 0);
    const said = [
      B('N', 'SNOTICE\0Mmeanwhile\0\0'),
      B('A', '\0\0\0\x01news\0hello\0'),
      B('S', 'TimeZone\0UTC\0'),
    ];
    server.say(...said);
    expect(await client.until((frames) => frames.length >= 3)).toEqual(said);
    await stack.api.verdict(request.id, 'deny');
    expect(typesOf(await client.ready())).toBe('EZ');
    client.close();
  });
});

describe('what ends one session', () => {
  it.each<[string, string, Buffer]>([
    ['a notice that is too long', '54000', Buffer.from([0x4e, 0, 0x80, 0, 0])],
    ['ReadyForQuery out of nowhere', '08P01', B('Z', 'I')],
    ['DataRow out of nowhere', '08P01', B('D', '\0\0')],
    ['CopyInResponse out of nowhere', '08P01', B('G', '\0\0\0')],
    ['CopyBothResponse', '08P01', B('W', '\0\0\0')],
    ['a message of length 3', '08P01', Buffer.from([0x4e, 0, 0, 0, 3])],
    ['DataRow of length -2', '08P01', Buffer.from([0x44, 255, 255, 255, 254])],
    ['an unknown message', '08P01', B('?', 'x')],
    ['another encoding', '42501', B('S', 'client_encoding\0BIG5\0')],
    ['non-conforming strings', '42501', B('S', 'standard_conforming_strings\0off\0')],
  ])('while it is idle: %s', async (_name, code, bytes) => {
    const session = await begin();
    session.server.say(bytes);
    await expectEnd(session, code);
  });

  it.each<[string, string, Buffer]>([
    ['DataRow of length -2', '08P01', Buffer.from([0x44, 255, 255, 255, 254])],
    ['DataRow of length 0', '08P01', Buffer.from([0x44, 0, 0, 0, 0])],
    ['ReadyForQuery without a status', '08P01', B('Z')],
    ['ReadyForQuery of an unknown status', '08P01', B('Z', 'X')],
    ['BindComplete', '08P01', B('2')],
    [
      'two results for one statement',
      '08P01',
      Buffer.concat([B('C', 'SELECT 1\0'), B('C', 'SELECT 1\0'), B('Z', 'I')]),
    ],
  ])('in the answer to a statement: %s', async (_name, code, bytes) => {
    const session = await begin();
    between.change = (said) => (said[0] === 0x54 ? bytes : said);
    session.client.send(QUERY);
    await expectEnd(session, code);
  });

  it('the end of the connection in the middle of a message', async () => {
    const session = await begin();
    between.change = (said) => {
      if (said[0] !== 0x54) return said;
      session.server.socket.end(said.subarray(0, 12));
      return Buffer.alloc(0);
    };
    session.client.send(QUERY);
    await expectEnd(session, '08006');
  });

  it('ReadyForQuery for a statement that is held: nothing runs', async () => {
    const session = await begin();
    session.client.send(serialize.query('DROP TABLE customers'));
    await stack.api.waitFor('DROP TABLE customers');
    session.server.say(B('Z', 'I'));
    await expectEnd(session, '08P01');
    await eventually('no client waits', async () => {
      const open = await stack.api.open();
      return open.every((request) => !('waiting' in request) || request.waiting === false);
    });
    expect((await stack.shop.query("SELECT to_regclass('customers') AS it")).rows[0].it).toBe('customers');
  });
});

/** Waits for the one outcome of a statement that only this test sends. */
async function outcomeOf(sql: string): Promise<{ outcome: string; rows: number; sqlstate: string | null }> {
  const find = async () => {
    const { rows } = await stack.audit.query(
      'SELECT outcome, rows::int, sqlstate FROM audit.statements WHERE sql = $1 AND outcome IS NOT NULL',
      [sql],
    );
    return rows;
  };
  await eventually(`the outcome of ${sql}`, async () => (await find()).length === 1);
  return (await find())[0];
}

describe('what is big', () => {
  it.each<[string, Buffer]>([
    ['an error', B('E', `SERROR\0C22000\0M${'x'.repeat(3 << 20)}\0\0`)],
    ['a notice', B('N', `SNOTICE\0M${'x'.repeat(1 << 20)}\0\0`)],
    ['a setting', B('S', `x.y\0${'x'.repeat(1 << 20)}\0`)],
    ['a notification', B('A', `\0\0\0\x01news\0${'x'.repeat(1 << 20)}\0`)],
  ])('and comes in small pieces goes on as it is: %s', async (_name, frame) => {
    const { client, server } = await begin();
    for (let at = 0; at < frame.length; at += 1000) {
      server.say(frame.subarray(at, at + 1000));
      if (at % 100_000 === 0) await new Promise((done) => setImmediate(done));
    }
    const got = await client.until((frames) => frames.length > 0, 60_000);
    expect(Buffer.concat(got).equals(frame)).toBe(true);
    client.close();
  });

  it.each<[string, string]>([
    ['an error', 'E'],
    ['a setting', 'S'],
    ['a row description', 'T'],
  ])('and longer than the limit ends the session before it is kept: %s', async (_name, type) => {
    const session = await begin();
    session.server.say(Buffer.from([type.charCodeAt(0), 0, 0x80, 0, 0]), Buffer.alloc(1000));
    await expectEnd(session, '54000');
  });
});

describe('what came before it counts', () => {
  it('where a bad length stands behind a whole answer, in one chunk', async () => {
    const session = await begin();
    const bad = Buffer.from([0x44, 255, 255, 255, 254]);
    between.change = (bytes) => (bytes[0] === 0x54 ? Buffer.concat([bytes, bad]) : bytes);
    session.client.send(serialize.query("SELECT 'before a bad length'"));
    const frames = await session.client.until(() => false);
    expect(typesOf(frames)).toBe('TDCZE');
    expect(decodeErrorFields(frames[4] ?? Buffer.alloc(5))).toMatchObject({ S: 'FATAL', C: '08P01' });
    expect(await outcomeOf("SELECT 'before a bad length'")).toMatchObject({ outcome: 'executed', rows: 1 });
  });

  it('where it stands in the middle of an answer, whose outcome nobody knows', async () => {
    const session = await begin();
    between.change = (bytes) => {
      if (bytes[0] !== 0x54) return bytes;
      const complete = bytes.indexOf(Buffer.from('SELECT 1\0')) - 5;
      return Buffer.concat([bytes.subarray(0, complete), Buffer.from([0x44, 255, 255, 255, 254])]);
    };
    session.client.send(serialize.query("SELECT 'in the middle'"));
    const frames = await session.client.until(() => false);
    expect(typesOf(frames)).toBe('TDE');
    expect(await outcomeOf("SELECT 'in the middle'")).toMatchObject({ outcome: 'unknown', rows: 1 });
  });
});

describe('a server that goes', () => {
  it.each<[string, (socket: Socket) => void]>([
    ['resets the connection', (socket) => socket.resetAndDestroy()],
    ['ends its side', (socket) => socket.end()],
  ])('in the middle of a result leaves an unknown outcome: %s', async (how, leave) => {
    const sql = `SELECT 'goes', '${how}'`;
    const session = await begin();
    between.change = (bytes) => {
      if (bytes[0] !== 0x54) return bytes;
      setTimeout(() => leave(session.server.socket), 100);
      return bytes.subarray(0, bytes.length - 10);
    };
    session.client.send(serialize.query(sql));
    await expectEnd(session, '08006');
    expect(await outcomeOf(sql)).toMatchObject({ outcome: 'unknown' });
  });

  it.each<[string, (socket: Socket) => void]>([
    ['resets the connection', (socket) => socket.resetAndDestroy()],
    ['ends its side', (socket) => socket.end()],
  ])('while the session is idle ends it: %s', async (_how, leave) => {
    const session = await begin();
    leave(session.server.socket);
    await expectEnd(session, '08006');
  });
});

describe('messages that are cut short', () => {
  it.each<[string, Buffer]>([
    ['a setting without a value', B('S', 'TimeZone')],
    ['a setting without anything', B('S')],
    ['a notice without an end', B('N', 'SNOTICE\0Mno end')],
    ['an error without an end', B('E', 'SERROR\0C22000\0Mno end')],
    ['a notification without a channel', B('A', '\0\0')],
  ])('go on as they are: %s', async (_name, frame) => {
    const { client, server } = await begin();
    server.say(frame);
    expect(await client.until((frames) => frames.length > 0)).toEqual([frame]);
    client.send(QUERY);
    expect(typesOf(await client.ready())).toBe('TDCZ');
    client.close();
  });

  it('a tag without an end is the outcome all the same', async () => {
    const sql = "SELECT 'cut tag'";
    const { client } = await begin();
    const answer = Buffer.concat([B('T', '\0\0'), B('C', 'SELECT 7'), B('Z', 'I')]);
    between.change = (bytes) => (bytes[0] === 0x54 ? answer : bytes);
    client.send(serialize.query(sql));
    expect(Buffer.concat(await client.ready()).equals(answer)).toBe(true);
    expect(await outcomeOf(sql)).toMatchObject({ outcome: 'executed' });
    client.close();
  });
});

describe('start-up with a server that lies', () => {
  it('about the password: its signature is checked', async () => {
    between.change = (bytes) => {
      const at = bytes.indexOf('v=');
      if (bytes[0] === 0x52 && at > 0) bytes[at + 2] = bytes[at + 2] === 0x41 ? 0x42 : 0x41;
      return bytes;
    };
    expect((await failure(connect())).message).toMatch(/signature/i);
  });

  const kind = (value: number, rest = '') => B('R', `\0\0\0${String.fromCharCode(value)}${rest}`);
  const OK = kind(0);
  const SASL = kind(10, 'SCRAM-SHA-256\0\0');
  const say =
    (...bytes: Buffer[]) =>
    (socket: Socket) => {
      socket.write(Buffer.concat(bytes));
    };
  const PARAMETERS = [B('S', 'client_encoding\0UTF8\0'), B('S', 'standard_conforming_strings\0on\0')];
  /** Lets the proxy in, without a report of search_path as servers before 18 do, and says this to its question. */
  const answers =
    (...bytes: Buffer[]) =>
    (socket: Socket) => {
      socket.write(Buffer.concat([OK, ...PARAMETERS, B('K', '\0\0\0\x01\0\0\0\x02'), B('Z', 'I')]));
      socket.on('data', () => socket.write(Buffer.concat(bytes)));
    };

  it.each<[string, (socket: Socket) => void]>([
    ['rubbish', say(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))],
    ['a message of length 0', say(Buffer.from([0x52, 0, 0, 0, 0]))],
    ['an authentication message without a kind', say(B('R'))],
    ['an unknown kind of authentication', say(kind(7))],
    ['SASL without a mechanism', say(kind(10, '\0'))],
    ['SASL that continues before it began', say(kind(11, 'r=x'))],
    ['SASL that is broken off', say(SASL, OK, ...PARAMETERS, B('S', 'search_path\0public\0'), B('Z', 'I'))],
    ['another nonce', say(SASL, kind(11, 'r=x,s=AAAA,i=4096'))],
    ['a password in clear', say(kind(3))],
    ['a short key', say(OK, B('K', '\0'), B('Z', 'I'))],
    ['an endless message', say(Buffer.from([0x53, 127, 255, 255, 255]))],
    ['nothing', () => {}],
    ['its end', (socket) => socket.end()],
    ['a reset', (socket) => socket.resetAndDestroy()],
    ['an error without fields', say(B('E'))],
    ['another encoding', say(OK, B('S', 'client_encoding\0BIG5\0'), B('S', 'search_path\0x\0'), B('Z', 'I'))],
    ['rubbish to our first question', answers(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))],
    ['a short row to our first question', answers(B('D', '\0'))],
    ['an error to our first question', answers(B('E', 'SERROR\0C42501\0Mno\0\0'), B('Z', 'I'))],
    ['nothing to our first question', answers()],
  ])('says %s', async (_name, script) => {
    between.script = script;
    const before = between.sessions.length;
    const error = await failure(connect());
    expect(error.message).not.toBe('');
    expect(error.name).toBe('UpstreamRefused');
    expect(between.sessions.length).toBe(before + 1);
    await eventually(
      'the upstream connection ends',
      () => between.sessions.at(-1)?.socket.destroyed === true,
    );
  });
});
