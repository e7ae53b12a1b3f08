import { spawn } from 'node:child_process';
import pg from 'pg';
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../proxy/support.ts';
import { hasPsql, psql } from '../support/psql.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { playSteps, readable, type Step } from '../support/wire-script.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    sample: `
      CREATE TABLE notes (id int, body text);
      CREATE TABLE kept (id int, body text);
      INSERT INTO kept SELECT i, 'body ' || i FROM generate_series(1, 50) i`,
  });
});
afterAll(() => stack.close());

const Q = serialize.query;
const P = (text: string, name = '') => serialize.parse({ name, text, types: [] });
const B = (statement = '', portal = '') => serialize.bind({ statement, portal });
const D = serialize.describe({ type: 'P' });
const E = serialize.execute({});
const S = serialize.sync();
const H = serialize.flush();
const copyData = (data: string | Buffer) => serialize.copyData(Buffer.from(data));
const copyDone = serialize.copyDone();
const IN = 'COPY notes FROM STDIN';

/** One row (id, body) of COPY's binary format, with the header and the trailer that make it whole. */
function binary(id: number, body: string): Buffer {
  const head = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);
  const row = Buffer.alloc(2 + 8 + 4);
  row.writeInt16BE(2, 0);
  row.writeInt32BE(4, 2);
  row.writeInt32BE(id, 6);
  row.writeInt32BE(Buffer.byteLength(body), 10);
  return Buffer.concat([head, row, Buffer.from(body), Buffer.from([0xff, 0xff])]);
}

const SCRIPTS: Record<string, readonly Step[]> = {
  'text, data after CopyInResponse': [
    [0, Q(IN)],
    [1, copyData('1\tone\n'), copyData('2\tt'), copyData('wo\n'), copyDone],
  ],
  'text, all sent ahead': [[1, Q(IN), copyData('1\tone\n'), copyDone]],
  'CSV with a header': [
    [
      1,
      Q("COPY notes FROM STDIN (FORMAT csv, HEADER true, NULL 'x')"),
      copyData('id,body\n1,"a,b"\n2,x\n'),
      copyDone,
    ],
  ],
  binary: [[1, Q('COPY notes FROM STDIN (FORMAT binary)'), copyData(binary(7, 'seven')), copyDone]],
  'binary, cut in single bytes': [
    [
      1,
      Q('COPY notes FROM STDIN (FORMAT binary)'),
      ...[...binary(8, 'eight')].map((byte) => copyData(Buffer.of(byte))),
      copyDone,
    ],
  ],
  'binary that is none': [[1, Q('COPY notes FROM STDIN (FORMAT binary)'), copyData('rubbish'), copyDone]],
  CopyFail: [[1, Q(IN), copyData('1\tone\n'), serialize.copyFail('changed my mind')]],
  'CopyFail after CopyInResponse': [
    [0, Q(IN)],
    [1, serialize.copyFail('changed my mind')],
  ],
  'no data': [[1, Q(IN), copyDone]],
  'data that do not fit, and what follows': [[2, Q(IN), copyData('x\tbad\n'), copyDone, Q('SELECT 1')]],
  'a late CopyData and CopyDone': [[2, Q('SELECT 1'), copyData('1\tx\n'), copyDone, Q('SELECT 2')]],
  extended: [[1, P(IN), B(), D, E, copyData('1\tone\n'), copyDone, S]],
  'extended, twice, from one prepared statement': [
    [1, P(IN, 'load'), S],
    [1, B('load'), E, copyData('1\tone\n'), copyDone, S],
    [1, B('load'), E, copyData('2\ttwo\n'), copyDone, S],
  ],
  'extended, with Flush': [
    [0, P(IN), B(), E, H],
    [1, copyData('1\tone\n'), H, copyDone, S],
  ],
  'extended that fails': [[1, P(IN), B(), E, copyData('x\tbad\n'), copyDone, S]],
  'in the middle of a pipeline': [
    [
      3,
      P('SELECT 1'),
      B(),
      E,
      S,
      P(IN),
      B(),
      E,
      copyData('1\tone\n'),
      copyDone,
      S,
      P('SELECT count(*) FROM notes'),
      B(),
      E,
      S,
    ],
  ],
  'in the middle of a group': [
    [
      1,
      P('SELECT 1'),
      B(),
      E,
      P(IN),
      B(),
      E,
      copyData('1\tone\n'),
      copyDone,
      P('SELECT count(*) FROM notes'),
      B(),
      E,
      S,
    ],
  ],
  'behind an error in its group': [
    [2, P('SELECT 1/0'), B(), E, P(IN), B(), E, copyData('1\tone\n'), copyDone, S, Q('SELECT 1')],
  ],
  'two in one string': [
    [1, Q(`${IN}; ${IN}`), copyData('1\tone\n'), copyDone, copyData('2\ttwo\n'), copyDone],
  ],
  'among others in one string': [
    [1, Q(`SELECT 1; ${IN}; SELECT count(*) FROM notes`), copyData('1\tone\n'), copyDone],
  ],
  'in a transaction that is rolled back': [
    [1, Q('BEGIN')],
    [1, Q(IN), copyData('1\tone\n'), copyDone],
    [1, Q('ROLLBACK')],
  ],
};
const AFTER: Step = [1, Q('SELECT * FROM notes ORDER BY id LIMIT 100')];

