import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseCheckpoint } from '../../src/audit/checkpoints/checkpoint.ts';
import { verifySnapshot } from '../../src/audit/verify/verify-database.ts';
import { type AuditDatabase, createAuditDatabase } from './support.ts';
import { FIXTURE, type Fixture } from './tampering/make.ts';

/**
 * Anything at all in the log's tables is changed, at random: both verifiers must find something. More than the few of an
 * ordinary run with COUNTERSIGN_FLIPS.
 */
const FLIPS = Number(process.env['COUNTERSIGN_FLIPS'] ?? 40);
const SEED = Number(process.env['COUNTERSIGN_SEED'] ?? 7);

/** What may be changed unseen, and why that does no harm. */
const HARMLESS: Readonly<Record<string, string>> = {
  'batch.stored_at': "the database's clock when a batch came: a convenience, of which nothing is proved",
  'checkpoint.at': "the database's clock when a checkpoint came: its anchors have their own",
  'checkpoint.roots':
    'the writer computes the signed root from them before it goes on, and refuses what does not fit',
};

const { keys, checkpoint, log }: Fixture = JSON.parse(readFileSync(FIXTURE, 'utf8'));
const TABLES = ['entry', 'batch', 'stream', 'signing_key', 'leaf', 'checkpoint'];

let database: AuditDatabase;
let admin: pg.Client;
let columns: { table: string; column: string; type: string }[];

beforeAll(async () => {
  database = await createAuditDatabase();
  admin = new pg.Client(database.url);
  await admin.connect();
  await admin.query(`SELECT audit.ensure_day('2026-03-01'), audit.ensure_day('2026-03-02')`);
  await admin.query(TABLES.map((table) => `ALTER TABLE audit.${table} DISABLE TRIGGER ALL`).join(';'));
  await admin.query(`ALTER TABLE audit.batch DROP CONSTRAINT batch_stream_fkey; ${log.join(';')}`);
  const { rows } = await admin.query(
    `SELECT c.relname AS "table", a.attname AS "column", format_type(a.atttypid, NULL) AS type
       FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
      WHERE c.relnamespace = 'audit'::regnamespace AND c.relname = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped
      ORDER BY 1, a.attnum`,
    [TABLES],
  );
  columns = rows;
});
afterAll(async () => {
  await admin.end();
  await database.dropAll();
});

/** Numbers that look random and are the same for a seed (Numerical Recipes' generator). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** SQL for another value than that of the column, in a small way. */
function altered(column: string, type: string, random: (below: number) => number): string {
  const old = `t.${column}`;
  const n = random(1000);
  if (type === 'bytea')
    return `CASE WHEN octet_length(${old}) > 0
      THEN set_bit(${old}, ${n} % (8 * octet_length(${old})), 1 - get_bit(${old}, ${n} % (8 * octet_length(${old})))) ELSE '\\x00' END`;
  if (type === 'text')
    return [
      `coalesce(${old}, '') || 'x'`,
      `overlay(coalesce(${old}, '') PLACING '~' FROM 1 + ${n} % greatest(length(coalesce(${old}, '')), 1))`,
    ][n % 2] as string;
  if (type === 'boolean') return `${old} IS NOT TRUE`;
  if (type === 'jsonb') return `${old} || '{"more": "x"}'`;
  if (type === 'text[]')
    return [`${old} || 'x'::text`, `coalesce(${old}[2:], '{}') || 'x'::text`][n % 2] as string;
  if (type === 'bytea[]') return `${old} || '\\x00'::bytea`;
  if (type.startsWith('timestamp')) return `coalesce(${old} + interval '1 microsecond', '2026-03-02')`;
  return `coalesce(${old}, 0) + 1`;
}

