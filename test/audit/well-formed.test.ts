/** What a writer's password is good for: rows that would stop every reader of the log are refused. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { appendCall, signBatch } from '../../src/audit/shipping/batch.ts';
import { type EntryRow, entryRow } from '../../src/audit/shipping/row.ts';
import { createStreamKey } from '../../src/audit/shipping/stream-key.ts';
import { makeStream } from './stream-maker.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  type Entry,
  event,
  intent,
  makeSigner,
  outcome,
} from './support.ts';

let database: AuditDatabase;
let writer: pg.Client;
const made = makeStream(makeSigner());

beforeAll(async () => {
  database = await createAuditDatabase();
  writer = new pg.Client(database.writerUrl);
  await writer.connect();
  await writer.query(appendCall('audit', made.start()));
});
afterAll(async () => {
  await writer.end();
  await database.dropAll();
});

/** A call of `append` with one row, chained and hashed as it should be, of which something was changed before. */
function call(entry: Entry, change: Partial<EntryRow['row']>, key = createStreamKey()) {
  const one = entryRow(entry, made.stream, made.head().seq + 1n, Buffer.alloc(16, 1));
  const changed = { ...one, row: { ...one.row, ...change } };
  return appendCall('audit', signBatch(made.head(), made.stream, [changed], key));
}

const facts = (text: string) => ({ detail: ['facts', text] });

test.each<[string, Entry, Partial<EntryRow['row']>]>([
  ['a name without its value', intent(1), { detail: ['facts'] }],
  ['a name that is null', event('session_start'), { detail: [null, 'x'] }],
  ['facts that are no JSON', intent(1), facts('{')],
  ['facts with a character that no text has', intent(1), facts('{"v":1,"command":"\\u0000"}')],
  ['facts that are a list', intent(1), facts('[]')],
  ['facts whose tags are no list', intent(1), facts('{"v":1,"tags":"x"}')],
  ['facts whose relations are none', intent(1), facts('{"v":1,"relations":null}')],
  ['facts with a relation whose tags are no list', intent(1), facts('{"v":1,"relations":[{"tags":1}]}')],
  [
    'reasons of a rest that are no JSON',
    outcome(1),
    { detail: ['rest_rule', 'x', 'rest_reasons', 'because'] },
  ],
  [
    'reasons of a rest that are no list',
    outcome(1),
    { detail: ['rest_rule', 'x', 'rest_reasons', '"because"'] },
  ],
  ['a person who is null', event('verdict'), { people: ['approver', null] }],
  ['a reason that is null', intent(1), { reasons: [null] }],
])('%s is refused', async (_name, entry, change) => {
  await expect(writer.query(call(entry, change))).rejects.toEqual(expect.objectContaining({ code: 'CSA03' }));
});

test.each([
  ['people in two dimensions', '{{approver,reviewer}}'],
  ['people who begin at another place', '[5:6]={approver,reviewer}'],
])('%s are refused: they have the same hash', async (_name, text) => {
  const { text: sql, values } = call(event('verdict'), { people: ['approver', 'reviewer'] });
  const given = values.map((value) =>
    value === '{"{\\"approver\\",\\"reviewer\\"}"}' ? `{"${text}"}` : value,
  );
  expect(given).not.toEqual(values);
  await expect(writer.query({ text: sql, values: given })).rejects.toEqual(
    expect.objectContaining({ code: 'CSA03' }),
  );
});

test('and the log is read as before', async () => {
  await writer.query(
    appendCall(
      'audit',
      made.batch([intent(1, { facts: '{"v":1,"relations":[{"tags":["pii"]},{}]}' }), outcome(1)]),
    ),
  );
  const { rows } = await database.query('SELECT tags FROM audit.statements');
  expect(rows).toEqual([{ tags: ['pii'] }]);
  expect((await database.query('SELECT * FROM audit.verify() WHERE NOT ok')).rows).toEqual([]);
});
