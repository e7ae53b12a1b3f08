import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { appendCall, type SignedBatch } from '../../src/audit/shipping/batch.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, event, intent, makeSigner, outcome } from './support.ts';

let database: AuditDatabase;
let writer: pg.Client;
const signer = makeSigner();

beforeAll(async () => {
  database = await createAuditDatabase();
  writer = new pg.Client(database.writerUrl);
  await writer.connect();
});
afterAll(async () => {
  await writer.end();
  await database.dropAll();
});

const newStream = () => makeStream(signer);

async function send(batch: SignedBatch): Promise<{ head_seq: string; head_hash: Buffer } | undefined> {
  const { text, values } = appendCall('audit', batch);
  return (await writer.query({ text, values })).rows[0];
}

const code = (wanted: string) => expect.objectContaining({ code: wanted });

test('a batch continues the head; sent again it changes nothing', async () => {
  const { stream, start, batch } = newStream();
  await send(start());
  const second = batch([
    intent(1, {
      sql: `SELECT 'ü "quoted" \\ back', 'a,b{c}'\n\0`,
      parameters: ['x"y\\', null, '', 'ü'],
      reasons: [],
      relations: ['a.b', 'c."d'],
    }),
    outcome(1),
    event('login_refused', { detail: { user: 'x', why: 'ü ,{}"' } }),
  ]);
  expect(await send(second)).toEqual({ head_seq: '5', head_hash: second.facts.hash });
  expect(await send(second)).toEqual({ head_seq: '5', head_hash: second.facts.hash });
  const { rows } = await database.query(
    'SELECT sql, parameters, reasons, relations FROM audit.statements WHERE stream = $1',
    [stream],
  );
  expect(rows).toEqual([
    {
      sql: `SELECT 'ü "quoted" \\ back', 'a,b{c}'\n\u2400`,
      parameters: ['x"y\\', null, '', 'ü'],
      reasons: [],
      relations: ['a.b', 'c."d'],
    },
  ]);
  expect((await database.query('SELECT * FROM audit.verify() WHERE NOT ok')).rows).toEqual([]);
});

test.each([49, 50, 51, 52, 65_535])(
  'a list of %i is stored, in time that grows with its length alone',
  async (n) => {
    const { start, batch } = newStream();
    await send(start());
    const parameters = Array.from({ length: n }, (_, i) =>
      i % 7 === 3 ? null : `ü\\${'x'.repeat(100)}${i}`,
    );
    // Copying what stands before each takes a hundred times as long for the longest: an agent could stop the log with it.
    await writer.query("SET statement_timeout = '10s'");
    const long = batch([intent(1, { parameters })]);
    expect(await send(long)).toEqual({ head_seq: String(long.facts.toSeq), head_hash: long.facts.hash });
    await writer.query('RESET statement_timeout');
    const { rows } = await database.query(
      'SELECT parameters FROM audit.entries WHERE stream = $1 AND seq = $2',
      [long.facts.stream, String(long.facts.toSeq)],
    );
    expect(rows).toEqual([{ parameters }]);
  },
);

test('gaps, forks, other histories and wrong hashes are refused', async () => {
  const { start, batch } = newStream();
  const first = start();
  await send(first);
  const second = batch([intent(1)]);
  const third = batch([outcome(1)]);
  await expect(send(third)).rejects.toEqual(code('CSA01'));
  await expect(send({ ...second, facts: { ...second.facts, prevHash: randomBytes(32) } })).rejects.toEqual(
    code('CSA02'),
  );
  await expect(send({ ...second, hashes: [randomBytes(32)] })).rejects.toEqual(code('CSA04'));
  await send(second);
  await expect(send({ ...second, hashes: [randomBytes(32)] })).rejects.toEqual(code('CSA02'));
  await expect(send(newStream().batch([intent(1)]))).rejects.toEqual(code('CSA01'));
});
