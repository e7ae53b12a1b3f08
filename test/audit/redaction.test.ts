import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { addHold } from '../../src/audit/upkeep/legal-hold.ts';
import { type RedactionScope, redactStatements, seqsText } from '../../src/audit/upkeep/redaction.ts';
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
const redact = (scope: RedactionScope, dryRun = false) =>
  redactStatements({ ...upkeep(), scope, reason: 'asked for by the person', dryRun });

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

const texts = async () =>
  (
    await database.query(
      `SELECT sql FROM audit.entry WHERE kind = 'intent' AND sql IS NOT NULL ORDER BY stream, seq`,
    )
  ).rows.map(({ sql }) => sql);
const everything = async () =>
  JSON.stringify((await database.query('SELECT e.*::text FROM audit.entry e')).rows);

async function tamper(sql: string): Promise<void> {
  const tables = ['entry', 'batch', 'stream', 'redacted'].map(
    (table) => `ALTER TABLE audit.${table} DISABLE TRIGGER ALL`,
  );
  await database.query([...tables, sql].join(';'));
}

describe('redaction', () => {
  test("erases an agent's statements, and the log is whole", async () => {
    const result = await redact({ agent: 'reporter' });
    expect(result).toMatchObject({ rows: 8, requests: 0 });
    expect(await texts()).toEqual(["SELECT 'private-21', $1"]);
    const all = await everything();
    expect(all).not.toContain('private-1');
    expect(all).not.toContain('secret-1');
    const { rows } = await database.query(
      `SELECT count(*)::int AS n FROM audit.entry
        WHERE kind = 'intent' AND salt IS NULL AND sql_sha256 IS NULL AND parameters IS NULL AND content IS NOT NULL`,
    );
    expect(rows).toEqual([{ n: 8 }]);
    expect(await findings()).toEqual({ sql: [], cli: [] });
    expect(
      (await database.query('SELECT redaction, "by", reason, scope, rows FROM audit.redactions')).rows,
    ).toEqual([
      {
        redaction: result.redaction,
        by: 'owner (on the machine)',
        reason: 'asked for by the person',
        scope: '{"agent":"reporter"}',
        rows: '8',
      },
    ]);
    await expect(redact({ agent: 'reporter' })).rejects.toMatchObject({ code: 'nothing_to_do' });
  }, 120_000);

  test('by person, by time and by place', async () => {
    const from = new Date(Number(ago(401, 0) / 1000n));
    const to = new Date(Number(ago(399, 0) / 1000n));
    expect(await redact({ person: 'deputy', from, to })).toMatchObject({ rows: 2 });
    await expect(redact({ person: 'nobody' })).rejects.toMatchObject({ code: 'nothing_to_do' });
    expect(await redact({ statements: [{ stream: log.busy, seq: 4n }] })).toMatchObject({ rows: 1 });
    // An outcome has no text.
    await expect(redact({ statements: [{ stream: log.busy, seq: 5n }] })).rejects.toMatchObject({
      code: 'nothing_to_do',
    });
    expect(await texts()).toHaveLength(6);
    expect(await findings()).toEqual({ sql: [], cli: [] });
  }, 120_000);

  test('a dry run erases nothing', async () => {
    expect(await redact({ agent: 'reporter' }, true)).toEqual({ redaction: null, rows: 8, requests: 0 });
    expect(await texts()).toHaveLength(9);
  }, 120_000);

  test('a hold over one of the rows stops it, named; another does not', async () => {
    const hold = await addHold({ ...upkeep(), scope: { person: 'deputy' }, reason: 'inquiry 7' });
    const refused = await redact({ statements: [{ stream: log.long, seq: 4n }] }).catch(
      (error: unknown) => error,
    );
    expect(refused).toMatchObject({ code: 'legal_hold' });
    expect(String(refused)).toContain(`${hold}: inquiry 7`);
    expect(await texts()).toHaveLength(9);
  }, 120_000);

  test('and then retention, of the same days', async () => {
    await redact({ agent: 'reporter' });
    await dropOldDays({ ...upkeep(), keepDays: 400, reason: 'old', dryRun: false });
    expect(await findings()).toEqual({ sql: [], cli: [] });
    await redact({ agent: 'importer' });
    expect(await findings()).toEqual({ sql: [], cli: [] });
  }, 120_000);
});

