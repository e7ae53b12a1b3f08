/**
 * The way to the database that agents work with is cut, and nothing else: the client hears that its connection is gone,
 * the log says `unknown` where nobody can know and what is known otherwise, and nothing runs twice.
 */
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Jwks } from '../../src/audit/verify/trusted-keys.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { decodeErrorFields } from '../../src/protocol/backend.ts';
import { connectPg } from '../proxy/support.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { superuser } from '../support/postgres.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { printCounts } from './counts.ts';
import { SAMPLE } from './kinds.ts';

const APPLICATION = 'cut-agent';
const PATIENCE = { timeout: 60_000, interval: 100 };
const Q = serialize.query;

let way: FaultProxy;
let auditWay: FaultProxy;
let stack: Stack;
const numbers = { next: 0 };
beforeAll(async () => {
  const { host, port } = superuser();
  way = await startFaultProxy({ target: { host, port } });
  auditWay = await startFaultProxy({ target: { host, port } });
  stack = await startStack({
    sample: SAMPLE,
    limits: { pollMs: 300, cancelMs: 2_000, holdTimeoutMs: 60_000 },
    config: (config) => {
      const audit = new URL(config.audit.url);
      audit.port = String(auditWay.port);
      return {
        ...config,
        upstream: { ...config.upstream, host: way.host, port: way.port },
        audit: { ...config.audit, url: audit.href },
      };
    },
  });
}, 300_000);
afterAll(async () => {
  await stack.close();
  await way.close();
  await auditWay.close();
}, 120_000);

const marker = () => `cut${++numbers.next}x`;
/** A log-in may take longer than its time where many share the machine. */
async function connect(): Promise<RawClient> {
  for (const until = Date.now() + 60_000; ; ) {
    try {
      return await RawClient.connect(stack.agentUrl, { application_name: APPLICATION });
    } catch (error) {
      if (Date.now() > until) throw error;
    }
  }
}
const letters = (frames: readonly Buffer[]) =>
  frames.map(([type]) => String.fromCharCode(type ?? 0)).join('');
/** On the agent's own session: others ask about its statement, too. */
const says = (text: string) => (said: string, _connection: number, opening: string) =>
  opening.includes(APPLICATION) && said.includes(text);
const answers = (place: (answer: string) => number) => (answer: string, opening: string) =>
  opening.includes(APPLICATION) ? place(answer) : -1;
const READY = 'Z\0\0\0\x05';

/** Every frame to the end of the connection. */
const toItsEnd = (client: RawClient) => client.until(() => false, 60_000);
const fieldsOf = (frame: Buffer | undefined) => decodeErrorFields(frame ?? Buffer.alloc(5));
const GONE = { S: 'FATAL', C: '08006', M: 'server closed the connection unexpectedly' };

const marksOf = async (mark: string) =>
  (await stack.shop.query('SELECT count(*)::int AS n FROM marks WHERE mark = $1', [mark])).rows[0]?.n;
const isThere = async (table: string) =>
  (await stack.shop.query('SELECT to_regclass($1) IS NOT NULL AS there', [table])).rows[0]?.there;
const recorded = (mark: string) =>
  stack.audited(
    `SELECT outcome, sqlstate, rows::int AS rows, transaction_status FROM audit.statements
      WHERE sql LIKE '%' || $1 || '%' ORDER BY at, statement_no`,
    [mark],
  );
const outcomesOf = async (mark: string) => (await recorded(mark)).map(({ outcome }) => outcome);
const requestOf = async (mark: string) =>
  (
    await stack.audit.query(
      `SELECT id, state FROM countersign.request WHERE sql LIKE '%${mark}%' ORDER BY id`,
    )
  ).rows;

type Case = {
  readonly cut: (mark: string) => Promise<unknown>;
  readonly run: (client: RawClient, mark: string) => Promise<unknown>;
  /** Frames that the client got, and whether it was told. */
  readonly heard: string;
  readonly outcomes: readonly (string | null)[];
  readonly marks: number;
};

const insert = (mark: string) => `INSERT INTO marks VALUES ('${mark}')`;
const simple = (sql: (mark: string) => string) => async (client: RawClient, mark: string) =>
  client.send(Q(sql(mark)));
