import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { verifyEvidence } from '../../src/audit/evidence/verify-folder.ts';
import { writeEvidence } from '../../src/audit/evidence/write-folder.ts';
import { quoteName } from '../../src/audit/quote-name.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { keyEntry } from '../../src/audit/shipping/stream-key.ts';
import type { Jwks } from '../../src/audit/verify/trusted-keys.ts';
import { oldStream } from './old-log.ts';
import { approver, makeDevice, newDigest } from './passkey-maker.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  event,
  intent,
  makeSigner,
  now,
  outcome,
} from './support.ts';

// Many files, each on disk before it counts.
vi.setConfig({ testTimeout: 120_000 });

/** A schema of another name, approvals that people's own devices signed, and nothing but public keys to check them. */
const SCHEMA = 'Audit-Shop';
const signer = makeSigner();
const [ada, ben] = [makeDevice(), makeDevice()];
const kept: Jwks = { keys: [signer.publicJwk, ada.of('ada'), ben.of('ben')] };
const root = mkdtempSync(join(tmpdir(), 'cs-evidence-elsewhere-'));
const directory = join(root, 'folder');
const HOUR = 3_600_000_000n;
const start = now() - 10n * HOUR;
const date = (us: bigint) => new Date(Number(us / 1000n));
const digest = newDigest();
let database: AuditDatabase;

beforeAll(async () => {
  database = await createAuditDatabase(SCHEMA);
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  const stream = oldStream(signer, start);
  const put = async (...entries: Parameters<typeof stream.batch>[0]) =>
    void (await writer.query(appendCall(quoteName(SCHEMA), stream.batch(entries))));
  await writer.query(appendCall(quoteName(SCHEMA), stream.start()));
  await put(
    keyEntry(ada.kid, ada.of('ada'), 'passkey', start),
    keyEntry(ben.kid, ben.of('ben'), 'passkey', start),
  );
  await put(event('request_opened', { at: start + HOUR, requestId: 'req_1', detail: { digest } }));
  for (let no = 1; no < 5; no += 1)
    await put(intent(no, { at: start + 2n * HOUR }), outcome(no, { at: start + 2n * HOUR }));
  const receipt = receiptOf([approver('ada', ada.sign(digest)), approver('ben', ben.sign(digest))]);
  const approved = { at: start + 4n * HOUR, requestId: 'req_1', receipt, people: ['ada', 'ben'] };
  await put(event('request_approved', approved), event('released', approved));
  await put(intent(9, { at: start + 4n * HOUR, requestId: 'req_1', decision: 'hold', class: 'ddl' }));
  for (let no = 11; no < 15; no += 1)
    await put(intent(no, { at: start + 6n * HOUR }), outcome(no, { at: start + 6n * HOUR }));
  // Hours after the period.
  await put(outcome(9, { at: start + 8n * HOUR, requestId: 'req_1', approvers: ['ada', 'ben'] }));
  await put(event('session_end', { at: start + 9n * HOUR }));
  await writer.end();
  await writeEvidence({
    ...{ url: database.auditorUrl, schema: SCHEMA, out: directory, keys: kept, version: '1' },
    period: { from: date(start + 3n * HOUR), to: date(start + 5n * HOUR) },
  });
});
afterAll(async () => {
  await database.dropAll();
  rmSync(root, { recursive: true, force: true });
});

function receiptOf(approvers: readonly unknown[]): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const header = part({ alg: 'EdDSA', typ: 'countersign-receipt+jws', kid: signer.kid });
  const text = `${header}.${part({ iss: 'countersign', request: 'req_1', digest, approvers })}`;
  return `${text}.${signer.sign(Buffer.from(text)).toString('base64url')}`;
}

const found = async (keys: Jwks) =>
  (await verifyEvidence({ directory, keys })).findings.map(({ check, detail }) => `${check}: ${detail}`);

describe('a folder of some hours, of a schema of another name', () => {
  test('is whole with public keys alone: what it needs of before and after is in it, and no more', async () => {
    const result = await verifyEvidence({ directory, keys: kept });
    expect(result).toMatchObject({ findings: [], whole: true });
    // Start, keys, opening, a batch on either side, approval, statement, and its outcome, hours later.
    expect(result.rows).toBe(3 + 2 + 1 + 2 + 2 + 1 + 2 + 1);
  });

  test("shows that an approver's device is not known, or is somebody else's", async () => {
    const unknown = await found({ keys: [signer.publicJwk, ada.of('ada')] });
    expect(unknown).toEqual(
      Array(2).fill(`passkey: the passkey of ben is not among the trusted ones: ${ben.kid}`),
    );
    const exchanged = await found({ keys: [signer.publicJwk, ada.of('ada'), ben.of('carl')] });
    expect(exchanged).toEqual(
      Array(2).fill(`passkey: the passkey of ben is another person's, carl: ${ben.kid}`),
    );
  });

  test('shows that a key was revoked before it signed', async () => {
    const revoked = { revoked: { revoked_at: Number((start + 3n * HOUR) / 1_000_000n), reason: 'x' } };
    const late = await found({
      keys: [signer.publicJwk, ada.of('ada')],
      revoked: [{ ...ben.of('ben'), ...revoked }],
    });
    expect(late).toEqual(Array(2).fill(`passkey: the passkey of ben was revoked by then: ${ben.kid}`));
    const ended = { revoked: { revoked_at: Number((start + 5n * HOUR) / 1_000_000n), reason: 'x' } };
    expect(
      await found({
        ...kept,
        keys: [signer.publicJwk, ada.of('ada')],
        revoked: [{ ...ben.of('ben'), ...ended }],
      }),
    ).toEqual([]);
  });
});
