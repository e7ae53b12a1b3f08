import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EventEntry, IntentEntry } from '../../src/audit/entry.ts';
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
const signer = makeSigner();
/** A day of work: 9:00 UTC, and so many minutes later. */
const at = (minutes: number) => BigInt(Date.UTC(2026, 2, 2, 9, minutes)) * 1000n;

/** A held statement, as the session and the approval store record it, on two streams. */
function held(no: number, minutes: number, sql: string, what: Partial<IntentEntry>) {
  const requestId = `req_${no}`;
  const request = (kind: EventEntry['kind'], after: number, change: Partial<EventEntry> = {}) =>
    event(kind, { at: at(minutes + after), session: SESSION, requestId, ...change });
  const decision = 'hold' as const;
  return { requestId, request, intent: intent(no, { at: at(minutes), sql, requestId, decision, ...what }) };
}

beforeAll(async () => {
  database = await createAuditDatabase();
  const drop = held(2, 1, 'DROP TABLE old_orders', {
    class: 'ddl',
    rule: 'default:ddl',
    relations: ['public.old_orders'],
  });
  const copy = held(3, 10, 'COPY customers TO STDOUT', {
    class: 'export',
    rule: 'default:export',
    relations: ['public.customers'],
  });
  const grant = held(4, 20, 'GRANT ALL ON orders TO public', {
    class: 'privilege',
    rule: 'default:privilege',
  });
  const again = held(4, 25, 'GRANT ALL ON orders TO public', {
    class: 'privilege',
    rule: 'default:privilege',
    statementNo: 5,
  });
  const ana = ['ana'];
  const statements = [
    intent(1, { at: at(0), sql: 'SELECT * FROM orders WHERE id = 1' }),
    outcome(1, { at: at(0) }),
    drop.intent,
    outcome(2, { at: at(4), requestId: 'req_2', approvers: ana, tag: 'DROP TABLE', rows: 0n, bytes: 0n }),
    copy.intent,
    outcome(3, {
      at: at(12),
      requestId: 'req_3',
      outcome: 'denied',
      tag: null,
      rows: 0n,
      bytes: 0n,
      sqlstate: '42501',
    }),
    grant.intent,
    outcome(4, {
      at: at(24),
      requestId: 'req_4',
      outcome: 'expired',
      tag: null,
      rows: 0n,
      bytes: 0n,
      sqlstate: '57014',
    }),
    again.intent,
    outcome(5, {
      at: at(30),
      requestId: 'req_4',
      outcome: 'expired',
      tag: null,
      rows: 0n,
      bytes: 0n,
      sqlstate: '57014',
    }),
    intent(6, {
      at: at(40),
      sql: "SET client_encoding = 'BIG5'",
      class: 'session',
      decision: 'deny',
      rule: 'floor:pinned',
    }),
    outcome(6, { at: at(40), outcome: 'denied', tag: null, rows: 0n, bytes: 0n, sqlstate: '42501' }),
    intent(7, { at: at(41), sql: 'SELEC 1', class: 'unparsed', decision: 'deny', rule: 'default:unparsed' }),
    outcome(7, { at: at(41), outcome: 'failed', tag: null, rows: 0n, bytes: 0n, sqlstate: '42601' }),
    event('login_refused', { at: at(42), detail: { user: 'nobody', why: 'no such agent' } }),
    intent(8, { at: at(50), sql: 'SELECT pg_sleep(60)' }),
  ];
  const requests = [
    drop.request('request_opened', 0, { people: ['deputy'], detail: { class: 'ddl', rule: 'default:ddl' } }),
    drop.request('verdict', 2, {
      people: ana,
      detail: { verdict: 'approve', reason: 'archived last week', channel: 'api' },
    }),
    drop.request('request_approved', 2, { people: ana, receipt: 'eyJ.receipt.2' }),
    drop.request('released', 3, { people: ana, receipt: 'eyJ.receipt.2' }),
    drop.request('request_ended', 4, { detail: { outcome: 'executed' } }),
    copy.request('request_opened', 0),
    copy.request('verdict', 2, {
      people: ana,
      detail: { verdict: 'deny', reason: 'ask for a sample', channel: 'slack' },
    }),
    copy.request('request_denied', 2, { people: ana, detail: { reason: 'ask for a sample' } }),
    grant.request('request_opened', 0),
    grant.request('request_expired', 10, { detail: { reason: 'lifetime' } }),
  ];
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  for (const entries of [statements, requests]) {
    const stream = makeStream(signer);
    await writer.query(appendCall('audit', stream.start()));
    await writer.query(appendCall('audit', stream.batch(entries)));
  }
  await writer.end();
  auditor = new pg.Client(database.auditorUrl);
  await auditor.connect();
});
afterAll(async () => {
  await auditor.end();
  await database.dropAll();
});

