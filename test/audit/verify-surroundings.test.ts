import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { type AuditDatabase, createAuditDatabase } from './support.ts';
import { STREAMS } from './tampering/base-log.ts';
import { FIXTURE, type Fixture } from './tampering/make.ts';

const { keys, checkpoint, log }: Fixture = JSON.parse(readFileSync(FIXTURE, 'utf8'));
const main = STREAMS.main;
/** What was done to the log, so that there is something to find. */
const TAMPERED = [
  `UPDATE audit.entry SET agent = 'x' WHERE stream = '${main}' AND seq = 4`,
  `UPDATE audit.batch SET signature = set_byte(signature, 9, get_byte(signature, 9) # 1)
    WHERE stream = '${STREAMS.requests}' AND from_seq = 4`,
  `DELETE FROM audit.entry WHERE stream = '${STREAMS.next}' AND seq = 6`,
];
const FOUND = [`batch_signature ${STREAMS.requests} 4`, `gap ${STREAMS.next} 7`, `row_hash ${main} 4`];

let database: AuditDatabase;
let auditor: string;
let honest: readonly string[];
let tampered: readonly string[];

beforeAll(async () => {
  database = await createAuditDatabase();
  auditor = database.roles.auditor.name;
  await database.query(`SELECT audit.ensure_day('2026-03-01'), audit.ensure_day('2026-03-02')`);
  for (const table of ['entry', 'batch', 'stream', 'signing_key', 'leaf', 'checkpoint'])
    await database.query(`ALTER TABLE audit.${table} DISABLE TRIGGER ALL`);
  await database.query(log.join(';'));
  honest = await linesOf();
  await database.query(TAMPERED.join(';'));
  tampered = await linesOf();
});
afterAll(() => database?.dropAll());

const VERIFY = `SELECT stream, seq::pg_catalog.text AS seq, "check", ok, detail FROM audit.verify(checkpoint => $1, keys => $2, "full" => true)`;

/** Every line that verify says to the auditor, in a session of its own that begins with these statements. */
async function linesOf(setUp = ''): Promise<readonly string[]> {
  const client = new pg.Client(database.auditorUrl);
  await client.connect();
  try {
    if (setUp !== '') await client.query(setUp);
    const { rows } = await client.query(VERIFY, [checkpoint, JSON.stringify(keys)]);
    return rows.map((row) => JSON.stringify(row)).sort();
  } finally {
    await client.end();
  }
}

function findings(lines: readonly string[]): string[] {
  return lines
    .map((line) => JSON.parse(line))
    .filter(({ ok, seq }) => ok !== true && seq !== null)
    .map(({ check, stream, seq }) => `${check} ${stream} ${seq}`)
    .sort();
}

describe('the auditor’s session', () => {
  it('without anything set: an honest log is whole, and what was done to the other is found', () => {
    expect(findings(honest)).toEqual([]);
    expect(findings(tampered)).toEqual(expect.arrayContaining(FOUND));
  });

  it.each([
    'bytea_output = escape',
    "DateStyle = 'SQL, DMY'",
    "DateStyle = 'German, YMD'",
    'IntervalStyle = iso_8601',
    "TimeZone = 'Pacific/Kiritimati'",
    "TimeZone = 'Etc/GMT+12'",
    "TimeZone = 'America/St_Johns'",
    'extra_float_digits = -15',
    'standard_conforming_strings = off',
    'backslash_quote = off',
    'escape_string_warning = off',
    'transform_null_equals = on',
    'array_nulls = off',
    'quote_all_identifiers = on',
    'row_security = off',
    'row_security = on',
    'plan_cache_mode = force_generic_plan',
    'plan_cache_mode = force_custom_plan',
    'constraint_exclusion = on',
    'enable_seqscan = off; SET enable_sort = off; SET enable_hashjoin = off',
    'enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off',
    'enable_mergejoin = off; SET enable_nestloop = off; SET enable_material = off',
    'enable_hashagg = off; SET enable_memoize = off; SET enable_partition_pruning = off',
    'join_collapse_limit = 1; SET from_collapse_limit = 1; SET geqo_threshold = 2',
    "work_mem = '64kB'; SET hash_mem_multiplier = 1",
    'parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0',
    'debug_parallel_query = on',
    'jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = 0',
    "client_min_messages = 'debug5'",
    "default_transaction_isolation = 'serializable'",
    'default_transaction_read_only = on',
    "plpgsql.extra_errors = 'all'",
    "plpgsql.extra_warnings = 'all'",
    'seed = 0.5',
    "search_path = ''",
    'search_path = audit, pg_temp, pg_catalog',
  ])('SET %s', async (setting) => {
    expect(await linesOf(`SET ${setting}`)).toEqual(tampered);
  });
});