describe('the append-only trigger', () => {
  const erase = (where: string) =>
    database.query(
      `UPDATE audit.entry SET salt = NULL, sql = NULL, sql_sha256 = NULL, parameters = NULL WHERE ${where}`,
    );
  const REFUSED = { code: '42501' };

  test('refuses an erasure that no entry names, and whatever settings are', async () => {
    await expect(erase(`stream = '${log.long}' AND seq = 4`)).rejects.toMatchObject(REFUSED);
    await expect(
      database.query(
        `SET session_replication_role = replica; UPDATE audit.entry SET sql = NULL WHERE stream = '${log.long}' AND seq = 4`,
      ),
    ).rejects.toMatchObject(REFUSED);
    // A row of the list that no entry of the log stands behind.
    await database.query(`INSERT INTO audit.redacted VALUES ('${log.long}', 4, '${log.long}', 4)`);
    await expect(erase(`stream = '${log.long}' AND seq = 4`)).rejects.toMatchObject(REFUSED);
  }, 120_000);

  test('lets a named row lose its text, and change in no other way', async () => {
    await redact({ statements: [{ stream: log.long, seq: 4n }] });
    const at = `stream = '${log.long}' AND seq = 4`;
    await expect(erase(at)).resolves.toBeDefined();
    for (const change of ["sql = 'SELECT 2'", "agent = 'x'", 'content = NULL', "salt = '\\x00'"])
      await expect(database.query(`UPDATE audit.entry SET ${change} WHERE ${at}`)).rejects.toMatchObject(
        REFUSED,
      );
    await expect(database.query(`DELETE FROM audit.entry WHERE ${at}`)).rejects.toMatchObject(REFUSED);
    for (const sql of [
      'DELETE FROM audit.redacted',
      'TRUNCATE audit.redacted',
      'UPDATE audit.redacted SET seq = 6',
    ])
      await expect(database.query(sql)).rejects.toMatchObject(REFUSED);
  }, 120_000);
});

describe('tampering with redaction is found', () => {
  test('text erased without an entry, also beside one that was redacted', async () => {
    await redact({ statements: [{ stream: log.long, seq: 4n }] });
    await tamper(
      `UPDATE audit.entry SET salt = NULL, sql = NULL, sql_sha256 = NULL, parameters = NULL WHERE stream = '${log.long}' AND seq = 6`,
    );
    const wanted = [`${log.long} content 6`];
    expect(await findings()).toEqual({ sql: wanted, cli: wanted });
  }, 120_000);

  test('the row named, and text of somebody else put there', async () => {
    await redact({ statements: [{ stream: log.long, seq: 4n }] });
    await tamper(
      `UPDATE audit.entry SET salt = '\\x00', sql = 'SELECT 1' WHERE stream = '${log.long}' AND seq = 4`,
    );
    const { sql, cli } = await findings();
    expect(sql).toEqual(expect.arrayContaining([`${log.long} content 4`, `${log.long} redaction 4`]));
    expect(cli).toEqual(expect.arrayContaining([`${log.long} content 4`, `${log.long} redaction 4`]));
  }, 120_000);

  test('an entry that names a row whose text is there', async () => {
    const made = makeStream(signer);
    const writer = new pg.Client(database.writerUrl);
    await writer.connect();
    await writer.query(appendCall('audit', made.start()));
    await writer.query(
      appendCall(
        'audit',
        made.batch([
          event('redaction', { detail: { redaction: 'r', stream: log.long, rows: '4', count: '1' } }),
        ]),
      ),
    );
    await writer.end();
    const wanted = [`${log.long} redaction 4`];
    expect(await findings()).toEqual({ sql: wanted, cli: wanted });
  }, 120_000);

  test('an entry of a stream that another key endorsed', async () => {
    const forger = makeSigner();
    await redactStatements({
      ...upkeep(),
      ...{ signer: forger, scope: { agent: 'importer' }, reason: 'x', dryRun: false },
    });
    const { rows } = await database.query("SELECT stream, seq FROM audit.entry WHERE kind = 'redaction'");
    const { sql, cli } = await findings();
    expect(sql).toContain(`${rows[0].stream} redaction ${rows[0].seq}`);
    expect(cli).toContain(`${rows[0].stream} endorsement 1`);
  }, 120_000);

  test('rows of an entry changed: one more is erased', async () => {
    await redact({ statements: [{ stream: log.long, seq: 4n }] });
    const { rows } = await database.query("SELECT stream, seq FROM audit.entry WHERE kind = 'redaction'");
    const at = `stream = '${rows[0].stream}' AND seq = ${rows[0].seq}`;
    await tamper(
      `UPDATE audit.entry SET detail = array_replace(detail, '4', '4-6') WHERE ${at};
       UPDATE audit.entry e SET hash = audit.entry_hash(e) WHERE ${at};
       UPDATE audit.entry SET salt = NULL, sql = NULL, sql_sha256 = NULL, parameters = NULL WHERE stream = '${log.long}' AND seq = 6`,
    );
    const { sql, cli } = await findings();
    for (const found of [sql, cli])
      expect(found).toContain(`${rows[0].stream} link ${Number(rows[0].seq) + 1}`);
    expect(sql).toContain(`${rows[0].stream} redaction ${rows[0].seq}`);
  }, 120_000);
});

test('numbers are named one by one and in ranges', () => {
  expect(seqsText([3n, 5n, 6n, 7n, 9n])).toBe('3,5-7,9');
  expect(seqsText([])).toBe('');
});