const select = async (sql: string) => (await auditor.query(sql)).rows;

test('statements: a row for each, whatever became of it', async () => {
  expect(
    await select(`SELECT statement_no::int AS no, class, decision, request_id, approvers, outcome, tag, rows::int, sqlstate
                    FROM audit.statements ORDER BY at, seq`),
  ).toEqual([
    {
      no: 1,
      class: 'read',
      decision: 'allow',
      request_id: null,
      approvers: [],
      outcome: 'executed',
      tag: 'SELECT 1',
      rows: 1,
      sqlstate: null,
    },
    {
      no: 2,
      class: 'ddl',
      decision: 'hold',
      request_id: 'req_2',
      approvers: ['ana'],
      outcome: 'executed',
      tag: 'DROP TABLE',
      rows: 0,
      sqlstate: null,
    },
    {
      no: 3,
      class: 'export',
      decision: 'hold',
      request_id: 'req_3',
      approvers: [],
      outcome: 'denied',
      tag: null,
      rows: 0,
      sqlstate: '42501',
    },
    {
      no: 4,
      class: 'privilege',
      decision: 'hold',
      request_id: 'req_4',
      approvers: [],
      outcome: 'expired',
      tag: null,
      rows: 0,
      sqlstate: '57014',
    },
    {
      no: 5,
      class: 'privilege',
      decision: 'hold',
      request_id: 'req_4',
      approvers: [],
      outcome: 'expired',
      tag: null,
      rows: 0,
      sqlstate: '57014',
    },
    {
      no: 6,
      class: 'session',
      decision: 'deny',
      request_id: null,
      approvers: [],
      outcome: 'denied',
      tag: null,
      rows: 0,
      sqlstate: '42501',
    },
    {
      no: 7,
      class: 'unparsed',
      decision: 'deny',
      request_id: null,
      approvers: [],
      outcome: 'failed',
      tag: null,
      rows: 0,
      sqlstate: '42601',
    },
    {
      no: 8,
      class: 'read',
      decision: 'allow',
      request_id: null,
      approvers: [],
      outcome: null,
      tag: null,
      rows: null,
      sqlstate: null,
    },
  ]);
});

test('statements: has the columns that others rely on, typed', async () => {
  const { fields } =
    await auditor.query(`SELECT stream, seq, at, session_id, agent, owner, on_behalf_of, run, database, role, sql,
    sql_sha256, class, decision, rule, reasons, relations, request_id, approvers, outcome, tag, rows, bytes, duration_us, sqlstate
    FROM audit.statements`);
  const types = Object.fromEntries(fields.map(({ name, dataTypeID }) => [name, dataTypeID]));
  const [text, bigint, textArray] = [25, 20, 1009];
  expect(types).toMatchObject({
    stream: text,
    seq: bigint,
    at: 1184,
    sql_sha256: 17,
    rows: bigint,
    bytes: bigint,
  });
  expect(types).toMatchObject({
    reasons: textArray,
    relations: textArray,
    approvers: textArray,
    duration_us: bigint,
  });
});

