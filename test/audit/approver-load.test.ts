import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EventEntry } from '../../src/audit/entry.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, event, makeSigner, SESSION } from './support.ts';

/** Seconds after 9:00 UTC. */
const at = (seconds: number, day = 2) => BigInt(Date.UTC(2026, 2, day, 9, 0, seconds)) * 1000n;

let database: AuditDatabase;
let auditor: pg.Client;
let n = 0;

/** A request that was opened `took` seconds before its verdict. */
function answered(
  person: string,
  seconds: number,
  took: number,
  verdict = 'approve',
  day = 2,
): readonly EventEntry[] {
  n += 1;
  const requestId = `req_${n}`;
  return [
    event('request_opened', { at: at(seconds - took, day), session: SESSION, requestId }),
    event('verdict', {
      at: at(seconds, day),
      session: SESSION,
      requestId,
      people: [person],
      detail: { verdict },
    }),
  ];
}

beforeAll(async () => {
  database = await createAuditDatabase();
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  const stream = makeStream(makeSigner());
  await writer.query(appendCall('audit', stream.start()));
  const entries = [
    // Twelve within a minute, two seconds after they were opened; then one in peace, and a denial.
    ...Array.from({ length: 12 }, (_one, place) => answered('ana', 10 + place * 5, 2)).flat(),
    ...answered('ana', 600, 240),
    ...answered('ana', 605, 3, 'deny'),
    ...answered('ben', 30, 60),
    ...answered('ben', 200, 180),
    ...answered('ben', 400, 100),
    ...answered('ana', 30, 10, 'approve', 3),
    event('verdict_refused', {
      at: at(70),
      session: SESSION,
      requestId: 'req_1',
      people: ['ana'],
      detail: { code: 'too_fast', verdict: 'approve' },
    }),
    event('verdict_refused', { at: at(71), requestId: null, people: [], detail: { code: 'unknown_person' } }),
  ];
  await writer.query(appendCall('audit', stream.batch(entries)));
  await writer.end();
  auditor = new pg.Client(database.auditorUrl);
  await auditor.connect();
});
afterAll(async () => {
  await auditor?.end();
  await database?.dropAll();
});

test('an auditor sees who approves faster than anybody reads', async () => {
  const { rows } = await auditor.query(
    `SELECT person, day::text, verdicts::int, approvals::int, denials::int, refused::int, refused_too_fast::int,
       extract(epoch FROM median_time)::float AS median_s, approvals_within_5s::int, most_approvals_in_a_minute::int
     FROM audit.approver_load ORDER BY person, day`,
  );
  const ana = { person: 'ana', denials: 1, refused: 1, refused_too_fast: 1 };
  expect(rows).toEqual([
    {
      ...ana,
      day: '2026-03-02',
      verdicts: 14,
      approvals: 13,
      median_s: 2,
      approvals_within_5s: 12,
      most_approvals_in_a_minute: 12,
    },
    {
      ...ana,
      day: '2026-03-03',
      verdicts: 1,
      approvals: 1,
      denials: 0,
      refused: 0,
      refused_too_fast: 0,
      median_s: 10,
      approvals_within_5s: 0,
      most_approvals_in_a_minute: 1,
    },
    {
      person: 'ben',
      day: '2026-03-02',
      verdicts: 3,
      approvals: 3,
      denials: 0,
      refused: 0,
      refused_too_fast: 0,
      median_s: 100,
      approvals_within_5s: 0,
      most_approvals_in_a_minute: 1,
    },
  ]);
});
