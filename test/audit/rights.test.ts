import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { migrateApprovals } from '../../src/approval/migrate.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { withClient } from '../support/postgres.ts';
import { makeStream } from './stream-maker.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  dropRoles,
  intent,
  makeSigner,
  outcome,
} from './support.ts';

/** Everything in both schemas, and who may do what with it. What is new there fails until it has its line. */
const EXPECTED = '../../fixtures/audit/rights.txt';

let database: AuditDatabase;
let requestsOwner: string;
let stranger: string;
const signer = makeSigner();

beforeAll(async () => {
  database = await createAuditDatabase();
  requestsOwner = `${database.roles.owner}_requests`;
  stranger = `${database.roles.owner}_stranger`;
  await withClient({ connectionString: database.url }, async (client) => {
    await migrateApprovals(client, {
      owner: requestsOwner,
      writer: database.roles.writer.name,
      auditor: database.roles.auditor.name,
    });
    await client.query(`CREATE ROLE ${stranger} NOLOGIN`);
  });
});
afterAll(async () => {
  await database.query(`DROP ROLE ${stranger}`);
  await database.drop();
  await dropRoles({ ...database.roles, owner: requestsOwner }).catch(() => {});
  await dropRoles(database.roles).catch(() => {});
});

const RELATION_RIGHTS = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'];

/** A line for each object: its kind and name, and what the writer, the auditor and anybody else may do. */
async function rights(): Promise<string[]> {
  const who = [database.roles.writer.name, database.roles.auditor.name, stranger];
  const { rows } = await database.query(
    `WITH who AS (SELECT * FROM unnest($1::text[]) WITH ORDINALITY w (role, place)),
     object AS (
       SELECT 'schema' AS kind, n.nspname AS name, w.place,
              concat_ws(',', CASE WHEN has_schema_privilege(w.role, n.oid, 'USAGE') THEN 'USAGE' END,
                             CASE WHEN has_schema_privilege(w.role, n.oid, 'CREATE') THEN 'CREATE' END) AS may
         FROM pg_namespace n, who w WHERE n.nspname IN ('audit', 'countersign')
       UNION ALL
       SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END,
              n.nspname || '.' || regexp_replace(c.relname, '^entry_\\d{8}$', 'entry_<day>'), w.place,
              concat_ws(',', (SELECT string_agg(r, ',' ORDER BY o) FROM unnest($2::text[]) WITH ORDINALITY u (r, o)
                               WHERE has_table_privilege(w.role, c.oid, r)),
                (SELECT string_agg(r || '(' || columns || ')', ',') FROM (
                   SELECT r, string_agg(a.attname, ' ' ORDER BY a.attnum) AS columns
                     FROM unnest('{SELECT,INSERT,UPDATE,REFERENCES}'::text[]) r, pg_attribute a
                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                      AND NOT has_table_privilege(w.role, c.oid, r)
                      AND has_column_privilege(w.role, c.oid, a.attnum, r)
                    GROUP BY r) x))
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, who w
        WHERE n.nspname IN ('audit', 'countersign') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
       UNION ALL
       SELECT 'sequence', n.nspname || '.' || c.relname, w.place,
              concat_ws(',', (SELECT string_agg(r, ',') FROM unnest('{USAGE,SELECT,UPDATE}'::text[]) r
                               WHERE has_sequence_privilege(w.role, c.oid, r)))
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, who w
        WHERE n.nspname IN ('audit', 'countersign') AND c.relkind = 'S'
       UNION ALL
       SELECT CASE WHEN p.prosecdef THEN 'definer' ELSE 'function' END,
              n.nspname || '.' || p.proname || '('
                || CASE WHEN p.pronargs > 8 THEN '…' ELSE pg_get_function_identity_arguments(p.oid) END || ')', w.place,
              CASE WHEN has_function_privilege(w.role, p.oid, 'EXECUTE') THEN 'EXECUTE' END
         FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, who w
        WHERE n.nspname IN ('audit', 'countersign'))
     SELECT kind, name, array_agg(coalesce(nullif(may, ''), '-') ORDER BY place) AS may
       FROM (SELECT DISTINCT kind, name, place, may FROM object) o GROUP BY kind, name ORDER BY 1, 2`,
    [who, RELATION_RIGHTS],
  );
  return rows.map(
    ({ kind, name, may }) => `${kind} ${name}: writer ${may[0]}; auditor ${may[1]}; anybody ${may[2]}`,
  );
}

