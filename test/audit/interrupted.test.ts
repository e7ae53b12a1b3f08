/** Rests of results in the views, as entries tell of them. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { RestFacts } from '../../src/audit/entry.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { makeStream } from './stream-maker.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  event,
  intent,
  makeSigner,
  outcome,
  SESSION,
} from './support.ts';

let database: AuditDatabase;
let auditor: pg.Client;

const rest = (refusedBy: RestFacts['refusedBy'], rule = 'default:export'): RestFacts => ({
  class: 'export',
  rule,
  reasons: ['its result is larger than 10 rows'],
  refusedBy,
});
/** A read whose outcome says that of its rest. */
const read = (no: number, facts: RestFacts, change: Parameters<typeof outcome>[1] = {}) => [
  intent(no, { sql: `SELECT ${no}`, class: 'read', decision: 'allow' }),
  outcome(no, { outcome: 'failed', rows: 10n, sqlstate: '42501', ...change, rest: facts }),
];

beforeAll(async () => {
  database = await createAuditDatabase();
  const requestId = 'req_approved';
  const stream = makeStream(makeSigner());
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  await writer.query(appendCall('audit', stream.start()));
  await writer.query(
    appendCall(
      'audit',
      stream.batch([
        ...read(1, rest('policy', 'no-exports')),
        ...read(2, rest('limit')),
        ...read(3, rest('denied'), { requestId: 'req_failed' }),
        ...read(4, rest(null), { requestId, outcome: 'executed', sqlstate: null, approvers: ['ana'] }),
        event('released', { session: SESSION, requestId, people: ['ana'] }),
        // Nobody released this one.
        ...read(5, rest(null), { requestId: 'req_forged', outcome: 'executed', approvers: ['ana'] }),
        intent(6, { sql: 'SELECT 6', class: 'read', decision: 'allow' }),
        outcome(6),
      ]),
    ),
  );
  await writer.end();
  auditor = new pg.Client(database.auditorUrl);
  await auditor.connect();
});
afterAll(async () => {
  await auditor.end();
  await database.dropAll();
});

const select = async (sql: string) => (await auditor.query(sql)).rows;

test('interrupted: who refused the rest, or let it pass', async () => {
  expect(
    await select(
      'SELECT sql, read_as, class, rule, refused_by, approvers FROM audit.interrupted ORDER BY seq',
    ),
  ).toEqual([
    {
      sql: 'SELECT 1',
      read_as: 'read',
      class: 'export',
      rule: 'no-exports',
      refused_by: 'policy',
      approvers: [],
    },
    {
      sql: 'SELECT 2',
      read_as: 'read',
      class: 'export',
      rule: 'default:export',
      refused_by: 'limit',
      approvers: [],
    },
    // No person denied it: its approval could not be used, or nobody could be asked.
    {
      sql: 'SELECT 3',
      read_as: 'read',
      class: 'export',
      rule: 'default:export',
      refused_by: 'proxy',
      approvers: [],
    },
    {
      sql: 'SELECT 4',
      read_as: 'read',
      class: 'export',
      rule: 'default:export',
      refused_by: null,
      approvers: ['ana'],
    },
    {
      sql: 'SELECT 5',
      read_as: 'read',
      class: 'export',
      rule: 'default:export',
      refused_by: null,
      approvers: ['ana'],
    },
  ]);
});

test('denials, exports: each has its own', async () => {
  expect(await select('SELECT sql, refused_by, reasons FROM audit.denials ORDER BY seq')).toEqual([
    { sql: 'SELECT 1', refused_by: 'policy', reasons: ['its result is larger than 10 rows'] },
    { sql: 'SELECT 2', refused_by: 'limit', reasons: ['its result is larger than 10 rows'] },
    { sql: 'SELECT 3', refused_by: 'proxy', reasons: ['its result is larger than 10 rows'] },
  ]);
  expect(await select('SELECT sql, decision FROM audit.exports ORDER BY seq')).toEqual([
    { sql: 'SELECT 1', decision: 'deny' },
    { sql: 'SELECT 2', decision: 'deny' },
    { sql: 'SELECT 3', decision: 'hold' },
    { sql: 'SELECT 4', decision: 'hold' },
    { sql: 'SELECT 5', decision: 'hold' },
  ]);
});

test('a rest that went on and that nobody released is an exception', async () => {
  expect(await select('SELECT sql, rule, request_id FROM audit.unapproved_exceptions')).toEqual([
    { sql: 'SELECT 5', rule: 'default:export', request_id: 'req_forged' },
  ]);
  // The release above has no receipt: that is found, and nothing else.
  expect(await select('SELECT "check", detail FROM audit.verify() WHERE NOT ok')).toEqual([
    { check: 'receipt', detail: 'an approval without a receipt' },
  ]);
});
