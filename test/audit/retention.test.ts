import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { addHold, releaseHold } from '../../src/audit/upkeep/legal-hold.ts';
import { dropOldDays } from '../../src/audit/upkeep/retention.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { ago, fillOldLog, type OldLog } from './old-log.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, event, makeSigner } from './support.ts';

const signer = makeSigner();
const keys = { keys: [signer.publicJwk] };
let database: AuditDatabase;
let log: OldLog;

beforeEach(async () => {
  database = await createAuditDatabase();
  log = await fillOldLog(database.writerUrl, signer);
}, 120_000);
afterEach(async () => {
  await database.dropAll();
}, 60_000);

const upkeep = () => ({ url: database.url, schema: 'audit', signer, by: 'owner (on the machine)' });
const drop = (keepDays: number, dryRun = false) =>
  dropOldDays({ ...upkeep(), keepDays, reason: 'older than 400 days', dryRun });

/** What both verifiers find: `stream check seq`, in order. */
async function findings(): Promise<{ sql: string[]; cli: string[] }> {
  const { rows } = await database.query(
    `SELECT stream, seq, "check" FROM audit.verify(keys => $1, "full" => true) WHERE NOT ok AND seq IS NOT NULL`,
    [JSON.stringify(keys)],
  );
  const { findings: found } = await verifyLog({ url: database.auditorUrl, schema: 'audit', keys });
  return {
    sql: rows.map((row) => `${row.stream} ${row.check} ${row.seq}`).sort(),
    cli: found.map((one) => `${one.stream} ${one.check} ${one.seq}`).sort(),
  };
}
const notOk = async () =>
  (await database.query(`SELECT "check" FROM audit.verify(keys => $1) WHERE NOT ok`, [JSON.stringify(keys)]))
    .rows;
const seqs = async (stream: string) =>
  (
    await database.query('SELECT seq::int FROM audit.entry WHERE stream = $1 ORDER BY seq', [stream])
  ).rows.map(({ seq }) => seq);

test('days that are over are dropped, and the log is whole for SQL and the CLI', async () => {
  expect(await findings()).toEqual({ sql: [], cli: [] });
  const result = await drop(400);
  expect(result).toMatchObject({ rows: 10n, streams: 2 });
  // Start, key and policy stay; of a batch across midnight its second half does.
  expect(await seqs(log.long)).toEqual([1, 2, 3, 10, 11, 12, 13, 14, 15]);
  expect(await seqs(log.short)).toEqual([1, 2, 3]);
  expect(await findings()).toEqual({ sql: [], cli: [] });
  expect(await notOk()).toEqual([]);
  const { rows } = await database.query('SELECT * FROM audit.retentions');
  expect(rows).toEqual([
    expect.objectContaining({
      ...{ retention: result.retention, by: 'owner (on the machine)', reason: 'older than 400 days' },
      ...{ streams: '2', rows: '10' },
    }),
  ]);
  const { rows: integrity } = await database.query(
    'SELECT stream, complete, entries_dropped::int AS dropped FROM audit.integrity ORDER BY dropped, stream',
  );
  expect(integrity.map(({ complete }) => complete)).toEqual([true, true, true, true]);
  expect(integrity.map(({ dropped }) => dropped)).toEqual([0, 0, 4, 6]);
  const { rows: gaps } = await database.query(
    `SELECT gap, from_seq::int, to_seq::int FROM audit.gaps WHERE stream = $1 AND gap <> 'journal_lost'`,
    [log.long],
  );
  expect(gaps).toContainEqual({ gap: 'dropped', from_seq: 4, to_seq: 9 });
}, 120_000);

test('a second retention goes on where the first ended, and one with nothing to do does nothing', async () => {
  await drop(450);
  expect(await drop(450)).toMatchObject({ retention: null, rows: 0n });
  expect(await seqs(log.short)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  await drop(400);
  await drop(200);
  expect(await seqs(log.long)).toEqual([1, 2, 3, 14, 15]);
  expect(await findings()).toEqual({ sql: [], cli: [] });
}, 120_000);

test('a dry run says what it would drop, and drops nothing', async () => {
  expect(await drop(400, true)).toMatchObject({ retention: null, rows: 10n, streams: 2 });
  expect(await seqs(log.short)).toHaveLength(7);
  expect((await database.query("SELECT FROM audit.entry WHERE kind = 'retention'")).rows).toEqual([]);
}, 120_000);

test('what was altered is not dropped', async () => {
  await tamper(`UPDATE audit.entry SET agent = 'nobody' WHERE stream = '${log.short}' AND seq = 5`);
  await expect(drop(400)).rejects.toMatchObject({ code: 'audit_altered' });
  expect(await seqs(log.short)).toHaveLength(7);
}, 120_000);

test('a hold that covers a row stops it, until it is released', async () => {
  const hold = await addHold({ ...upkeep(), scope: { agent: 'reporter' }, reason: 'inquiry 7' });
  await addHold({ ...upkeep(), scope: { agent: 'importer' }, reason: 'of another agent' });
  await addHold({
    ...upkeep(),
    scope: { from: new Date(Number(ago(100) / 1000n)) },
    reason: 'of later days',
  });
  const refused = await drop(400).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: 'legal_hold' });
  expect(String(refused)).toContain(`${hold}: inquiry 7`);
  expect(String(refused)).not.toContain('another agent');
  expect(String(refused)).not.toContain('later days');
  await releaseHold({ ...upkeep(), hold, reason: 'inquiry closed' });
  await expect(releaseHold({ ...upkeep(), hold, reason: 'again' })).rejects.toMatchObject({
    code: 'no_hold',
  });
  expect(await drop(400)).toMatchObject({ rows: 10n });
  const { rows } = await database.query(
    'SELECT hold, agent, in_force, release_reason FROM audit.legal_holds ORDER BY added_at, hold',
  );
  expect(rows[0]).toEqual({ hold, agent: 'reporter', in_force: false, release_reason: 'inquiry closed' });
  expect(rows.slice(1).map(({ in_force }) => in_force)).toEqual([true, true]);
  expect(await findings()).toEqual({ sql: [], cli: [] });
}, 120_000);