test('every object of both schemas is there for exactly whom it is for', async () => {
  const lines = await rights();
  expect(lines.length).toBeGreaterThan(100);
  // Whatever the list says: nobody else reaches anything, and the writer's way into the log is `append` alone.
  const others = lines.filter((line) => !line.endsWith('anybody -'));
  expect(others).toEqual([]);
  const writes = lines.filter((line) => / audit\./.test(line) && !line.includes('writer -'));
  expect(writes.filter((line) => !line.startsWith('definer '))).toEqual([]);
  const auditor = lines.filter((line) =>
    /auditor [^;]*(INSERT|UPDATE|DELETE|TRUNCATE|TRIGGER|CREATE)/.test(line),
  );
  expect(auditor).toEqual([]);
  await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot(EXPECTED);
});

test('functions look names up in pg_catalog, before anything that a caller can make', async () => {
  const { rows } = await database.query(
    `SELECT n.nspname || '.' || p.proname AS name, p.prosecdef AS definer, p.proconfig AS settings
       FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname IN ('audit', 'countersign') AND p.prosqlbody IS NULL
        AND NOT coalesce(p.proconfig && '{"search_path=pg_catalog, pg_temp"}', false)`,
  );
  expect(rows.filter(({ definer }) => definer)).toEqual([]);
  // These qualify every name; without pg_temp in the path, temporary tables would come first.
  expect(rows.map(({ name, settings }) => `${name} ${settings}`).sort()).toEqual([
    'countersign.budget_grant search_path=pg_catalog',
    'countersign.lease_budget search_path=pg_catalog',
  ]);
});

/** Functions and operators of a caller's own under the names of pg_catalog's: each says so when it is called. */
const SHADOWS = `
  CREATE SCHEMA hostile;
  DO $$
  DECLARE f record; made int := 0;
  BEGIN
    FOR f IN
      SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments, format_type(p.prorettype, NULL) AS result
        FROM pg_proc p
       WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND NOT p.proretset
         AND p.proname ~ '^(sha256|decode|encode|format|jsonb_object|cardinality|hashtextextended|repeat|clock_timestamp|to_char|octet_length|convert_to|convert_from|substr|substring|split_part|rtrim|translate|string_to_array|length|int4send|int8send|get_byte|set_byte|jsonb_build_object|jsonb_typeof|array_position|array_ndims|timezone|floor|date_part|extract|random|isfinite|pg_advisory_xact_lock|pg_try_advisory_xact_lock|starts_with|now|mod|abs)$'
    LOOP
      BEGIN
        EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
          f.proname, f.arguments, f.result, 'BEGIN RAISE EXCEPTION ''hostile function''; END');
        made := made + 1;
      EXCEPTION WHEN OTHERS THEN NULL;
      END;
    END LOOP;
    FOR f IN
      SELECT o.oprname, format_type(o.oprleft, NULL) AS l, format_type(o.oprright, NULL) AS r,
             format_type(o.oprresult, NULL) AS result, o.oid
        FROM pg_operator o
       WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprkind = 'b'
         AND o.oprname IN ('=', '<>', '||', '<', '>', '<=', '>=', '+', '-', '*', '/', '%', '->', '->>', '?', '?&', '~', '#', '&', '<<', '>>')
         AND o.oprleft::regtype::text IN ('bytea', 'text', 'bigint', 'integer', 'jsonb', 'boolean', 'timestamp with time zone', 'text[]', 'anyarray', 'numeric')
    LOOP
      BEGIN
        EXECUTE format('CREATE FUNCTION hostile.op_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
          f.oid, f.l, f.r, f.result, 'BEGIN RAISE EXCEPTION ''hostile operator''; END');
        EXECUTE format('CREATE OPERATOR hostile.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = hostile.op_%s)',
          f.oprname, f.l, f.r, f.oid);
        made := made + 1;
      EXCEPTION WHEN OTHERS THEN NULL;
      END;
    END LOOP;
    IF made < 60 THEN RAISE EXCEPTION 'only % shadows', made; END IF;
  END $$;
  GRANT USAGE ON SCHEMA hostile TO PUBLIC`;
