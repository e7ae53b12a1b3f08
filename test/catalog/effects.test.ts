import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadCatalog } from '../../src/catalog/load.ts';
import type { Catalog, Relation } from '../../src/statement/catalog.ts';
import { createDatabase, superuser, type TestDatabase, withClient } from '../support/postgres.ts';

let database: TestDatabase;
let catalog: Catalog;

/** What a write sets off further down, and what is hidden in less usual places. */
const SCHEMA = `
CREATE FUNCTION tattle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION user_code(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 1; END $$;
CREATE FUNCTION user_sql(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';

-- Foreign keys: grandparent -> parent -> child, by cascade; set null and set default; no action.
CREATE TABLE grandparent (id integer PRIMARY KEY);
CREATE TABLE parent (id integer PRIMARY KEY, up integer REFERENCES grandparent ON DELETE CASCADE);
CREATE TABLE child (id integer, up integer REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TRIGGER child_deleted AFTER DELETE ON child FOR EACH ROW EXECUTE FUNCTION tattle();
CREATE TRIGGER child_updated AFTER UPDATE ON child FOR EACH STATEMENT EXECUTE FUNCTION tattle();
CREATE TABLE owner (id integer PRIMARY KEY);
CREATE TABLE nulled (id integer, up integer REFERENCES owner ON DELETE SET NULL);
CREATE TRIGGER nulled_updated AFTER UPDATE ON nulled FOR EACH ROW EXECUTE FUNCTION tattle();
CREATE TABLE looked_at (id integer PRIMARY KEY);
CREATE TABLE looker (id integer, up integer REFERENCES looked_at);
CREATE TRIGGER looker_any AFTER INSERT OR UPDATE OR DELETE ON looker FOR EACH ROW EXECUTE FUNCTION tattle();
CREATE TABLE tree (id integer PRIMARY KEY, up integer REFERENCES tree ON DELETE CASCADE);
CREATE TABLE bills (id integer PRIMARY KEY);
CREATE TABLE lines (id integer PRIMARY KEY, bill integer REFERENCES bills ON DELETE CASCADE);
CREATE TABLE notes (line integer PRIMARY KEY REFERENCES lines ON DELETE CASCADE);
INSERT INTO bills SELECT generate_series(1, 600);
INSERT INTO lines SELECT n, 1 + n / 5 FROM generate_series(1, 2999) n;
CREATE TABLE twice_up (id integer PRIMARY KEY);
CREATE TABLE twice (id integer, a integer REFERENCES twice_up ON DELETE CASCADE, b integer REFERENCES twice_up ON DELETE CASCADE);
ANALYZE lines;

-- Partitions and inheritance.
CREATE TABLE parted (id integer, k integer) PARTITION BY RANGE (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);
CREATE TABLE parted_2_1 PARTITION OF parted_2 DEFAULT;
CREATE TRIGGER deep_insert BEFORE INSERT ON parted_2_1 FOR EACH ROW EXECUTE FUNCTION tattle();
CREATE TABLE keyed (k integer) PARTITION BY RANGE (user_code(k));
CREATE TABLE keyed_1 PARTITION OF keyed FOR VALUES FROM (0) TO (10);
CREATE TABLE base (id integer PRIMARY KEY);
CREATE TABLE heir () INHERITS (base);
CREATE TRIGGER heir_deleted BEFORE DELETE ON heir FOR EACH ROW EXECUTE FUNCTION tattle();

-- Triggers that do not count.
CREATE TABLE quiet (id integer);
CREATE TRIGGER off BEFORE INSERT ON quiet FOR EACH ROW EXECUTE FUNCTION tattle();
ALTER TABLE quiet DISABLE TRIGGER off;
CREATE TRIGGER builtin BEFORE UPDATE ON quiet FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE RULE nothing AS ON DELETE TO quiet DO INSTEAD NOTHING;
CREATE TABLE asking (id integer);
CREATE RULE asked AS ON DELETE TO asking WHERE user_code(old.id) = 1 DO INSTEAD NOTHING;
CREATE RULE sleeps AS ON UPDATE TO asking WHERE pg_sleep(0) IS NULL DO INSTEAD NOTHING;

-- What a mere read's plan evaluates: a constant call in an index predicate, a CHECK or an index expression.
CREATE TABLE planned_pred (id integer);
CREATE INDEX ON planned_pred (id) WHERE user_code(7) = 1;
CREATE TABLE planned_sql (id integer);
CREATE INDEX planned_sql_idx ON planned_sql (user_sql(id));
CREATE TABLE planned_check (id integer CHECK (user_code(7) > id));
CREATE FUNCTION user_op(integer, integer) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN true; END $$;
CREATE OPERATOR <+> (LEFTARG = integer, RIGHTARG = integer, FUNCTION = user_op);
CREATE TABLE planned_operator (id integer CHECK (1 <+> 2));
CREATE TABLE not_planned (id integer, CHECK (user_code(id) > 0));

-- Views.
CREATE TABLE plain (id integer PRIMARY KEY, t text);
CREATE VIEW one AS SELECT id, t FROM plain;
CREATE VIEW two AS SELECT id FROM one;
CREATE VIEW through_trigger AS SELECT id FROM child;
CREATE VIEW pages AS SELECT pg_read_file('PG_VERSION') AS v;
CREATE VIEW sleepy AS SELECT count(*) FROM plain WHERE pg_sleep(0) IS NULL;
CREATE VIEW fresh AS SELECT now() AS at, gen_random_uuid() AS id, lower(t) AS t FROM plain;
CREATE VIEW as_xml AS SELECT query_to_xml('DELETE FROM plain', true, true, '') AS x;
CREATE VIEW hashes AS SELECT usename, passwd FROM pg_shadow;
CREATE VIEW over_hashes AS SELECT usename FROM hashes;
CREATE VIEW role_names AS SELECT rolname FROM pg_roles;
CREATE TABLE dangerous_default (id integer, f text DEFAULT pg_read_file('PG_VERSION'));

CREATE TYPE colour AS ENUM ('red');
CREATE FUNCTION colour_json(colour) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RETURN '1'; END $$;
CREATE CAST (colour AS json) WITH FUNCTION colour_json(colour);
CREATE TABLE coloured (id integer, c colour);
CREATE VIEW coloured_json AS SELECT row_to_json(x) AS j FROM coloured x;
CREATE VIEW coloured_plain AS SELECT c FROM coloured;

-- Types inside types.
CREATE DOMAIN checked AS integer CHECK (user_code(VALUE) > 0);
CREATE TYPE pair AS (a integer, b checked[]);
CREATE TABLE deep (id integer, p pair);
CREATE DOMAIN over AS checked;
CREATE TABLE deeper (id integer, p over);

-- Row security with built-ins alone, and off.
CREATE TABLE tenant (id integer, who text);
ALTER TABLE tenant ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON tenant USING (who = current_user AND id = current_setting('app.id', true)::integer);
CREATE TABLE policy_off (id integer);
CREATE POLICY unused ON policy_off USING (user_code(id) = 1);
CREATE TABLE looks_elsewhere (id integer);
ALTER TABLE looks_elsewhere ENABLE ROW LEVEL SECURITY;
CREATE VIEW hidden_call AS SELECT user_code(1) AS n;
CREATE POLICY elsewhere ON looks_elsewhere USING (id IN (SELECT n FROM hidden_call));

-- Keys that are no keys.
CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE keys (a integer NOT NULL, b integer, c text COLLATE ci, d text, e integer);
CREATE UNIQUE INDEX keys_a ON keys (a) INCLUDE (b);
CREATE UNIQUE INDEX keys_partial ON keys (b) WHERE b > 0;
CREATE UNIQUE INDEX keys_expression ON keys (lower(d));
CREATE UNIQUE INDEX keys_collation ON keys (c COLLATE "C");
ALTER TABLE keys ADD CONSTRAINT keys_deferred UNIQUE (e) DEFERRABLE;

CREATE TABLE unanalysed (id bigint NOT NULL, t text);
INSERT INTO unanalysed SELECT i, 'x' FROM generate_series(1, 5000) i;
CREATE TABLE grown (id bigint NOT NULL);
INSERT INTO grown SELECT i FROM generate_series(1, 2000) i;
ANALYZE grown;
INSERT INTO grown SELECT i FROM generate_series(1, 20000) i;
CREATE VIEW grown_in_one AS SELECT array_agg(id) AS ids FROM grown;
CREATE VIEW grown_in_array AS SELECT ARRAY(SELECT id FROM grown) AS ids;
CREATE VIEW over_grown AS SELECT ids FROM grown_in_one;
CREATE VIEW grown_counted AS SELECT count(*) AS n FROM grown;
CREATE VIEW plain_in_one AS SELECT string_agg(t, ',') AS ts FROM plain;
ALTER TABLE unanalysed SET (autovacuum_enabled = false);
ALTER TABLE grown SET (autovacuum_enabled = false);
`;

