import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { ago, DAY, oldStream } from './old-log.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  event,
  intent,
  makeSigner,
  outcome,
  SESSION,
} from './support.ts';

const HOUR = 3_600_000_000n;
let database: AuditDatabase;

/** Statements by number: 1 ends at once, 2 three days later, 3 before it began (a clock was set), 4 never. */
beforeAll(async () => {
  database = await createAuditDatabase();
  const stream = oldStream(makeSigner(), ago(10));
  const at = ago(9);
  const session = SESSION;
  const denied = { requestId: 'req_denied' };
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  const batches = [
    stream.start(),
    stream.batch([intent(1, { at, session }), outcome(1, { at: at + 1000n, session })]),
    stream.batch([intent(2, { at, session }), intent(3, { at, session }), intent(4, { at, session })]),
    stream.batch([outcome(3, { at: at - 30n * HOUR, session, tag: 'THREE' })]),
    stream.batch([outcome(2, { at: at + 3n * DAY, session, outcome: 'unknown', tag: null })]),
    stream.batch([
      intent(5, { at, session, decision: 'hold', class: 'ddl', ...denied }),
      event('request_denied', { at, people: ['approver'], detail: { reason: 'no' }, ...denied }),
      outcome(5, { at, session, outcome: 'denied', tag: null, ...denied }),
    ]),
  ];
  for (const batch of batches) await writer.query(appendCall('audit', batch));
  await writer.end();
});
afterAll(() => database.dropAll());

test('a statement has its outcome, however long after it, or before', async () => {
  const { rows } = await database.query(
    'SELECT statement_no::int AS no, outcome, tag, ended_at - at AS took FROM audit.statements ORDER BY 1',
  );
  expect(rows.map(({ no, outcome: what, tag }) => [no, what, tag])).toEqual([
    [1, 'executed', 'SELECT 1'],
    [2, 'unknown', null],
    [3, 'executed', 'THREE'],
    [4, null, null],
    [5, 'denied', null],
  ]);
});

test('agents counts each statement once', async () => {
  const { rows } = await database.query('SELECT statements::int, held::int, denied::int FROM audit.agents');
  expect(rows).toEqual([{ statements: 5, held: 1, denied: 1 }]);
});

test('denials names the person who refused', async () => {
  const { rows } = await database.query('SELECT refused_by, people FROM audit.denials');
  expect(rows).toEqual([{ refused_by: 'person', people: ['approver'] }]);
});

test('a day of statements is read from that day, and streams that tell facts are looked for once', async () => {
  const day = new Date(Number(ago(9, 0) / 1000n)).toISOString();
  const { rows } = await database.query(
    `EXPLAIN SELECT * FROM audit.statements WHERE at >= '${day}' AND at < timestamptz '${day}' + interval '24 hours'`,
  );
  const plan = rows.map((row) => String(row['QUERY PLAN']));
  const { rows: days } = await database.query(
    `SELECT count(*)::int AS n FROM pg_inherits WHERE inhparent = 'audit.entry'::regclass`,
  );
  const scans = plan.filter((line) => / on entry_\d{8} /.test(line));
  const intents = scans.filter((line) => / i(_\d+)?\s+\(/.test(line));
  expect(intents).toHaveLength(1);
  // The outcome's day, all others for those that have none there, and the streams' configurations.
  expect(scans.length).toBeLessThanOrEqual(1 + 3 * days[0]?.['n']);
});

test('each column of statements says what it is', async () => {
  const { rows } = await database.query(
    `SELECT attname FROM pg_attribute WHERE attrelid = 'audit.statements'::regclass AND attnum > 0
        AND col_description(attrelid, attnum) IS NULL`,
  );
  expect(rows).toEqual([]);
});

test('days begin at midnight UTC, whatever time zone and date style a session has', async () => {
  // Only servers before 18 misread what they wrote themselves: the settings are what can be seen on all of them.
  const { rows } = await database.query(
    `SELECT proconfig FROM pg_proc WHERE oid = 'audit.ensure_day(date)'::regprocedure`,
  );
  expect(rows[0]?.['proconfig'].toSorted()).toEqual([
    'DateStyle=ISO',
    'TimeZone=UTC',
    'search_path=pg_catalog, pg_temp',
  ]);
});