const TEMPORARY = ['entry', 'batch', 'stream', 'signing_key', 'leaf', 'checkpoint', 'pg_class', 'pg_proc']
  .map((name) => `CREATE TEMP TABLE ${name} (nothing int)`)
  .join(';');

describe('under a hostile search_path, with temporary tables of the same names', () => {
  const made = makeStream(signer);
  const clients: pg.Client[] = [];
  const hostile = async (url: string): Promise<pg.Client> => {
    const client = new pg.Client(url);
    await client.connect();
    clients.push(client);
    await client.query(`${TEMPORARY}; SET search_path = hostile, pg_temp, audit, pg_catalog`);
    return client;
  };
  beforeAll(() => database.query(SHADOWS));
  afterAll(async () => {
    for (const client of clients) await client.end();
  });

  test('the shadows are what a caller reaches', async () => {
    const client = await hostile(database.auditorUrl);
    await expect(client.query(`SELECT sha256('x'::bytea)`)).rejects.toThrow('hostile function');
    await expect(client.query(`SELECT 'x'::bytea = 'y'::bytea`)).rejects.toThrow('hostile operator');
  });

  test('the writer appends and takes checkpoints', async () => {
    const client = await hostile(database.writerUrl);
    await client.query(appendCall('audit', made.start()));
    const { rows } = await client.query(appendCall('audit', made.batch([intent(1), outcome(1)])));
    expect(rows[0]?.head_seq).toBe('4');
    expect((await client.query('SELECT * FROM audit.begin_checkpoint()')).rows).toHaveLength(1);
    expect((await client.query('SELECT * FROM audit.batches_without_leaf(10)')).rows).toHaveLength(2);
    expect((await client.query('SELECT * FROM audit.checkpoint_roots(1)')).rows).toEqual([]);
    expect((await client.query('SELECT * FROM audit.leaf_hashes(0, 1)')).rows).toEqual([]);
    await expect(
      client.query(
        `SELECT audit.add_checkpoint(1, ARRAY['x'], ARRAY[1]::bigint[], ARRAY['x'::bytea], '{}', 'x', 'x')`,
      ),
    ).rejects.toMatchObject({ code: 'CSA06' });
  });

  test('the auditor verifies and reads every view', async () => {
    const client = await hostile(database.auditorUrl);
    const verify = `SELECT stream, seq::pg_catalog.int4 AS seq, "check" FROM audit.verify("full" OPERATOR(pg_catalog.=>) true)`;
    const sound = verify.replace('OPERATOR(pg_catalog.=>)', '=>');
    const found = async () =>
      (await client.query(sound.replace('SELECT', 'SELECT ok,'))).rows.filter(
        ({ ok, seq }) => !ok && seq !== null,
      );
    expect(await found()).toEqual([]);
    await database.query(
      `ALTER TABLE audit.entry DISABLE TRIGGER append_only; UPDATE audit.entry SET agent = 'x' WHERE seq = 3`,
    );
    expect(await found()).toMatchObject([{ seq: 3, check: 'row_hash' }]);
    const { rows: views } = await database.query(
      `SELECT relname FROM pg_class
        WHERE relnamespace = 'audit'::regnamespace AND relkind = 'v' AND has_table_privilege($1, oid, 'SELECT')`,
      [database.roles.auditor.name],
    );
    expect(views.length).toBeGreaterThan(20);
    for (const { relname } of views)
      await expect(client.query(`SELECT * FROM audit.${relname}`), relname).resolves.toBeDefined();
  });

  test('functions that run with their owner’s rights do not run what a caller made', async () => {
    const { rows: definers } = await database.query(
      `SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS arguments
         FROM pg_proc p WHERE p.pronamespace = 'audit'::regnamespace AND p.prosecdef ORDER BY 1`,
    );
    // Each is called in this file; a new one needs its call.
    expect(definers.map(({ proname }) => proname)).toEqual([
      'add_checkpoint',
      'append',
      'batches_without_leaf',
      'begin_checkpoint',
      'checkpoint_roots',
      'leaf_hashes',
      'receipt_signature',
      'verify',
    ]);
    const client = await hostile(database.auditorUrl);
    const { rows } = await client.query(
      `SELECT audit.receipt_signature('a.b.c', 'req_x', pg_catalog.now()) AS said`,
    );
    expect(rows[0]?.said).toBeDefined();
  });
});
