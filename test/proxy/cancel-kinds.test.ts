/** Every position in which a cancel can strike, the same on the server itself and through the proxy. */
import type { Socket } from 'node:net';
import pg from 'pg';
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makePolicy } from '../../src/config/policy.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { CancelClient, sendCancel, simple } from './cancel-client.ts';
import { eventually } from './support.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    config: (config) => ({
      ...config,
      policy: makePolicy([{ name: 'exports', match: { class: ['export'] }, decision: 'allow' }]),
    }),
  });
}, 120_000);
afterAll(() => stack.close());

const LONG_MS = 60_000;
const SLOW = 'SELECT count(*) FROM generate_series(1, 30000) a, generate_series(1, 30000) b';
const parse = (text: string) => serialize.parse({ text, name: '', types: [] });
const RUN = [serialize.bind({}), serialize.execute({})];

const COPY_IN = 'COPY customers FROM STDIN';
const ROWS = Buffer.from(
  Array.from(
    { length: 2_000 },
    (_, i) => `${900_000 + i}\tx\t${i}@cancel.example\tAT\tconsumer\t2024-01-01\n`,
  ).join(''),
);

type Scenario = {
  readonly name: string;
  readonly before?: readonly string[];
  readonly frames: readonly Buffer[];
  /** What the server must be at when the cancel is sent; default: `SLOW`. */
  readonly at?: string;
  readonly ready: number;
  readonly after?: (client: CancelClient) => void;
};

const SCENARIOS: readonly Scenario[] = [
  { name: 'a simple statement', frames: [simple(SLOW)], ready: 1 },
  { name: 'an extended statement', frames: [parse(SLOW), ...RUN, serialize.sync()], ready: 1 },
  {
    name: 'a statement in a string of several',
    frames: [simple(`SELECT 1; ${SLOW}; SELECT 2`)],
    at: `SELECT 1; ${SLOW}; SELECT 2`,
    ready: 1,
  },
  {
    name: 'a pipeline: the rest of its group is skipped, the next group runs',
    frames: [
      parse(SLOW),
      ...RUN,
      parse('SELECT 1'),
      ...RUN,
      serialize.sync(),
      parse('SELECT 2'),
      ...RUN,
      serialize.sync(),
    ],
    ready: 2,
  },
  { name: 'two simple statements, sent together', frames: [simple(SLOW), simple('SELECT 2')], ready: 2 },
  { name: 'a transaction', before: ['BEGIN', 'SELECT 1'], frames: [simple(SLOW)], ready: 1 },
  {
    name: 'a transaction with a savepoint',
    before: ['BEGIN', 'SAVEPOINT s'],
    frames: [simple(SLOW), simple('ROLLBACK TO s'), simple('SELECT 3'), simple('COMMIT')],
    ready: 4,
  },
  {
    name: 'COPY OUT',
    frames: [simple(`COPY (${SLOW}) TO STDOUT`)],
    at: `COPY (${SLOW}) TO STDOUT`,
    ready: 1,
  },
  {
    // The server looks for a cancel when it has read a row.
    name: 'COPY IN, at the next row',
    frames: [simple(COPY_IN), serialize.copyData(Buffer.from(''))],
    at: COPY_IN,
    ready: 1,
    after: (client) => client.send(serialize.copyData(ROWS), serialize.copyDone()),
  },
];

async function played(
  url: string,
  { before = [], frames, at = SLOW, ready, after }: Scenario,
  how = sendWhole,
) {
  const client = await CancelClient.open(url);
  const seen: string[] = [];
  for (const sql of before) seen.push(...(await client.query(sql)));
  client.send(...frames);
  await eventually('the statement runs', () => running(at), LONG_MS);
  await sendCancel(url, client.packet, how);
  after?.(client);
  seen.push(...(await client.answer(ready)));
  seen.push(...(await client.query('SELECT 8')), ...(await client.query('ROLLBACK')));
  client.close();
  return seen;
}

async function running(sql: string): Promise<boolean> {
  const { rows } = await stack.shop.query(
    "SELECT FROM pg_stat_activity WHERE state = 'active' AND query = $1 AND datname = current_database()",
    [sql],
  );
  return rows.length > 0;
}

/** What the driver's types do not tell. */
type Canceller = {
  readonly on: (event: 'connect', then: () => void) => void;
  readonly connect: (port: number, host: string) => void;
  readonly cancel: (processId: number, key: number) => void;
};

const sendWhole = (socket: Socket, bytes: Buffer): void => void socket.write(bytes);

describe('a cancel in the middle of', () => {
  it.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))(
    '%s',
    async (_name, scenario) => {
      const direct = await played(stack.directUrl, scenario);
      expect(direct).toContain('E:57014');
      expect(await played(stack.agentUrl, scenario)).toEqual(direct);
    },
    120_000,
  );
});