const rows = (mark: string) => `SELECT * FROM (VALUES ('one ${mark}'), ('two ${mark}')) AS v (text)`;
const extended = (text: string) => [
  serialize.parse({ text }),
  serialize.bind({}),
  serialize.describe({ type: 'P', name: '' }),
  serialize.execute({}),
];
const beginCopy = async (client: RawClient, mark: string) => {
  client.send(Q(`COPY marks FROM STDIN /* ${mark} */`));
  await client.until((frames) => letters(frames).includes('G'), 60_000);
};
const inTransaction = async (client: RawClient, mark: string) => {
  client.send(Q('BEGIN'));
  await client.ready();
  client.send(Q(insert(mark)));
  await client.ready();
};

const CASES: Record<string, Case> = {
  'before a write arrives': {
    cut: (mark) => way.cutWhen(says(mark), 'before'),
    run: simple(insert),
    ...{ heard: 'E', outcomes: ['unknown'], marks: 0 },
  },
  'before the answer to a write': {
    cut: (mark) => way.cutWhen(says(mark), 'after'),
    run: simple(insert),
    ...{ heard: 'E', outcomes: ['unknown'], marks: 1 },
  },
  'before the answer to a read': {
    cut: (mark) => way.cutWhen(says(mark), 'after'),
    run: simple(rows),
    ...{ heard: 'E', outcomes: ['unknown'], marks: 0 },
  },
  'between CommandComplete and ReadyForQuery': {
    cut: () =>
      way.cutBehind(answers((answer) => (answer.includes('INSERT 0 1') ? answer.indexOf(READY) : -1))),
    run: simple(insert),
    ...{ heard: 'CE', outcomes: ['unknown'], marks: 1 },
  },
  'between an error and ReadyForQuery': {
    cut: () => way.cutBehind(answers((answer) => (answer.includes('22012') ? answer.indexOf(READY) : -1))),
    run: simple((mark) => `INSERT INTO marks SELECT '${mark}' || 1 / (id - id) FROM items WHERE id = 1`),
    ...{ heard: 'EE', outcomes: ['failed'], marks: 0 },
  },
  'between two rows': {
    cut: (mark) =>
      way.cutBehind(
        answers(
          (answer) =>
            answer.indexOf(`one ${mark}`) + `one ${mark}`.length * Number(answer.includes(`one ${mark}`)),
        ),
      ),
    run: simple(rows),
    ...{ heard: 'TDE', outcomes: ['unknown'], marks: 0 },
  },
  'in the middle of a row': {
    cut: (mark) => way.cutBehind(answers((answer) => answer.indexOf(`two ${mark}`))),
    run: simple(rows),
    ...{ heard: 'TD', outcomes: ['unknown'], marks: 0 },
  },
  'among the data of a COPY': {
    cut: async () => {},
    run: async (client, mark) => {
      await beginCopy(client, mark);
      const arrived = way.cutWhen(says(mark), 'before');
      client.send(serialize.copyData(Buffer.from(`${mark}\n`)));
      await arrived;
    },
    // The server takes none of them without the end of the data, which was not sent.
    ...{ heard: 'E', outcomes: ['failed'], marks: 0 },
  },
  'before the answer to the end of a COPY': {
    cut: async () => {},
    run: async (client, mark) => {
      await beginCopy(client, mark);
      const arrived = way.cutWhen(says(mark), 'after');
      client.send(serialize.copyData(Buffer.from(`${mark}\n`)), serialize.copyDone());
      await arrived;
    },
    ...{ heard: 'E', outcomes: ['unknown'], marks: 1 },
  },
  'in a group before its Sync': {
    cut: async () => {},
    run: async (client, mark) => {
      client.send(...extended(insert(mark)), serialize.flush());
      await client.until((frames) => letters(frames).includes('C'), 60_000);
      way.cut();
    },
    ...{ heard: 'E', outcomes: ['unknown'], marks: 0 },
  },
  'in an open transaction': {
    cut: async () => {},
    run: async (client, mark) => {
      await inTransaction(client, mark);
      way.cut();
    },
    // It did run; its transaction, as the status says, was not over.
    ...{ heard: 'E', outcomes: ['executed'], marks: 0 },
  },
  'before the answer to a COMMIT': {
    cut: async () => {},
    run: async (client, mark) => {
      await inTransaction(client, mark);
      const arrived = way.cutWhen(says('COMMIT'), 'after');
      client.send(Q(`COMMIT /* ${mark} */`));
      await arrived;
    },
    ...{ heard: 'E', outcomes: ['executed', 'unknown'], marks: 1 },
  },
};