it('a note that arrives in another encoding is none, and that is said', async () => {
  await expect(linesOf("SET client_encoding = 'LATIN1'")).rejects.toMatchObject({
    code: '22023',
    message: 'checkpoint is no signed note of a log: expected the whole text, as it was published',
  });
});

describe('settings that came with the log-in', () => {
  it.each([
    'ALTER ROLE @role@ SET search_path = hostile_login, pg_temp, audit, pg_catalog',
    'ALTER ROLE @role@ IN DATABASE @database@ SET search_path = hostile_login, audit',
    'ALTER DATABASE @database@ SET search_path = hostile_login, audit',
    'ALTER DATABASE @database@ SET standard_conforming_strings = off',
    "ALTER ROLE @role@ SET TimeZone = 'Etc/GMT+12'",
    'ALTER ROLE @role@ SET row_security = on',
    'ALTER ROLE @role@ SET bytea_output = escape',
  ])('%s', async (text) => {
    const sql = text.replace('@role@', auditor).replace('@database@', database.name);
    const reset = sql.replace(/ SET (\w+) .*/, ' RESET $1');
    await database.query(`CREATE SCHEMA hostile_login;
      CREATE FUNCTION hostile_login.sha256(bytea) RETURNS bytea LANGUAGE sql RETURN '\\x00'::bytea;
      CREATE FUNCTION hostile_login.differs(bytea, bytea) RETURNS boolean LANGUAGE sql RETURN false;
      CREATE OPERATOR hostile_login.<> (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = hostile_login.differs);
      GRANT USAGE ON SCHEMA hostile_login TO PUBLIC`);
    await database.query(sql);
    try {
      expect(await linesOf()).toEqual(tampered);
      const { findings: found } = await verifyLog({ url: database.auditorUrl, schema: 'audit', keys });
      expect(found.map(({ check, stream, seq }) => `${check} ${stream} ${seq}`)).toEqual(
        expect.arrayContaining(FOUND),
      );
    } finally {
      await database.query(reset);
      await database.query('DROP SCHEMA hostile_login CASCADE');
    }
  });
});

/** Types, aggregates, functions that return sets, casts and relations under names that the checks use. */
const OBJECTS = (schema: string) => `
  CREATE DOMAIN ${schema}.text AS pg_catalog.int4;
  CREATE DOMAIN ${schema}.bytea AS pg_catalog.int4;
  CREATE DOMAIN ${schema}.jsonb AS pg_catalog.int4;
  CREATE DOMAIN ${schema}.numeric AS pg_catalog.int4;
  CREATE DOMAIN ${schema}.int4 AS pg_catalog.text;
  CREATE DOMAIN ${schema}.int8 AS pg_catalog.text;
  CREATE DOMAIN ${schema}.bool AS pg_catalog.text;
  CREATE DOMAIN ${schema}.timestamptz AS pg_catalog.text;
  CREATE DOMAIN ${schema}.regclass AS pg_catalog.text;
  CREATE TYPE ${schema}.entry AS (nothing pg_catalog.int4);
  CREATE TYPE ${schema}.batch AS (nothing pg_catalog.int4);
  CREATE VIEW ${schema}.pg_class AS SELECT 1 AS nothing;
  CREATE VIEW ${schema}.pg_inherits AS SELECT 1 AS nothing;
  CREATE VIEW ${schema}.stream AS SELECT 1 AS nothing;`;