test('approvals: what was asked, who answered, what came of it', async () => {
  expect(
    await select(`SELECT request_id, sql, class, rule, to_char(asked_at AT TIME ZONE 'UTC', 'HH24:MI') AS asked,
      to_char(decided_at AT TIME ZONE 'UTC', 'HH24:MI') AS decided, approvers, verdict, reason, receipt, released, outcome
      FROM audit.approvals ORDER BY request_id`),
  ).toEqual([
    {
      request_id: 'req_2',
      sql: 'DROP TABLE old_orders',
      class: 'ddl',
      rule: 'default:ddl',
      asked: '09:01',
      decided: '09:03',
      approvers: ['ana'],
      verdict: 'approve',
      reason: 'archived last week',
      receipt: 'eyJ.receipt.2',
      released: true,
      outcome: 'executed',
    },
    {
      request_id: 'req_3',
      sql: 'COPY customers TO STDOUT',
      class: 'export',
      rule: 'default:export',
      asked: '09:10',
      decided: '09:12',
      approvers: ['ana'],
      verdict: 'deny',
      reason: 'ask for a sample',
      receipt: null,
      released: false,
      outcome: 'denied',
    },
    {
      request_id: 'req_4',
      sql: 'GRANT ALL ON orders TO public',
      class: 'privilege',
      rule: 'default:privilege',
      asked: '09:20',
      decided: '09:30',
      approvers: [],
      verdict: 'expired',
      reason: null,
      receipt: null,
      released: false,
      outcome: 'expired',
    },
  ]);
});

test('exports, schema changes, privilege changes: the populations', async () => {
  expect(await select('SELECT agent, relations, decision, outcome FROM audit.exports')).toEqual([
    { agent: 'reporter', relations: ['public.customers'], decision: 'hold', outcome: 'denied' },
  ]);
  expect(await select('SELECT sql, approvers, outcome FROM audit.schema_changes')).toEqual([
    { sql: 'DROP TABLE old_orders', approvers: ['ana'], outcome: 'executed' },
  ]);
  expect(await select('SELECT count(*)::int AS n FROM audit.privilege_changes')).toEqual([{ n: 2 }]);
});

test('denials: who refused what; a typing error is none', async () => {
  expect(
    await select(
      "SELECT class, refused_by, sql, reasons FROM audit.denials WHERE sql IS NULL OR class <> 'privilege' ORDER BY at",
    ),
  ).toEqual([
    { class: 'export', refused_by: 'person', sql: 'COPY customers TO STDOUT', reasons: ['reads by key'] },
    {
      class: 'session',
      refused_by: 'policy',
      sql: "SET client_encoding = 'BIG5'",
      reasons: ['reads by key'],
    },
    {
      class: 'login_refused',
      refused_by: 'proxy',
      sql: null,
      reasons: ['why: no such agent', 'user: nobody'],
    },
  ]);
});

test('agents, and integrity', async () => {
  expect(
    await select(
      'SELECT agent, owner, sessions::int, statements::int, held::int, denied::int FROM audit.agents',
    ),
  ).toEqual([{ agent: 'reporter', owner: 'deputy', sessions: 1, statements: 8, held: 4, denied: 2 }]);
  expect(
    await select(
      'SELECT entries_recorded::int AS n, complete, signed_up_to::int AS signed, state FROM audit.integrity ORDER BY n',
    ),
  ).toEqual([
    { n: 12, complete: true, signed: 12, state: 'open' },
    { n: 18, complete: true, signed: 18, state: 'open' },
  ]);
});

test('unapproved exceptions: none on a good day; a held statement that ran without a release is one', async () => {
  expect(await select('SELECT * FROM audit.unapproved_exceptions')).toEqual([]);
  const bad = makeStream(signer);
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  await writer.query(appendCall('audit', bad.start()));
  const drop = held(9, 55, 'DROP TABLE orders', { class: 'ddl' });
  await writer.query(
    appendCall('audit', bad.batch([drop.intent, outcome(9, { requestId: 'req_9', tag: 'DROP TABLE' })])),
  );
  await writer.end();
  expect(await select('SELECT sql, request_id, outcome FROM audit.unapproved_exceptions')).toEqual([
    { sql: 'DROP TABLE orders', request_id: 'req_9', outcome: 'executed' },
  ]);
});

test('every view says what it is for', async () => {
  const rows = await select(`SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'audit' AND c.relkind = 'v' AND obj_description(c.oid) IS NULL`);
  expect(rows).toEqual([]);
});
