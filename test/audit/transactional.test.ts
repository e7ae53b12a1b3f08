import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTransactionalAppender } from '../../src/audit/log/transactional.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { type AuditDatabase, createAuditDatabase, event, makeSigner } from './support.ts';

let database: AuditDatabase;
const signer = makeSigner();

beforeAll(async () => {
  database = await createAuditDatabase();
});
afterAll(async () => {
  await database.dropAll();
});

async function asWriter<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(database.writerUrl);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

const kinds = async (stream: string) =>
  (await database.query('SELECT seq::int, kind FROM audit.entry WHERE stream = $1 ORDER BY seq', [stream]))
    .rows;

test('entries are there if and only if the transaction commits, and a rollback leaves no gap', async () => {
  const { append, stream } = createTransactionalAppender({ schema: 'audit', signer });
  await asWriter(async (client) => {
    const opened = event('request_opened', { requestId: 'req_1', detail: { sql: 'DROP TABLE x' } });
    await client.query('BEGIN');
    await append(client, [opened]);
    await client.query('ROLLBACK');
    expect(await kinds(stream)).toEqual([]);
    await client.query('BEGIN');
    await append(client, [opened, event('verdict', { requestId: 'req_1' })]);
    await append(client, [event('request_denied', { requestId: 'req_1' })]);
    await client.query('COMMIT');
    await client.query('BEGIN');
    await append(client, [event('request_expired')]);
    await client.query('ROLLBACK');
    await client.query('BEGIN');
    await append(client, [event('request_ended', { requestId: 'req_1' })]);
    await client.query('COMMIT');
  });
  expect(await kinds(stream)).toEqual([
    { seq: 1, kind: 'log_start' },
    { seq: 2, kind: 'key' },
    { seq: 3, kind: 'request_opened' },
    { seq: 4, kind: 'verdict' },
    { seq: 5, kind: 'request_denied' },
    { seq: 6, kind: 'request_ended' },
  ]);
});

test('a stream says where it ends, and takes nothing afterwards', async () => {
  const { append, stream, end } = createTransactionalAppender({ schema: 'audit', signer });
  await asWriter(async (client) => {
    await client.query('BEGIN');
    await append(client, [event('verdict', { requestId: 'req_1' })]);
    // The end waits for the transaction that is under way.
    const ending = end(database.writerUrl);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await client.query('COMMIT');
    await ending;
    await expect(append(client, [event('verdict')])).rejects.toMatchObject({ code: 'audit_closed' });
  });
  expect(await kinds(stream)).toEqual([
    { seq: 1, kind: 'log_start' },
    { seq: 2, kind: 'key' },
    { seq: 3, kind: 'verdict' },
    { seq: 4, kind: 'log_stop' },
  ]);
  const { rows } = await database.query('SELECT state FROM audit.integrity WHERE stream = $1', [stream]);
  expect(rows).toEqual([{ state: 'closed' }]);
  await end(database.writerUrl);
  expect(await kinds(stream)).toHaveLength(4);
});

test('a stream that nothing was written to is none, and has no end', async () => {
  const { stream, end } = createTransactionalAppender({ schema: 'audit', signer });
  await end(database.writerUrl);
  expect(await kinds(stream)).toEqual([]);
  const away = createTransactionalAppender({ schema: 'audit', signer });
  await expect(away.end('postgres://nobody:x@127.0.0.1:1/none')).rejects.toThrow();
});

test('transactions of one process at once, the very first included, make one chain', async () => {
  const { append, stream } = createTransactionalAppender({ schema: 'audit', signer });
  await Promise.all(
    Array.from({ length: 8 }, (_, worker) =>
      asWriter(async (client) => {
        for (let i = 0; i < 5; i += 1) {
          await client.query('BEGIN');
          await append(client, [event('verdict', { requestId: `req_${worker}_${i}` })]);
          await client.query(i === 3 ? 'ROLLBACK' : 'COMMIT');
        }
      }),
    ),
  );
  expect((await kinds(stream)).length).toBe(2 + 8 * 4);
  expect((await database.query('SELECT * FROM audit.verify() WHERE NOT ok')).rows).toEqual([]);
  const keys = { keys: [signer.publicJwk] };
  expect(await verifyLog({ url: database.auditorUrl, schema: 'audit', keys })).toMatchObject({ whole: true });
});