const FUNCTIONS = (schema: string) => `
  CREATE FUNCTION ${schema}.lies(pg_catalog.bool, pg_catalog.bool) RETURNS pg_catalog.bool LANGUAGE sql RETURN true;
  CREATE FUNCTION ${schema}.fails(pg_catalog.int8, "any") RETURNS pg_catalog.int8 LANGUAGE internal AS 'int8inc_any';
  CREATE AGGREGATE ${schema}.bool_or(pg_catalog.bool) (SFUNC = ${schema}.lies, STYPE = pg_catalog.bool, INITCOND = 'true');
  CREATE AGGREGATE ${schema}.bool_and(pg_catalog.bool) (SFUNC = ${schema}.lies, STYPE = pg_catalog.bool, INITCOND = 'true');
  CREATE FUNCTION ${schema}.unnest(pg_catalog._bool) RETURNS SETOF pg_catalog.bool LANGUAGE sql AS 'SELECT true';
  CREATE FUNCTION ${schema}.unnest(pg_catalog._text) RETURNS SETOF pg_catalog.text LANGUAGE sql AS 'SELECT NULL::pg_catalog.text';
  CREATE FUNCTION ${schema}.jsonb_array_elements(pg_catalog.jsonb) RETURNS SETOF pg_catalog.jsonb LANGUAGE sql AS $$ SELECT NULL::pg_catalog.jsonb $$;
  CREATE FUNCTION ${schema}.regexp_matches(pg_catalog.text, pg_catalog.text, pg_catalog.text) RETURNS SETOF pg_catalog._text LANGUAGE sql AS $$ SELECT NULL::pg_catalog._text $$;
  CREATE FUNCTION ${schema}.gen_random_uuid() RETURNS pg_catalog.uuid LANGUAGE sql RETURN '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid;
  CREATE FUNCTION ${schema}.sha512(pg_catalog.bytea) RETURNS pg_catalog.bytea LANGUAGE sql RETURN '\\x00'::pg_catalog.bytea;
  CREATE FUNCTION ${schema}.mod(pg_catalog.numeric, pg_catalog.numeric) RETURNS pg_catalog.numeric LANGUAGE sql RETURN 0;
  CREATE FUNCTION ${schema}.array_fill(pg_catalog.bool, pg_catalog._int4) RETURNS pg_catalog._bool LANGUAGE sql RETURN '{t,t,t}'::pg_catalog._bool;
  CREATE FUNCTION ${schema}.same(pg_catalog._text, pg_catalog._text) RETURNS pg_catalog.bool LANGUAGE sql RETURN true;
  CREATE OPERATOR ${schema}.= (LEFTARG = pg_catalog._text, RIGHTARG = pg_catalog._text, FUNCTION = ${schema}.same);
  CREATE FUNCTION ${schema}.equal(pg_catalog.bytea, pg_catalog.bytea) RETURNS pg_catalog.bool LANGUAGE sql RETURN true;
  CREATE OPERATOR ${schema}.= (LEFTARG = pg_catalog.bytea, RIGHTARG = pg_catalog.bytea, FUNCTION = ${schema}.equal);
  CREATE FUNCTION ${schema}.unequal(pg_catalog.bytea, pg_catalog.bytea) RETURNS pg_catalog.bool LANGUAGE sql RETURN false;
  CREATE OPERATOR ${schema}.<> (LEFTARG = pg_catalog.bytea, RIGHTARG = pg_catalog.bytea, FUNCTION = ${schema}.unequal);`;