beforeAll(async () => {
  database = await createDatabase('cat_effects');
  await database.query(SCHEMA);
  catalog = await withClient(superuser(database.name), (client) => loadCatalog(client));
});
afterAll(async () => {
  await database?.drop();
});

function relation(name: string): Relation {
  const found = catalog.relation('public', name);
  if (found === undefined) throw new Error(`${name} is not in the catalog`);
  return found;
}
const effects = (name: string) => relation(name).effects;
const NONE = { read: [], insert: [], update: [], delete: [] };

describe('foreign keys', () => {
  test('a cascade sets off the triggers below, however deep', () => {
    const deleted = 'trigger child_deleted of public.child calls public.tattle()';
    const updated = 'trigger child_updated of public.child calls public.tattle()';
    expect(effects('grandparent')).toEqual({ ...NONE, delete: [deleted] });
    expect(effects('parent')).toEqual({ ...NONE, update: [updated], delete: [deleted] });
    expect(effects('owner').delete).toEqual([
      'trigger nulled_updated of public.nulled calls public.tattle()',
    ]);
    expect(effects('looked_at')).toEqual(NONE);
    expect(effects('tree')).toEqual(NONE);
  });

  test('what cascades touch is listed with its rows', () => {
    const named = (name: string) =>
      relation(name).cascades.delete.map((c) => `${c.action} ${c.schema}.${c.name}`);
    expect(named('grandparent').sort()).toEqual(['delete public.child', 'delete public.parent']);
    expect(named('owner')).toEqual(['update public.nulled']);
    expect(named('looked_at')).toEqual([]);
    expect(named('tree')).toEqual(['delete public.tree']);
    expect(relation('parent').cascades.update.map((c) => c.name)).toEqual(['child']);
    expect(relation('grandparent').cascades.delete[0]?.rows).toBe(0);
  });

  test('and with the rows that one row there has, at most, by keys and statistics', () => {
    const each = (name: string, access: 'update' | 'delete' = 'delete') =>
      Object.fromEntries(relation(name).cascades[access].map((c) => [c.name, c.rowsEach]));
    // 3,000 rows in 600 groups of 5, in each of which one line has a note.
    const { lines = Number.NaN, notes } = each('bills');
    expect(lines).toBeGreaterThanOrEqual(5);
    expect(lines).toBeLessThanOrEqual(20);
    expect(notes).toBe(lines);
    expect(each('twice_up')).toEqual({ twice: null });
    expect(each('tree')).toEqual({ tree: null });
    // Never analysed.
    expect(each('owner')).toEqual({ nulled: null });
  });
});