describe('a cancel request that comes', () => {
  const plain: Scenario = { name: '', frames: [simple(SLOW)], ready: 1 };
  const stopped = ['T', 'E:57014', 'Z:I', 'T', 'D:8', 'C', 'Z:I', 'N', 'C', 'Z:I'];

  it.each<[string, (socket: Socket, bytes: Buffer) => Promise<void> | void]>([
    [
      'byte by byte',
      async (socket, bytes) => {
        for (const byte of bytes) {
          socket.write(Buffer.of(byte));
          await new Promise((done) => setTimeout(done, 5));
        }
      },
    ],
    ['with more behind it', (socket, bytes) => void socket.write(Buffer.concat([bytes, Buffer.alloc(1000)]))],
    ['and ends its own side', (socket, bytes) => void socket.end(bytes)],
  ])(
    '%s',
    async (_name, how) => {
      expect(await played(stack.agentUrl, plain, how)).toEqual(stopped);
    },
    120_000,
  );

  it('and whose socket is destroyed at once', async () => {
    const client = await CancelClient.open(stack.agentUrl);
    client.send(simple(SLOW));
    await eventually('the statement runs', () => running(SLOW), LONG_MS);
    await sendCancel(stack.agentUrl, client.packet, async (socket, bytes) => {
      await new Promise<void>((done) => socket.write(bytes, () => done()));
      socket.destroy();
    });
    expect(await client.answer()).toContain('E:57014');
    expect(await client.query('SELECT 8')).toContain('D:8');
    client.close();
  }, 120_000);

  it('between two statements of a transaction changes nothing', async () => {
    const client = await CancelClient.open(stack.agentUrl);
    await client.query('BEGIN');
    for (let i = 0; i < 20; i++) {
      await sendCancel(stack.agentUrl, client.packet);
      expect(await client.query(`SELECT ${i}`)).toEqual(['T', `D:${i}`, 'C', 'Z:T']);
    }
    client.close();
  });

  it('a hundred times for one statement stops it, and nothing after it', async () => {
    const client = await CancelClient.open(stack.agentUrl);
    client.send(simple(SLOW));
    await eventually('the statement runs', () => running(SLOW), LONG_MS);
    await Promise.all(Array.from({ length: 100 }, () => sendCancel(stack.agentUrl, client.packet)));
    expect(await client.answer()).toEqual(['T', 'E:57014', 'Z:I']);
    for (let i = 0; i < 5; i++) expect(await client.query('SELECT 8')).toContain('D:8');
    client.close();
  }, 120_000);

  it("is the driver's own", async () => {
    const client = new pg.Client({ connectionString: stack.agentUrl });
    await client.connect();
    const answer = client.query(SLOW).catch((error: pg.DatabaseError) => error.code);
    await eventually('the statement runs', () => running(SLOW), LONG_MS);
    const { processID, secretKey } = client as pg.Client & { processID: number; secretKey: number };
    const other = new pg.Connection() as unknown as Canceller;
    const { hostname, port } = new URL(stack.agentUrl);
    other.on('connect', () => other.cancel(processID, secretKey));
    other.connect(Number(port), hostname);
    expect(await answer).toBe('57014');
    expect((await client.query('SELECT 8 AS n')).rows).toEqual([{ n: 8 }]);
    await client.end();
  }, 120_000);
});

describe('a client that resets its connection', () => {
  const outcomes = async (sql: string) => {
    const { rows } = await stack.audit.query(
      "SELECT o.outcome FROM audit.entry i JOIN audit.entry o USING (session_id, statement_no) WHERE i.kind = 'intent' AND o.kind = 'outcome' AND i.sql = $1",
      [sql],
    );
    return rows.map(({ outcome }: { outcome: string }) => outcome);
  };

  it('does not leave a long read to occupy the server', async () => {
    const sql = `${SLOW} -- reset`;
    const client = await CancelClient.open(stack.agentUrl);
    client.send(simple(sql));
    await eventually('the statement runs', () => running(sql), LONG_MS);
    client.socket.resetAndDestroy();
    await eventually('it is stopped', async () => !(await running(sql)), LONG_MS);
    await eventually(
      'its outcome is recorded',
      async () => (await outcomes(sql)).includes('failed'),
      LONG_MS,
    );
  }, 120_000);

  it.each(['directUrl', 'agentUrl'] as const)(
    'has its write committed all the same, as by %s',
    async (url) => {
      const holder = new pg.Client({ connectionString: stack.shop.url });
      await holder.connect();
      await holder.query('BEGIN; UPDATE customers SET name = name WHERE id = 3');
      const sql = `UPDATE customers SET name = 'from ${url}' WHERE id = 3`;
      const client = await CancelClient.open(stack[url]);
      client.send(simple(sql));
      await eventually('it waits for the lock', () => running(sql), LONG_MS);
      client.socket.resetAndDestroy();
      await new Promise((done) => setTimeout(done, 300));
      expect(await running(sql)).toBe(true);
      await holder.query('COMMIT');
      await holder.end();
      await eventually(
        'it is committed',
        async () => {
          const { rows } = await stack.shop.query('SELECT name FROM customers WHERE id = 3');
          return (rows[0] as { name: string }).name === `from ${url}`;
        },
        LONG_MS,
      );
      if (url === 'agentUrl')
        await eventually(
          'its outcome is recorded',
          async () => (await outcomes(sql)).includes('executed'),
          LONG_MS,
        );
    },
    120_000,
  );
});