/** A change of one field, or of a whole row, somewhere. */
function somewhere(random: (below: number) => number): { what: string; harmless: boolean; sql: string } {
  const { table, column, type } = columns[random(columns.length)] ?? { table: '', column: '', type: '' };
  const row = `(SELECT (tableoid, ctid)::text FROM audit.${table} ORDER BY 1 OFFSET ${random(10_000)} % (SELECT count(*) FROM audit.${table}) LIMIT 1)`;
  const that = `(t.tableoid, t.ctid)::text = ${row}`;
  const how = random(10);
  // A checkpoint's row may go: the next one covers the same, and the newest is to be kept elsewhere.
  if (how === 0 && table !== 'checkpoint')
    return {
      what: `a row of ${table} deleted`,
      harmless: false,
      sql: `DELETE FROM audit.${table} t WHERE ${that}`,
    };
  const sql = `UPDATE audit.${table} t SET ${column} = ${altered(column, type, random)} WHERE ${that}`;
  return { what: `${table}.${column}`, harmless: `${table}.${column}` in HARMLESS, sql };
}

async function bySql(): Promise<number> {
  const { rows } = await admin.query(
    `SELECT "check" FROM audit.verify(checkpoint => $1, keys => $2, "full" => true) WHERE NOT ok`,
    [checkpoint, JSON.stringify(keys)],
  );
  return rows.length;
}

async function byProgram(): Promise<number> {
  const { findings } = await verifySnapshot(admin, 'audit', keys, parseCheckpoint(checkpoint) ?? undefined);
  return findings.length;
}

test(`any of ${FLIPS} small changes is found by both, or is known to be harmless`, async () => {
  const random = randomFrom(SEED);
  let tried = 0;
  for (let i = 0; i < FLIPS; i += 1) {
    const { what, harmless, sql } = somewhere(random);
    await admin.query('BEGIN');
    try {
      // What a constraint refuses was not changed.
      const changed = await admin.query(sql).then(
        ({ rowCount }) => rowCount === 1,
        () => false,
      );
      if (!changed) continue;
      tried += 1;
      const found = { program: (await byProgram()) > 0, sql: (await bySql()) > 0 };
      if (!harmless)
        expect(found, `change ${i} of seed ${SEED}: ${what}: ${sql}`).toEqual({ program: true, sql: true });
    } finally {
      await admin.query('ROLLBACK');
    }
  }
  expect(tried).toBeGreaterThan(FLIPS / 2);
}, 600_000);

test('a row that would stop a check is found all the same, and takes nothing with it', async () => {
  const stops = [
    `UPDATE audit.entry SET detail = ARRAY['odd'] WHERE kind = 'log_start'`,
    `UPDATE audit.entry SET detail = ARRAY['previous_stream', 'x', 'previous_seq', 'many'] WHERE kind = 'log_recovered'`,
    `UPDATE audit.entry SET detail = ARRAY['stream_jwk', 'none'] WHERE kind = 'log_start'`,
    `UPDATE audit.entry SET receipt = 'eyJ.eyJ.x' WHERE kind = 'released'`,
    `UPDATE audit.entry SET detail = ARRAY[ARRAY['kid', 'x', 'y']] WHERE kind = 'key'`,
    `UPDATE audit.signing_key SET valid_from = '-infinity', valid_to = 'infinity'`,
    `UPDATE audit.stream SET started_at = 'infinity', public_jwk = '[]', facts = 'null'`,
    `UPDATE audit.checkpoint SET note = repeat(note, 100)`,
    `UPDATE audit.checkpoint SET root = sha256(root), roots = '{}'`,
  ];
  for (const sql of stops) {
    await admin.query('BEGIN');
    try {
      await admin.query(sql);
      await admin.query(`UPDATE audit.entry SET agent = 'x' WHERE seq = 4 AND kind = 'intent'`);
      const { rows } = await admin.query(
        `SELECT count(*) FILTER (WHERE seq = 4 AND "check" = 'row_hash')::int AS edited, count(*)::int AS all
           FROM audit.verify(keys => $1) WHERE NOT ok AND seq IS NOT NULL`,
        [JSON.stringify(keys)],
      );
      expect(rows[0].edited, sql).toBeGreaterThan(0);
      expect(rows[0].all, sql).toBeGreaterThan(rows[0].edited);
      const { findings } = await verifySnapshot(admin, 'audit', keys);
      expect(
        findings.filter(({ seq, check }) => seq === 4n && check === 'row_hash').length,
        sql,
      ).toBeGreaterThan(0);
      expect(findings.length, sql).toBeGreaterThan(1);
    } finally {
      await admin.query('ROLLBACK');
    }
  }
});