describe('partitions and children', () => {
  test('a trigger on one partition counts for the whole, and a moved row is an insert', () => {
    const says = ['trigger deep_insert of public.parted_2_1 calls public.tattle()'];
    expect(effects('parted')).toEqual({ ...NONE, insert: says, update: says });
    expect(effects('parted_2').insert).toEqual(says);
    expect(effects('parted_1')).toEqual(NONE);
  });

  test('the expression of a partition key counts for its partitions too', () => {
    const says = ['the partition key of public.keyed calls public.user_code(integer)'];
    expect(effects('keyed')).toEqual({ ...NONE, insert: says, update: says });
    expect(effects('keyed_1')).toEqual({ ...NONE, insert: says, update: says });
  });

  test('inheriting tables: triggers count, a key of the parent does not cover them', () => {
    expect(effects('base').delete).toEqual(['trigger heir_deleted of public.heir calls public.tattle()']);
    expect(relation('base').uniqueKeys).toEqual([]);
  });
});

test('disabled triggers, triggers of the server itself and DO NOTHING are no effects', () => {
  expect(effects('quiet')).toEqual(NONE);
  expect(effects('asking').delete).toEqual(['rule asked of public.asking calls public.user_code(integer)']);
  expect(effects('asking').update).toEqual([
    'rule sleeps of public.asking: pg_sleep can do more than compute',
  ]);
});

test('what the planner evaluates counts for reads, what only writes evaluate does not', () => {
  expect(effects('planned_pred').read).toEqual([
    expect.stringMatching(/^planning over index .* calls public\.user_code/),
  ]);
  expect(effects('planned_sql').read).toEqual([expect.stringMatching(/calls public\.user_sql/)]);
  expect(effects('planned_check').read).toEqual([expect.stringMatching(/^planning over CHECK .*user_code/)]);
  expect(effects('planned_operator').read).toEqual([expect.stringMatching(/user_op/)]);
  expect(effects('not_planned').read).toEqual([]);
  expect(effects('not_planned').insert).not.toEqual([]);
});