test('the writer and the auditor can do none of it', async () => {
  for (const url of [database.writerUrl, database.auditorUrl]) {
    await expect(
      dropOldDays({ ...upkeep(), url, keepDays: 400, reason: 'x', dryRun: false }),
    ).rejects.toMatchObject({ code: 'not_owner' });
    const client = new pg.Client(url);
    await client.connect();
    for (const call of [
      `drop_days('x', '2026-01-01')`,
      `redact('x')`,
      `droppable('2026-01-01')`,
      `verify_upkeep(NULL)`,
    ])
      await expect(client.query(`SELECT audit.${call}`)).rejects.toMatchObject({ code: '42501' });
    await client.end();
  }
}, 120_000);

/** As the database's owner, who can switch triggers off. */
async function tamper(sql: string): Promise<void> {
  const tables = ['entry', 'batch', 'stream', 'redacted'].map(
    (table) => `ALTER TABLE audit.${table} DISABLE TRIGGER ALL`,
  );
  await database.query([...tables, sql].join(';'));
}

const upkeepStream = async () =>
  (await database.query("SELECT stream, seq::int FROM audit.entry WHERE kind = 'retention' ORDER BY seq"))
    .rows;

describe('after a retention, tampering is found', () => {
  const both = async () => {
    const found = await findings();
    return { ...found, all: [...new Set([...found.sql, ...found.cli])] };
  };

  test('more rows deleted next to what was dropped', async () => {
    await drop(400);
    await tamper(`DELETE FROM audit.entry WHERE stream = '${log.long}' AND seq IN (10, 11)`);
    const { sql, cli } = await both();
    expect(sql).toContain(`${log.long} gap 12`);
    expect(cli).toContain(`${log.long} gap 12`);
  }, 120_000);

  test('a stream cut off at its end', async () => {
    await drop(400);
    await tamper(`DELETE FROM audit.entry WHERE stream = '${log.long}' AND seq >= 12`);
    const { sql, cli } = await both();
    expect(sql).toContain(`${log.long} head 15`);
    expect(cli).toContain(`${log.long} head 15`);
  }, 120_000);

  test('days dropped without an entry', async () => {
    await tamper(`DELETE FROM audit.entry WHERE stream = '${log.long}' AND seq BETWEEN 4 AND 9`);
    const { sql, cli } = await both();
    expect(sql).toContain(`${log.long} gap 10`);
    expect(cli).toContain(`${log.long} gap 10`);
  }, 120_000);

  test('the entry deleted', async () => {
    await drop(400);
    const [entry] = await upkeepStream();
    await tamper(
      `DELETE FROM audit.entry WHERE stream = '${entry.stream}'; DELETE FROM audit.batch WHERE stream = '${entry.stream}'; DELETE FROM audit.stream WHERE stream = '${entry.stream}'`,
    );
    const { sql, cli } = await both();
    for (const found of [sql, cli])
      expect(found).toEqual(expect.arrayContaining([`${log.long} gap 10`, `${log.short} head 7`]));
  }, 120_000);

  test('a range made longer in the entry, hashed again, and the rows deleted', async () => {
    await drop(400);
    const [entry] = (await upkeepStream()).filter(({ seq }) => seq >= 3);
    const of = `stream = '${entry.stream}'`;
    await tamper(`
      UPDATE audit.entry e SET detail = ARRAY(
          SELECT CASE WHEN v LIKE '4-9 %' THEN regexp_replace(regexp_replace(v, '^4-9', '4-11'), '[0-9a-f]{64}$', encode(g.hash, 'hex')) ELSE v END
            FROM unnest(e.detail) WITH ORDINALITY u (v, o) ORDER BY o)
        FROM audit.entry g WHERE g.stream = '${log.long}' AND g.seq = 11 AND e.kind = 'retention';
      DELETE FROM audit.entry WHERE stream = '${log.long}' AND seq IN (10, 11);
      DO $$ DECLARE r record; previous bytea := decode(repeat('00', 32), 'hex'); BEGIN
        FOR r IN SELECT seq FROM audit.entry WHERE ${of} ORDER BY seq LOOP
          UPDATE audit.entry SET prev_hash = previous WHERE ${of} AND seq = r.seq;
          UPDATE audit.entry e SET hash = audit.entry_hash(e) WHERE ${of} AND seq = r.seq RETURNING hash INTO previous;
        END LOOP;
        UPDATE audit.batch SET hash = previous WHERE ${of};
        UPDATE audit.stream SET head_hash = previous WHERE ${of};
      END $$`);
    const { sql, cli } = await both();
    expect(sql.some((one) => one.startsWith(`${entry.stream} retention`))).toBe(true);
    expect(cli).toContain(`${entry.stream} batch_signature 1`);
  }, 120_000);

  test('a batch of dropped rows deleted, or its end moved', async () => {
    await drop(400);
    await tamper(`DELETE FROM audit.batch WHERE stream = '${log.long}' AND from_seq = 4`);
    const missing = await both();
    for (const found of [missing.sql, missing.cli]) expect(found).toContain(`${log.long} batch 8`);
  }, 120_000);

  test('a row of the kept kinds between dropped ones changed', async () => {
    await drop(400);
    await tamper(
      `UPDATE audit.entry e SET detail = '{digest,other,rules,[]}' WHERE stream = '${log.short}' AND seq = 3;
       UPDATE audit.entry e SET hash = audit.entry_hash(e) WHERE stream = '${log.short}' AND seq = 3`,
    );
    const { sql, cli } = await both();
    expect(sql).toEqual(expect.arrayContaining([`${log.short} batch 3`, `${log.short} head 7`]));
    expect(cli).toEqual(expect.arrayContaining([`${log.short} batch 3`, `${log.short} retention 4`]));
  }, 120_000);

  describe('an entry that lies, signed by the installation', () => {
    /** Rows deleted, and an entry for them; where it is. */
    async function claim(stream: string, from: number, to: number, told: { before?: string; hash?: string }) {
      const { rows } = await database.query(
        `SELECT encode(a.prev_hash, 'hex') AS prev, encode(b.hash, 'hex') AS hash FROM audit.entry a, audit.entry b
          WHERE a.stream = $1 AND a.seq = $2 AND b.stream = $1 AND b.seq = $3`,
        [stream, from, to],
      );
      const made = makeStream(signer, { purpose: 'upkeep' });
      const writer = new pg.Client(database.writerUrl);
      await writer.connect();
      await writer.query(appendCall('audit', made.start()));
      const before = told.before ?? new Date(Number(ago(100, 0) / 1000n)).toISOString();
      const ranges = `${from}-${to} ${rows[0].prev} ${told.hash ?? rows[0].hash}`;
      const detail = { retention: 'r', reason: 'x', by: 'x', before, stream, rows: '1', ranges };
      await writer.query(appendCall('audit', made.batch([event('retention', { detail })])));
      await writer.end();
      return `${made.stream} retention 3`;
    }
    const gone = (stream: string, from: number, to: number) =>
      tamper(`DELETE FROM audit.entry WHERE stream = '${stream}' AND seq BETWEEN ${from} AND ${to}`);

    test('is none where it is true', async () => {
      await claim(log.long, 4, 9, {});
      await gone(log.long, 4, 9);
      expect(await findings()).toEqual({ sql: [], cli: [] });
    }, 120_000);

    test('about days that were not over', async () => {
      const at = await claim(log.busy, 4, 5, { before: new Date(Date.now() + 86_400_000).toISOString() });
      await gone(log.busy, 4, 5);
      expect(await findings()).toEqual({ sql: [at], cli: [at] });
    }, 120_000);

    test('about a day, and rows of today', async () => {
      const at = await claim(log.busy, 4, 5, {});
      await gone(log.busy, 4, 5);
      expect(await findings()).toEqual({ sql: [at], cli: [at] });
    }, 120_000);

    test('about hashes, in the middle of a batch and at its end', async () => {
      for (const [to, hash] of [
        [9, 'a'.repeat(64)],
        [7, 'b'.repeat(64)],
      ] as const)
        await claim(log.long, 4, to, { hash });
      await gone(log.long, 4, 9);
      const { sql, cli } = await both();
      for (const found of [sql, cli])
        expect(found).toEqual(expect.arrayContaining([`${log.long} gap 10`, `${log.long} retention 4`]));
    }, 120_000);

    test('about rows that are there', async () => {
      await claim(log.long, 4, 9, {});
      await gone(log.long, 4, 8);
      const { sql, cli } = await both();
      for (const found of [sql, cli]) expect(found).toContain(`${log.long} retention 4`);
    }, 120_000);
  });
});