describe('COPY FROM STDIN', () => {
  beforeEach(() => stack.shop.query('TRUNCATE notes'));

  it.each(Object.keys(SCRIPTS))('is byte for byte what the server says: %s', async (name) => {
    const steps = [...(SCRIPTS[name] ?? []), AFTER];
    const direct = await playSteps(stack.directUrl, steps, UTF8);
    await stack.shop.query('TRUNCATE notes');
    expect(await playSteps(stack.agentUrl, steps, UTF8)).toEqual(direct);
    expect(await stack.api.open()).toEqual([]);
  });

  it('of 64 MiB goes through, and is counted', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    client.send(Q(`${IN} /* big */`));
    const line = `1\t${'x'.repeat(1020)}\n`;
    const chunk = copyData(line.repeat(64));
    for (let i = 0; i < 1024; i++) client.send(chunk);
    client.send(copyDone);
    expect((await client.ready(1, 120_000)).map(readable)).toEqual([
      'G \0\0\x02\0\0\0\0',
      'C COPY 65536\0',
      'Z I',
    ]);
    client.close();
    await eventually('it is recorded', async () => {
      const { rows } = await stack.audit.query(
        "SELECT outcome, bytes::int8 FROM audit.statements WHERE sql LIKE '%/* big */'",
      );
      return rows[0]?.outcome === 'executed' && Number(rows[0].bytes) === 65536 * Buffer.byteLength(line);
    });
  }, 180_000);

  it('is what pg sends, too', async () => {
    const client = new pg.Client(stack.agentUrl);
    await client.connect();
    const { connection } = client as unknown as { connection: CopyConnection };
    // What pg-copy-streams does, in short.
    await new Promise<void>((done, failed) => {
      const query = new pg.Query(IN) as unknown as CopyQuery;
      query.handleCopyInResponse = () => {
        connection.sendCopyFromChunk(Buffer.from('1\tfrom pg\n'));
        connection.endCopyFrom();
      };
      query.callback = (error) => (error ? failed(error) : done());
      client.query(query as unknown as pg.Submittable);
    });
    expect((await client.query('SELECT * FROM notes LIMIT 5')).rows).toEqual([{ id: 1, body: 'from pg' }]);
    await client.end();
  });

  it.runIf(hasPsql())('is what psql sends, too', async () => {
    const child = spawn('psql', [stack.agentUrl, '-X', '-q', '-c', IN], { stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.end('1\tfrom psql\n2\tagain\n');
    expect(await new Promise((done) => child.on('close', done))).toBe(0);
    const { rows } = await stack.shop.query('SELECT body FROM notes ORDER BY id');
    expect(rows.map(({ body }: { body: string }) => body)).toEqual(['from psql', 'again']);
  });
});

type CopyConnection = { sendCopyFromChunk: (chunk: Buffer) => void; endCopyFrom: () => void };
type CopyQuery = { handleCopyInResponse: () => void; callback: (error: Error | null) => void };

/** So that both sides are started alike. */
const UTF8 = [['client_encoding', 'UTF8']] as const;

describe('COPY TO STDOUT', () => {
  /** What the server says to these bytes, and what comes through the proxy once a person has approved. */
  async function approved(sql: string, frames: readonly Buffer[]) {
    const direct = await RawClient.connect(stack.directUrl);
    direct.send(...frames);
    const expected = await direct.ready(
      frames.filter((frame) => 'QS'.includes(String.fromCharCode(frame[0] ?? 0))).length,
    );
    direct.close();
    const client = await RawClient.connect(stack.agentUrl);
    client.send(...frames);
    const request = await stack.api.waitFor(sql);
    expect(request.class).toBe('export');
    await stack.api.verdict(request.id, 'approve');
    const got = await client.ready(expected.filter((frame) => frame[0] === 0x5a).length);
    client.close();
    return { expected: expected.map(readable), got: got.filter((frame) => frame[0] !== 0x4e).map(readable) };
  }

  it.each<[string, (sql: string) => readonly Buffer[]]>([
    ['COPY kept TO STDOUT', (sql) => [Q(sql)]],
    ['COPY kept TO STDOUT (FORMAT binary)', (sql) => [Q(sql)]],
    ['COPY (SELECT id FROM kept) TO STDOUT (FORMAT csv, HEADER)', (sql) => [Q(sql)]],
    ['COPY kept (body) TO STDOUT', (sql) => [P(sql), B(), D, E, S]],
    ['COPY kept (id) TO STDOUT (FORMAT binary)', (sql) => [P(sql), B(), E, S]],
    ['COPY kept (body, id) TO STDOUT', (sql) => [P('SELECT 1'), B(), E, S, P(sql), B(), E, S, Q('SELECT 2')]],
    ['SELECT 1; COPY kept (id, body) TO STDOUT', (sql) => [Q(sql), Q('SELECT 3')]],
  ])('is held, and once approved is byte for byte what the server sends: %s', async (sql, framesOf) => {
    const { expected, got } = await approved(sql, framesOf(sql));
    expect(expected.filter((frame) => frame.startsWith('d')).length).toBeGreaterThan(49);
    expect(got).toEqual(expected);
    await eventually('it is recorded as an export', async () => {
      const { rows } = await stack.audit.query(
        "SELECT rows::int FROM audit.exports WHERE outcome = 'executed' AND sql = $1",
        [sql.replace('SELECT 1; ', '').trim()],
      );
      return rows.length === 1 && rows[0].rows >= 50;
    });
  });

  it('that is denied leaves the connection in step', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    client.send(Q('COPY kept TO STDOUT -- no'));
    const request = await stack.api.waitFor('COPY kept TO STDOUT -- no');
    await stack.api.verdict(request.id, 'deny');
    const types = (frames: readonly Buffer[]) =>
      frames.map((frame) => String.fromCharCode(frame[0] ?? 0)).join('');
    expect(types(await client.ready())).toMatch(/^N+EZ$/);
    client.send(Q(IN), copyData('1\tone\n'), copyDone, Q('SELECT 1'));
    expect(types(await client.ready(2))).toBe('GCZTDCZ');
    client.close();
  });

  it.runIf(hasPsql())('is what psql reads, too', async () => {
    const reader = psql(stack.agentUrl, 'COPY (SELECT id FROM kept WHERE id < 4 ORDER BY id) TO STDOUT');
    const request = await stack.api.waitFor('WHERE id < 4');
    await stack.api.verdict(request.id, 'approve');
    expect(await reader.done).toMatchObject({ code: 0, stdout: '1\n2\n3\n' });
  });
});
