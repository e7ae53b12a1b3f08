/** A request over midnight, and days before it that are dropped: what is left must not look like an approval of nobody. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { dropOldDays } from '../../src/audit/upkeep/retention.ts';
import { type Keys, openKeys } from '../../src/signing/keys.ts';
import { signReceipt } from '../../src/signing/receipt.ts';
import { ago, oldStream } from '../audit/old-log.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  event,
  intent,
  outcome,
  SESSION,
} from '../audit/support.ts';
import { alarmsIn } from './sound.ts';

const directory = mkdtempSync(join(tmpdir(), 'cs-honest-days-'));
let database: AuditDatabase;
let keys: Keys;
beforeAll(async () => {
  database = await createAuditDatabase();
  keys = await openKeys(join(directory, 'keys'));
}, 120_000);
afterAll(async () => {
  await database?.dropAll();
  rmSync(directory, { recursive: true, force: true });
});

const SQL_SHA256 = Buffer.alloc(32, 7);
const OVER_MIDNIGHT = 'req_overMidnight000000000';
const BEFORE = 'req_before000000000000000';

/** Asked at one time, answered and done at another. */
async function request(requestId: string, digest: string, asked: bigint, answered: bigint) {
  const seconds = Number(answered / 1_000_000n);
  const receipt = await signReceipt(
    {
      ...{ iss: 'countersign', request: requestId, digest, sqlSha256: SQL_SHA256.toString('hex') },
      ...{ parametersSha256: 'b'.repeat(64), agent: SESSION.agent, policyDigest: 'p', nonce: requestId },
      approvers: [
        {
          ...{ person: 'approver', channel: 'api', ids: ['person:approver'], assurance: 1, at: seconds },
          ...{ reason: null, facts: {} },
        },
      ],
      limits: { rows: null, bytes: null },
      ...{ iat: seconds, exp: seconds + 3_600 },
    },
    keys.signer,
  );
  const of = { session: SESSION, requestId };
  const approved = { ...of, at: answered, people: ['approver'] };
  return [
    event('request_opened', {
      ...{ ...of, at: asked, people: [SESSION.agent] },
      detail: { digest, quorum: '1', assurance: '1' },
    }),
    event('verdict', { ...approved, at: answered - 5n, detail: { verdict: 'approve' } }),
    event('request_approved', { ...approved, receipt, detail: { digest } }),
    event('released', { ...approved, at: answered + 5n, receipt, detail: { digest } }),
    event('request_ended', { ...of, at: answered + 9n, detail: { outcome: 'executed' } }),
  ];
}

test('drops what is over, keeps a request whole, and alarms nobody', { timeout: 600_000 }, async () => {
  const requests = oldStream(keys.signer, ago(500), { purpose: 'requests' });
  const statements = oldStream(keys.signer, ago(500));
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  const store = async (batch: ReturnType<typeof requests.batch>) =>
    void (await writer.query(appendCall('audit', batch)));
  await store(requests.start());
  await store(statements.start());
  await store(requests.batch(await request(BEFORE, 'a'.repeat(64), ago(450), ago(450, 13))));
  const [opened, ...rest] = await request(OVER_MIDNIGHT, 'c'.repeat(64), ago(401, 23), ago(400, 1));
  if (opened === undefined) throw new Error('nothing was asked');
  await store(requests.batch([opened]));
  await store(requests.batch(rest));
  const held = { decision: 'hold', class: 'ddl', rule: 'default:ddl', sqlSha256: SQL_SHA256 } as const;
  await store(
    statements.batch([
      intent(1, { ...held, at: ago(450), requestId: BEFORE }),
      outcome(1, { at: ago(450, 13) + 7n, requestId: BEFORE, approvers: ['approver'] }),
      intent(2, { ...held, at: ago(401, 23), requestId: OVER_MIDNIGHT }),
      // A process whose clock is a little ahead: it says of the same moment that it was on the next day.
      intent(3, { ...held, at: ago(400, 0), requestId: OVER_MIDNIGHT }),
      outcome(2, { at: ago(400, 1) + 7n, requestId: OVER_MIDNIGHT, approvers: ['approver'] }),
      outcome(3, { at: ago(400, 1) + 8n, requestId: OVER_MIDNIGHT, approvers: ['approver'] }),
      event('log_stop', { at: ago(400, 2) }),
    ]),
  );
  await writer.end();
  const look = (brief: boolean) =>
    alarmsIn({ url: database.auditorUrl, keys: { keys: keys.jwks().keys }, brief });
  expect((await look(false)).alarms).toEqual([]);
  const { rows } = await dropOldDays({
    ...{ url: database.url, schema: 'audit', signer: keys.signer, by: 'owner (on the machine)' },
    ...{ keepDays: 400, reason: 'older than 400 days', dryRun: false },
  });
  // The whole first request with its statement, and the text of the other's first attempt.
  expect(rows).toBe(8n);
  const { alarms, gaps } = await look(true);
  expect(alarms).toEqual([]);
  expect(gaps).toContain('dropped');
  const { rows: left } = await database.query(
    `SELECT request_id, array_agg(kind ORDER BY at, seq) AS kinds FROM audit.entry
      WHERE request_id IS NOT NULL AND kind NOT IN ('intent', 'outcome') GROUP BY 1`,
  );
  expect(left).toEqual([
    {
      request_id: OVER_MIDNIGHT,
      kinds: ['request_opened', 'verdict', 'request_approved', 'released', 'request_ended'],
    },
  ]);
});