describe('views', () => {
  test('plain ones, one over another, and what lies below on writes', () => {
    expect(effects('one')).toEqual(NONE);
    expect(effects('two')).toEqual(NONE);
    expect(effects('fresh')).toEqual(NONE);
    expect(effects('through_trigger').read).toEqual([]);
    expect(effects('through_trigger').delete).toEqual([
      'trigger child_deleted of public.child calls public.tattle()',
    ]);
    expect(relation('two').viewDefinition).toMatch(/FROM public\.one/);
  });

  test('built-in functions that do more', () => {
    expect(effects('pages').read).toEqual([
      'view public.pages: pg_read_file reads or writes files of the server',
    ]);
    expect(effects('sleepy').read).toEqual(['view public.sleepy: pg_sleep can do more than compute']);
    expect(effects('as_xml').read).toEqual(['view public.as_xml: query_to_xml returns whole tables as XML']);
    expect(effects('dangerous_default').read).toEqual([]);
    expect(effects('dangerous_default').insert).toEqual([
      'the default of column f of public.dangerous_default: pg_read_file reads or writes files of the server',
    ]);
  });

  test('secrets of the system below them', () => {
    expect(effects('hashes').read).toEqual([
      expect.stringMatching(/^view public\.hashes: pg_catalog\.pg_shadow /),
    ]);
    expect(effects('over_hashes').read).toEqual(effects('hashes').read);
    expect(effects('role_names').read).toEqual([]);
  });

  test('many rows in one value', () => {
    for (const name of ['grown_in_one', 'grown_in_array', 'over_grown']) {
      expect(relation(name).folds).toBe(true);
      // Whoever looks into the view can count them.
      expect(effects(name).read).toEqual([]);
    }
    for (const name of ['grown_counted', 'plain_in_one']) expect(relation(name).folds).toBe(false);
  });

  test('JSON made of a type with a cast to json', () => {
    expect(effects('coloured').read).toEqual([]);
    expect(effects('coloured_plain').read).toEqual([]);
    expect(effects('coloured_json').read).toEqual([
      'the cast from public.colour to json calls public.colour_json(public.colour)',
    ]);
  });
});

test('domains inside arrays inside composites', () => {
  const says = ['constraint checked_check of domain public.checked calls public.user_code(integer)'];
  expect(effects('deep')).toEqual({ ...NONE, insert: says, update: says });
  expect(effects('deeper')).toEqual({ ...NONE, insert: says, update: says });
});

test('policies: of built-ins, switched off, reading a view that calls', () => {
  expect(effects('tenant')).toEqual(NONE);
  expect(effects('policy_off')).toEqual(NONE);
  expect(effects('looks_elsewhere').read).toEqual([
    'view public.hidden_call calls public.user_code(integer)',
  ]);
});

test('unique keys: only whole, immediate, plain ones that mean what = means', () => {
  expect(relation('keys').uniqueKeys).toEqual([['a']]);
});

test('rows: never too few', () => {
  expect(relation('unanalysed').rows).toBeGreaterThanOrEqual(5_000);
  expect(relation('unanalysed').rows).toBeLessThan(20_000);
  expect(relation('grown').rows).toBeGreaterThanOrEqual(20_000);
  expect(relation('plain').rows).toBe(0);
  expect(relation('one').rows).toBeNull();
});

test('a hostile search_path, operator and cast do not reach the loading queries', async () => {
  const hostile = await createDatabase('cat_hostile');
  try {
    await hostile.query(`
      CREATE SCHEMA evil;
      CREATE TABLE evil.ran (what text);
      CREATE FUNCTION evil.eq(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil ran'; END $$;
      CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.eq);
      CREATE FUNCTION evil.json_agg(anyelement) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'evil ran'; END $$;
      CREATE TABLE evil.pg_class (oid oid);
      ALTER DATABASE ${hostile.name} SET search_path = evil, pg_catalog;
      ALTER DATABASE ${hostile.name} SET standard_conforming_strings = off;
      ALTER DATABASE ${hostile.name} SET extra_float_digits = -15;`);
    const loaded = await withClient(superuser(hostile.name), (client) => loadCatalog(client));
    expect(loaded.relation('evil', 'pg_class')?.kind).toBe('table');
    expect(loaded.relation('pg_catalog', 'pg_class')?.columns.length).toBeGreaterThan(30);
    expect(loaded.operatorSchemas('=')).toEqual(['evil']);
  } finally {
    await hostile.drop();
  }
});

test('views of a table that is locked exclusively are unknown, the rest is read without waiting', async () => {
  await withClient(superuser(database.name), async (locker) => {
    await locker.query('BEGIN; LOCK TABLE plain IN ACCESS EXCLUSIVE MODE');
    const started = performance.now();
    const loaded = await withClient(superuser(database.name), (client) => loadCatalog(client));
    expect(performance.now() - started).toBeLessThan(3_000);
    await locker.query('ROLLBACK');
    expect(loaded.relation('public', 'one')?.effects.read).toEqual([
      'view public.one could not be read while it is being changed',
    ]);
    expect(loaded.relation('public', 'through_trigger')?.effects.read).toEqual([]);
    expect(loaded.relation('public', 'plain')?.rows).toBeNull();
  });
});