describe('objects under the names that verify uses', () => {
  it.each(['public', 'auditors_own'])('in schema %s, first in the search_path', async (schema) => {
    await database.query(
      `DROP SCHEMA IF EXISTS ${schema} CASCADE; CREATE SCHEMA ${schema} AUTHORIZATION ${auditor}`,
    );
    // The auditor's own: he needs no more than a schema.
    const path = `SET search_path = ${schema}, pg_temp, pg_catalog`;
    const session = new pg.Client(database.auditorUrl);
    await session.connect();
    await session.query(OBJECTS(schema));
    // A function in C is a superuser's to make.
    await session.query(FUNCTIONS(schema).replace(/CREATE FUNCTION \w+\.fails.*\n/, ''));
    const { rows } = await session
      .query(`${path}; SELECT 'x'::pg_catalog.bytea = 'y'::pg_catalog.bytea AS same`)
      .then((results) => (Array.isArray(results) ? results.at(-1) : results));
    expect(rows).toEqual([{ same: true }]);
    await session.end();
    expect(await linesOf(path)).toEqual(tampered);
    await database.query(`DROP SCHEMA ${schema} CASCADE; CREATE SCHEMA IF NOT EXISTS public`);
  });

  it('in pg_temp, first in the search_path', async () => {
    const objects = OBJECTS('pg_temp').replaceAll('CREATE VIEW', 'CREATE TEMP VIEW');
    expect(await linesOf(`${objects} SET search_path = pg_temp, audit, pg_catalog`)).toEqual(tampered);
  });

  it('plans made before under other settings are not used', async () => {
    const before = `SET standard_conforming_strings = off; SET search_path = audit;
      SELECT count(*) FROM audit.signed_approvals; SELECT count(*) FROM audit.segregation_of_duties;
      SELECT audit.ed25519_verify('', '', ''); SELECT count(*) FROM audit.verify("full" => true)`;
    expect(await linesOf(before)).toEqual(tampered);
  });
});

describe('what stops verify', () => {
  it('is an error wherever the time ends, and never a part of the result', async () => {
    const ended: (string | number)[] = [];
    for (const ms of [1, 5, 10, 20, 40, 80, 160, 320, 640]) {
      const lines = await linesOf(`SET statement_timeout = ${ms}`).catch((error: unknown) => {
        expect(error).toMatchObject({ code: '57014' });
        return null;
      });
      ended.push(lines === null ? 'error' : 'whole');
      if (lines !== null) expect(lines).toEqual(tampered);
    }
    expect(ended[0]).toBe('error');
  });

  it('is an error where a table stays locked', async () => {
    const holder = new pg.Client(database.url);
    await holder.connect();
    try {
      await holder.query('BEGIN; LOCK TABLE audit.checkpoint IN ACCESS EXCLUSIVE MODE');
      await expect(linesOf('SET lock_timeout = 50')).rejects.toMatchObject({ code: '55P03' });
    } finally {
      await holder.end();
    }
  });

  it('is an error where a policy would hide rows, from the program too', async () => {
    await database.query(`CREATE POLICY nothing_to_see ON audit.batch USING (false);
      ALTER TABLE audit.batch ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY`);
    try {
      await expect(linesOf()).rejects.toMatchObject({ code: '42501' });
      await expect(linesOf('SET row_security = on')).rejects.toMatchObject({ code: '42501' });
      const program = verifyLog({ url: database.auditorUrl, schema: 'audit', keys });
      await expect(program).rejects.toMatchObject({ code: '42501' });
    } finally {
      await database.query(`DROP POLICY nothing_to_see ON audit.batch;
        ALTER TABLE audit.batch DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY`);
    }
    expect(await linesOf()).toEqual(tampered);
  });

  it('verify has its settings pinned, whoever defines it anew', async () => {
    const { rows } = await database.query(
      `SELECT proconfig FROM pg_proc WHERE proname = 'verify' AND pronamespace = 'audit'::regnamespace`,
    );
    expect(rows[0]?.proconfig.toSorted()).toEqual([
      'DateStyle=ISO, MDY',
      'IntervalStyle=postgres',
      'TimeZone=UTC',
      'array_nulls=on',
      'bytea_output=hex',
      'extra_float_digits=1',
      'row_security=off',
      'search_path=pg_catalog, pg_temp',
      'standard_conforming_strings=on',
      'transform_null_equals=off',
    ]);
  });
});
