import { connect as connectTls } from 'node:tls';
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeErrorFields, encodeFrame } from '../../src/protocol/backend.ts';
import { initialResponse, logInRaw, proof } from '../proxy/scram-client.ts';
import { Bytes, eventually, expectServed, framesOf, SSL_REQUEST, startup, TLS } from '../proxy/support.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    sample: 'CREATE TABLE notes (id int, body text); CREATE TABLE old (id int)',
    config: (config) => ({
      ...config,
      listen: { ...config.listen, tls: { cert: TLS.cert, key: TLS.key, required: false, clientCa: null } },
    }),
  });
});
afterAll(() => stack.close());

const Q = serialize.query;
const P = (text: string) => serialize.parse({ name: '', text, types: [] });
const B = serialize.bind({});
const E = serialize.execute({});
const S = serialize.sync();
const copyData = (text: string) => serialize.copyData(Buffer.from(text));

/** Everything that comes after these bytes and the end of the client's side, to the end of the server's. */
async function lastAnswers(url: string, bytes: readonly Buffer[]): Promise<string[]> {
  const { client } = await logInRaw(url, 0x30000);
  client.socket.end(Buffer.concat(bytes));
  return framesOf(await client.toEnd(30_000)).map(readable);
}

/** Errors without the places in the server's source. */
function readable(frame: Buffer): string {
  const type = String.fromCharCode(frame[0] ?? 0);
  if (type !== 'E') return `${type} ${frame.toString('latin1', 5)}`;
  const { S: severity, C: code, M: message } = decodeErrorFields(frame);
  return `E ${severity} ${code} ${message}`;
}

describe('a client that ends its sending side', () => {
  it.each<[string, readonly Buffer[]]>([
    ['after a statement', [Q('SELECT 1')]],
    ['after a statement and Terminate', [Q('SELECT 1'), serialize.end()]],
    ['after one that takes its time', [Q("SELECT 'slow' FROM pg_sleep(0.5)")]],
    ['after several', [Q('SELECT 1'), Q('SELECT 2; SELECT 3'), Q('SELECT 4')]],
    ['after a write', [Q("INSERT INTO notes VALUES (1, 'x')"), serialize.end()]],
    ['after a group', [P('SELECT 1'), B, E, S]],
    ['after a group and Terminate', [P('SELECT 1'), B, E, S, serialize.end()]],
    ['in the middle of a group', [P('SELECT 1'), B, E]],
    ['after a Parse that fails', [P('SELECT no_such_thing()')]],
    ['in the middle of a message', [Q('SELECT 1'), Q('SELECT 2').subarray(0, 8)]],
    ['after an error', [Q('SELECT 1/0')]],
    ['in a transaction', [Q('BEGIN'), Q("INSERT INTO notes VALUES (2, 'lost')")]],
    ['after COPY', [Q('COPY notes FROM STDIN'), copyData('3\tthree\n'), serialize.copyDone()]],
    ['in the middle of COPY', [Q('COPY notes FROM STDIN'), copyData('4\tlost\n')]],
    ['after a big result', [Q("SELECT repeat('x', 1000) FROM generate_series(1, 900)")]],
    ['after nothing', []],
  ])('%s gets what it gets from the server', async (_name, bytes) => {
    const direct = await lastAnswers(stack.directUrl, bytes);
    expect(await lastAnswers(stack.agentUrl, bytes)).toEqual(direct);
  });

  it('loses what was not committed, as on the server, and nothing else', async () => {
    const { rows } = await stack.shop.query('SELECT DISTINCT id FROM notes ORDER BY id');
    expect(rows.map(({ id }: { id: number }) => id)).toEqual([1, 3]);
  });

  it('over TLS gets its results too', async () => {
    const { client } = await overTls();
    client.end(Q("SELECT 'sealed' FROM pg_sleep(0.3)"));
    const all: Buffer[] = [];
    for await (const chunk of client) all.push(chunk as Buffer);
    expect(framesOf(Buffer.concat(all)).map((frame) => String.fromCharCode(frame[0] ?? 0))).toEqual([
      'T',
      'D',
      'C',
      'Z',
    ]);
  });

  it('after a statement that needs approval hears that it did not run, and where to ask again', async () => {
    const answers = await lastAnswers(stack.agentUrl, [Q('DROP TABLE old')]);
    expect(answers.at(-1)).toMatch(/^E FATAL 57014 countersign: not run: it needs approval/);
    const request = await stack.api.waitFor('DROP TABLE old');
    await stack.api.verdict(request.id, 'approve');
    // The same statement, sent again, attaches to the request.
    const { client } = await logInRaw(stack.agentUrl, 0x30000);
    client.send(Q('DROP TABLE old'));
    let frame = await client.frame(15_000);
    while (frame[0] === 0x4e) frame = await client.frame(15_000);
    expect(readable(frame)).toBe('C DROP TABLE\0');
    client.close();
  });

  it('behind a statement that needs approval with Terminate leaves the request open, and waits for nobody', async () => {
    const { client } = await logInRaw(stack.agentUrl, 0x30000);
    client.send(Q('CREATE TABLE later (id int)'), serialize.end());
    await client.toEnd(15_000);
    const request = await stack.api.waitFor('CREATE TABLE later');
    await eventually('its outcome is recorded', async () => {
      const { rows } = await stack.audit.query(
        "SELECT o.outcome FROM audit.entry i JOIN audit.entry o USING (session_id, statement_no) WHERE i.kind = 'intent' AND o.kind = 'outcome' AND i.sql LIKE 'CREATE TABLE later%'",
      );
      return rows.length === 1 && rows[0].outcome === 'withdrawn';
    });
    await stack.api.verdict(request.id, 'approve');
    await expectServed(stack.agentUrl);
    expect((await stack.shop.query("SELECT to_regclass('later') AS it")).rows[0].it).toBeNull();
  });
});

describe('a length that no message can have', () => {
  it('ends the session after the answers to what was sent before', async () => {
    const bad = Buffer.from([0x51, 0, 0, 0, 2]);
    const sent = [Q('SELECT 1'), Q('SELECT 2 FROM pg_sleep(0.2)'), bad];
    const direct = await lastAnswers(stack.directUrl, sent);
    const proxied = await lastAnswers(stack.agentUrl, sent);
    expect(direct.length).toBeGreaterThan(0);
    expect(proxied).toEqual(direct);
  });
});

/** A session over TLS, logged in. */
async function overTls() {
  const plain = await Bytes.connect(stack.agentUrl);
  plain.send(SSL_REQUEST);
  expect((await plain.take(1)).toString()).toBe('S');
  plain.socket.removeAllListeners('data');
  const client = connectTls({ socket: plain.socket, ca: TLS.ca, servername: 'db.example' });
  await new Promise<void>((done, failed) => client.once('secureConnect', done).once('error', failed));
  const bytes = new Bytes(client);
  const { username, password, pathname } = new URL(stack.agentUrl);
  bytes.send(
    startup([
      ['user', username],
      ['database', pathname.slice(1)],
    ]),
  );
  await bytes.frame();
  bytes.send(initialResponse('n,,n=,r=abcdef'));
  const challenge = (await bytes.frame()).toString('utf8', 9);
  bytes.send(encodeFrame(0x70, Buffer.from(proof(password, 'n=,r=abcdef', challenge))));
  while ((await bytes.frame(15_000))[0] !== 0x5a);
  client.removeAllListeners('data');
  return { client };
}
