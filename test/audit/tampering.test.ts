import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { appendCall } from '../../src/audit/batch.ts';
import { batchBytes } from '../../src/audit/chain.ts';
import { createStreamKey } from '../../src/audit/stream-key.ts';
import { verifySnapshot } from '../../src/audit/verify-database.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, intent, makeSigner, outcome } from './support.ts';

type Case = {
  readonly name: string;
  readonly sql: string;
  readonly rechain?: number;
  readonly then?: string;
  readonly resign?: true;
  readonly finds: readonly (readonly [string, number])[];
  readonly latest?: true;
};
const { cases } = JSON.parse(
  readFileSync(new URL('../../fixtures/audit/tampering.json', import.meta.url), 'utf8'),
) as { cases: readonly Case[] };

const signer = makeSigner();
const keys = { keys: [signer.publicJwk] };
let database: AuditDatabase;
let admin: pg.Client;
/** The stream of 12 rows, the one after it, and the one that is tampered with now. */
let older: string;
let latest: string;
let stream: string;

beforeAll(async () => {
  database = await createAuditDatabase();
  admin = new pg.Client(database.url);
  await admin.connect();
  [older, latest] = await fill();
  await admin.query(TRIGGERS_OFF);
});
afterAll(async () => {
  await admin.end();
  await database.dropAll();
});

/** Two streams; the second one names the end of the first, as the next start of a process does. */
async function fill(): Promise<[string, string]> {
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  const first = makeStream(signer);
  const pair = (no: number) => [intent(no, { parameters: ['a', null] }), outcome(no)];
  for (const batch of [
    first.start(),
    first.batch([...pair(1), ...pair(2)]),
    first.batch([...pair(3), ...pair(4)]),
    first.batch(pair(5)),
  ]) {
    await writer.query(appendCall('audit', batch));
  }
  const next = makeStream(signer, {
    previous_stream: first.stream,
    previous_seq: '12',
    previous_hash: first.head().hash.toString('hex'),
  });
  await writer.query(appendCall('audit', next.start()));
  await writer.end();
  return [first.stream, next.stream];
}

const TRIGGERS_OFF = ['entry', 'batch', 'stream', 'signing_key']
  .map((table) => `ALTER TABLE audit.${table} DISABLE TRIGGER ALL`)
  .join(';');

const placed = (sql: string) => sql.replaceAll(':stream', `'${stream}'`);

/** Computes the chain anew from a row to the stream's end, as somebody without the key could. */
async function rechain(from: number): Promise<void> {
  await admin.query(`
    DO $$ DECLARE r record; previous bytea; BEGIN
      SELECT hash INTO previous FROM audit.entry WHERE stream = '${stream}' AND seq = ${from - 1};
      previous := coalesce(previous, decode(repeat('00', 32), 'hex'));
      FOR r IN SELECT seq FROM audit.entry WHERE stream = '${stream}' AND seq >= ${from} ORDER BY seq LOOP
        UPDATE audit.entry SET prev_hash = previous WHERE stream = '${stream}' AND seq = r.seq;
        UPDATE audit.entry e SET hash = audit.entry_hash(e) WHERE stream = '${stream}' AND seq = r.seq
          RETURNING hash INTO previous;
      END LOOP;
    END $$`);
}

async function resign(): Promise<void> {
  const key = createStreamKey();
  const { rows } = await admin.query('SELECT * FROM audit.batch WHERE stream = $1', [stream]);
  for (const row of rows) {
    const bytes = batchBytes({
      stream,
      fromSeq: BigInt(row.from_seq),
      toSeq: BigInt(row.to_seq),
      prevHash: row.prev_hash,
      hash: row.hash,
    });
    await admin.query('UPDATE audit.batch SET kid = $3, signature = $4 WHERE stream = $1 AND from_seq = $2', [
      ...[stream, row.from_seq, key.kid],
      key.sign(bytes),
    ]);
  }
  await admin.query('UPDATE audit.stream SET kid = $2, public_jwk = $3 WHERE stream = $1', [
    ...[stream, key.kid],
    JSON.stringify(key.publicJwk),
  ]);
}