describe('the way is cut', () => {
  it.each(Object.entries(CASES))(
    '%s',
    async (_where, { cut, run, heard, outcomes, marks }) => {
      const mark = marker();
      const client = await connect();
      const sprung = cut(mark);
      await run(client, mark);
      await sprung;
      const frames = await toItsEnd(client);
      expect(letters(frames)).toBe(heard);
      if (heard.endsWith('E')) expect(fieldsOf(frames.at(-1))).toMatchObject(GONE);
      await expect.poll(() => outcomesOf(mark), PATIENCE).toEqual(outcomes);
      expect(await marksOf(mark)).toBe(marks);
    },
    120_000,
  );
});

/** A hold that its approver has answered; resolves with the client. */
async function hold(mark: string): Promise<{ readonly client: RawClient; readonly id: string }> {
  const client = await connect();
  client.send(Q(`CREATE TABLE ${mark} (n integer)`));
  const { id } = await stack.api.waitFor(mark);
  await client.until((frames) => letters(frames).includes('N'), 60_000);
  return { client, id };
}

const approve = async (id: string) => expect((await stack.api.verdict(id, 'approve')).status).toBe(200);
const consumes = () => {
  let on = 0;
  return (said: string, connection: number) => {
    if (said.includes("SET state = 'consumed'")) on = connection;
    return connection === on && said.includes('COMMIT');
  };
};

describe('the way is cut around a hold', () => {
  it('while the server is asked about it: people are not, and nothing runs', async () => {
    const mark = marker();
    const client = await connect();
    const sprung = way.cutWhen(
      (said, _connection, opening) => !opening.includes(APPLICATION) && said.includes(mark),
      'before',
    );
    client.send(Q(`CREATE TABEL ${mark} (n integer)`));
    await sprung;
    const frames = await toItsEnd(client);
    expect(letters(frames)).toBe('E');
    expect(fieldsOf(frames[0])).toMatchObject(GONE);
    expect(await requestOf(mark)).toEqual([]);
    expect(await recorded(mark)).toEqual([]);
  }, 120_000);

  it('while people are asked: the request stays open, and the statement sent again uses it, once', async () => {
    const mark = marker();
    const { client, id } = await hold(mark);
    way.cut();
    const frames = await toItsEnd(client);
    expect(fieldsOf(frames.at(-1))).toMatchObject(GONE);
    await expect.poll(() => outcomesOf(mark), PATIENCE).toEqual(['withdrawn']);
    expect(await requestOf(mark)).toEqual([{ id, state: 'open' }]);
    await approve(id);
    expect(await isThere(mark)).toBe(false);
    const again = await connectPg({ connectionString: stack.agentUrl });
    await again.query(`CREATE TABLE ${mark} (n integer)`);
    await again.end();
    await expect.poll(() => requestOf(mark), PATIENCE).toEqual([{ id, state: 'executed' }]);
    await expect.poll(() => outcomesOf(mark), PATIENCE).toEqual(['withdrawn', 'executed']);
  }, 120_000);

  it('between the use of an approval and the statement: it is known that it did not run', async () => {
    const mark = marker();
    const { client, id } = await hold(mark);
    const consumed = auditWay.delayWhen(consumes(), 'after');
    await approve(id);
    await consumed;
    way.cut();
    const frames = await toItsEnd(client);
    expect(fieldsOf(frames.at(-1))).toMatchObject(GONE);
    auditWay.resume();
    await expect.poll(() => requestOf(mark), PATIENCE).toEqual([{ id, state: 'failed' }]);
    await expect.poll(() => outcomesOf(mark), PATIENCE).toEqual(['withdrawn']);
    expect(await isThere(mark)).toBe(false);
    await asksAnew(mark, id);
  }, 120_000);

  it.each([
    ['before', false],
    ['after', true],
  ] as const)(
    '%s an approved statement arrives: nobody knows, and it is not sent again',
    async (when, there) => {
      const mark = marker();
      const { client, id } = await hold(mark);
      const sprung = way.cutWhen(says(mark), when);
      await approve(id);
      await sprung;
      const frames = await toItsEnd(client);
      expect(fieldsOf(frames.at(-1))).toMatchObject(GONE);
      await expect.poll(() => requestOf(mark), PATIENCE).toEqual([{ id, state: 'unknown' }]);
      await expect.poll(() => outcomesOf(mark), PATIENCE).toEqual(['unknown']);
      await expect.poll(() => isThere(mark), PATIENCE).toBe(there);
      await asksAnew(mark, id);
    },
    120_000,
  );

  // Nothing is read from a database that must not send on, so nothing is heard of its end before the hold's. The result is
  // too large to be in buffers already.
  it.each([
    ['approve', 'unknown'],
    ['deny', 'denied'],
  ] as const)(
    'while people are asked in the middle of a result, and then %s',
    async (verdict, state) => {
      const mark = marker();
      const client = await connect();
      client.send(Q(`SELECT id, repeat(body, 20000) FROM items WHERE kind = 'new' -- ${mark}`));
      await client.until((frames) => letters(frames).includes('N'), 60_000);
      const { id } = await stack.api.waitFor(mark);
      way.cut();
      expect((await stack.api.verdict(id, verdict)).status).toBe(200);
      const frames = await toItsEnd(client);
      expect(letters(frames)).toMatch(/^N*D*E?$/);
      await expect.poll(() => outcomesOf(mark), PATIENCE).toEqual(['unknown']);
      await expect.poll(() => requestOf(mark), PATIENCE).toEqual([{ id, state }]);
    },
    120_000,
  );

  /** What is over is not used a second time. */
  async function asksAnew(mark: string, before: string): Promise<void> {
    const { client, id } = await hold(mark);
    expect(id).not.toBe(before);
    expect((await stack.api.verdict(id, 'deny')).status).toBe(200);
    await client.ready();
    client.close();
  }
});