async function sqlFindings(): Promise<string[]> {
  const { rows } = await admin.query(
    `SELECT stream, seq, "check" FROM audit.verify(keys => $1, "full" => true) WHERE NOT ok AND seq IS NOT NULL`,
    [JSON.stringify(keys)],
  );
  return rows.map((row) => `${row.stream} ${row.check} ${row.seq}`);
}

async function cliFindings(): Promise<string[]> {
  const { findings } = await verifySnapshot(admin, 'audit', keys);
  return findings.filter(({ ok }) => ok === false).map((f) => `${f.stream} ${f.check} ${f.seq}`);
}

test('an untouched log is whole', async () => {
  await admin.query('BEGIN');
  expect(await sqlFindings()).toEqual([]);
  expect(await verifySnapshot(admin, 'audit', keys)).toMatchObject({ whole: true, rows: 14, streams: 2 });
  await admin.query('ROLLBACK');
});

test("other keys than the installation's prove nothing", async () => {
  await admin.query('BEGIN');
  const { findings } = await verifySnapshot(admin, 'audit', { keys: [makeSigner().publicJwk] });
  expect(findings.map(({ check, ok }) => [check, ok])).toEqual([
    ['endorsement', false],
    ['endorsement', false],
  ]);
  await admin.query('ROLLBACK');
});

test('a range of time is checked by itself, and joined to its neighbours', async () => {
  await admin.query('BEGIN');
  try {
    // Spread over time, as a real day is, and chained anew: what follows looks at hashes and links only.
    await admin.query(`SELECT audit.ensure_day('2026-03-02'); ${TRIGGERS_OFF}`);
    await admin.query(
      `UPDATE audit.entry SET at = '2026-03-02 09:00+00'::timestamptz + seq * interval '1 minute' WHERE stream = $1`,
      [older],
    );
    stream = older;
    await rechain(1);
    const found = async (from: string, to: string) => {
      const { rows } = await admin.query(
        `SELECT "check", seq::int FROM audit.verify($1, $2) WHERE NOT ok AND "check" IN ('row_hash', 'link', 'gap') AND seq IS NOT NULL`,
        [`2026-03-02 ${from}+00`, `2026-03-02 ${to}+00`],
      );
      return rows;
    };
    expect(await found('09:05', '09:08')).toEqual([]);
    await admin.query(`UPDATE audit.entry SET agent = 'x' WHERE stream = $1 AND seq IN (3, 6)`, [older]);
    await admin.query(`UPDATE audit.entry e SET hash = audit.entry_hash(e) WHERE stream = $1 AND seq = 4`, [
      older,
    ]);
    await admin.query(`DELETE FROM audit.entry WHERE stream = $1 AND seq = 9`, [older]);
    expect(await found('09:05', '09:08')).toEqual([{ check: 'row_hash', seq: 6 }]);
    expect(await found('09:10', '09:12')).toEqual([{ check: 'gap', seq: 10 }]);
  } finally {
    await admin.query('ROLLBACK');
  }
});

describe('tampering', () => {
  test.each(cases.map((one) => [one.name, one] as const))('%s', async (_name, one) => {
    stream = one.latest === true ? latest : older;
    await admin.query('BEGIN');
    try {
      await admin.query(placed(one.sql));
      if (one.rechain !== undefined) await rechain(one.rechain);
      if (one.then !== undefined) await admin.query(placed(one.then));
      if (one.resign === true) await resign();
      const wanted = one.finds.map(([check, seq]) => `${stream} ${check} ${seq}`);
      expect(await cliFindings()).toEqual(expect.arrayContaining(wanted));
      expect(await sqlFindings()).toEqual(expect.arrayContaining(wanted));
    } finally {
      await admin.query('ROLLBACK');
    }
  });
});