describe('the way is silent', () => {
  it('a cancel that is not confirmed ends the session, and nobody knows what ran', async () => {
    const mark = marker();
    const client = await connect();
    const stalled = way.stallWhen(says(mark), 'after');
    client.send(Q(insert(mark)));
    await stalled;
    await client.cancel();
    const frames = await toItsEnd(client);
    way.cut();
    way.resume();
    expect(letters(frames)).toBe('E');
    expect(fieldsOf(frames[0])).toMatchObject({ S: 'FATAL', C: '57P01' });
    await expect.poll(() => outcomesOf(mark), PATIENCE).toEqual(['unknown']);
    expect(await marksOf(mark)).toBe(1);
  }, 120_000);

  it('and while the database is away who comes is told so, and is let in afterwards', async () => {
    way.away();
    await expect(connectPg({ connectionString: stack.agentUrl })).rejects.toMatchObject({ code: '08001' });
    way.resume();
    await (await connect()).close();
  }, 120_000);
});

it('after all that the log is whole, and no statement is without its outcome', async () => {
  const counted = await stack.audited(
    'SELECT outcome, count(*)::int AS n FROM audit.statements WHERE application_name = $1 GROUP BY 1 ORDER BY 1',
    [APPLICATION],
  );
  printCounts(
    `the way to the database was cut ${numbers.next} times; outcomes: ${counted.map(({ outcome, n }) => `${outcome} ${n}`).join(', ')}`,
  );
  expect(counted.map(({ outcome }) => outcome)).not.toContain(null);
  const keys = (await (await fetch(`${stack.httpUrl}/.well-known/jwks.json`)).json()) as Jwks;
  expect(await verifyLog({ url: stack.auditorUrl, schema: 'audit', keys })).toMatchObject({
    findings: [],
    whole: true,
  });
  expect(await stack.audited('SELECT * FROM audit.unapproved_exceptions')).toEqual([]);
}, 120_000);
