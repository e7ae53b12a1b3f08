import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import type { FunctionProof } from '../../src/catalog/judgement.ts';
import { loadScoped } from '../../src/catalog/load.ts';
import { readingJudgement } from '../../src/catalog/reading.ts';
import type { ScopedCatalogs } from '../../src/catalog/scoped.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { createDatabase, superuser, type TestDatabase, withClient } from '../support/postgres.ts';

/** Trigger bodies as projects have them. */
const USUAL: readonly (readonly [name: string, body: string])[] = [
  ['updated_at by now()', 'BEGIN NEW.updated_at = now(); RETURN NEW; END;'],
  [
    'updated_at by CURRENT_TIMESTAMP, with comments',
    "-- it's here\nBEGIN /* ; */ NEW.updated_at := CURRENT_TIMESTAMP; -- and there\n RETURN NEW; END",
  ],
  ['clock_timestamp', 'BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END'],
  [
    'only where something changed',
    'BEGIN IF ROW(NEW.*) IS DISTINCT FROM ROW(OLD.*) THEN NEW.updated_at = now(); RETURN NEW; ELSE RETURN OLD; END IF; END;',
  ],
  [
    'audit by TG_OP, as in the manual',
    `BEGIN
      IF (TG_OP = 'DELETE') THEN
        INSERT INTO item_audit SELECT 'D', now(), user, OLD.*;
      ELSIF (TG_OP = 'UPDATE') THEN
        INSERT INTO item_audit SELECT 'U', now(), user, NEW.*;
      ELSIF (TG_OP = 'INSERT') THEN
        INSERT INTO item_audit SELECT 'I', now(), user, NEW.*;
      END IF;
      RETURN NULL;
    END;`,
  ],
  [
    'audit by row_to_json and to_jsonb',
    `DECLARE payload jsonb; BEGIN
      payload := to_jsonb(NEW) - 'updated_at';
      INSERT INTO public.log (what, who, old_row, new_row)
        VALUES (TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME || ' ' || TG_OP, current_user, row_to_json(OLD), payload);
      RETURN COALESCE(NEW, OLD);
    END`,
  ],
  [
    'version counter',
    "BEGIN NEW.version := COALESCE(OLD.version, 0) + 1; IF NEW.version < OLD.version THEN RAISE EXCEPTION 'version of % went back', NEW.id USING ERRCODE = '23514'; END IF; RETURN NEW; END",
  ],
  [
    'slug, with a loop until it is free',
    `DECLARE base text := lower(regexp_replace(NEW.name, '[^a-z0-9]+', '-', 'gi')); n integer := 0; BEGIN
      NEW.slug := base;
      WHILE EXISTS (SELECT 1 FROM items WHERE slug = NEW.slug AND id <> NEW.id) LOOP
        n := n + 1; NEW.slug := base || '-' || n;
      END LOOP;
      RETURN NEW;
    END`,
  ],
  [
    'exception block and diagnostics',
    `DECLARE msg text; BEGIN
      BEGIN NEW.name := upper(NEW.name); EXCEPTION WHEN division_by_zero OR OTHERS THEN
        GET STACKED DIAGNOSTICS msg = MESSAGE_TEXT; NEW.name := msg; END;
      RETURN NEW; END`,
  ],
  [
    'CASE and a lookup',
    `DECLARE category text; found_name items.name%TYPE; BEGIN
      CASE NEW.kind WHEN 'a', 'b' THEN category := 'ab'; WHEN 'c' THEN category := 'c'; ELSE category := NULL; END CASE;
      SELECT i.name INTO found_name FROM items i WHERE i.id = NEW.parent;
      IF NOT FOUND THEN RAISE EXCEPTION USING MESSAGE = 'no parent', ERRCODE = 'foreign_key_violation'; END IF;
      NEW.name := category || found_name;
      RETURN NEW; END`,
  ],
  [
    'search vector',
    "BEGIN NEW.tsv := setweight(to_tsvector('english', coalesce(NEW.name, '')), 'A') || to_tsvector('english', NEW.slug); RETURN NEW; END",
  ],
  [
    'returns the new id',
    "DECLARE made bigint; BEGIN INSERT INTO log (what) VALUES ('x') RETURNING id INTO made; NEW.parent := made; RETURN NEW; END",
  ],
  [
    'FOREACH, CONTINUE, EXIT',
    "DECLARE t text; BEGIN FOREACH t IN ARRAY ARRAY['a','b'] LOOP CONTINUE WHEN t = 'a'; EXIT WHEN t = 'c'; NEW.name := t; END LOOP; RETURN NEW; END",
  ],
  ['an assertion', "BEGIN ASSERT NEW.id > 0, 'id must be positive'; RETURN NEW; END"],
  ['quoted names', 'DECLARE "My Var" integer := 1; BEGIN NEW."name" := "My Var"::text; RETURN NEW; END'],
  ['a notice with what was written', "BEGIN RAISE NOTICE 'changed %', NEW.id; RETURN NEW; END"],
  [
    'a record of its own',
    'DECLARE r items%ROWTYPE; q record; BEGIN SELECT * INTO r FROM items WHERE id = NEW.parent; q := NEW; NEW.name := r.name; RETURN NEW; END',
  ],
];

/** Bodies that do more than they seem to. The last part says what the reason must name. */
const HOSTILE: readonly (readonly [name: string, body: string, why: RegExp])[] = [
  ['EXECUTE', "BEGIN EXECUTE 'DELETE FROM log'; RETURN NEW; END", /EXECUTE/],
  [
    'EXECUTE in a nested block',
    "BEGIN BEGIN IF true THEN EXECUTE 'x'; END IF; END; RETURN NEW; END",
    /EXECUTE/,
  ],
  [
    'EXECUTE in an exception handler',
    "BEGIN NEW.id := 1; EXCEPTION WHEN OTHERS THEN EXECUTE 'x'; RETURN NEW; END",
    /EXECUTE/,
  ],
  [
    'FOR IN EXECUTE',
    "DECLARE r record; BEGIN FOR r IN EXECUTE 'DELETE FROM log RETURNING 1' LOOP END LOOP; RETURN NEW; END",
    /EXECUTE/,
  ],
  ['DELETE', 'BEGIN DELETE FROM log; RETURN NEW; END', /DELETE/],
  ['DELETE behind a comment', 'BEGIN NEW.id := 1; /* END; */ DELETE FROM log; RETURN NEW; END', /DELETE/],
  ['UPDATE by a key', "BEGIN UPDATE items SET name = 'x' WHERE id = 1; RETURN NEW; END", /UPDATE/],
  [
    'a writing CTE',
    'BEGIN PERFORM 1 FROM (SELECT 1) a; WITH d AS (DELETE FROM log RETURNING 1) INSERT INTO log (what) VALUES (1); RETURN NEW; END',
    /./,
  ],
  [
    'a writing CTE in an expression',
    'DECLARE n int; BEGIN WITH d AS (DELETE FROM log RETURNING 1) SELECT count(*) INTO n FROM d; RETURN NEW; END',
    /./,
  ],
  ['PERFORM of unknown code', 'BEGIN PERFORM purge(); RETURN NEW; END', /purge/],
  ['unknown code in a condition', 'BEGIN IF purge() THEN NULL; END IF; RETURN NEW; END', /purge/],
  [
    'unknown code in ELSIF',
    'BEGIN IF true THEN NULL; ELSIF purge() THEN NULL; END IF; RETURN NEW; END',
    /purge/,
  ],
  [
    'unknown code in CASE',
    'BEGIN CASE WHEN purge() THEN NULL; ELSE NULL; END CASE; RETURN NEW; END',
    /purge/,
  ],
  ['unknown code in EXIT', 'BEGIN LOOP EXIT WHEN purge(); END LOOP; RETURN NEW; END', /purge/],
  ['unknown code in a bound', 'BEGIN FOR i IN 1..purge()::int LOOP NULL; END LOOP; RETURN NEW; END', /purge/],
  ['unknown code in RAISE', "BEGIN RAISE DEBUG '%', purge(); RETURN NEW; END", /purge/],
  [
    'unknown code in a RAISE option',
    'BEGIN RAISE EXCEPTION USING MESSAGE = purge(); RETURN NEW; END',
    /purge/,
  ],
  ['unknown code in ASSERT', 'BEGIN ASSERT true, purge(); RETURN NEW; END', /purge/],
  ['unknown code in RETURN', 'BEGIN RETURN purge_row(); END', /purge/],
  ['unknown code in a default', 'DECLARE n boolean := purge(); BEGIN RETURN NEW; END', /purge/],
  [
    'unknown code in a default of a nested block',
    'BEGIN DECLARE n boolean DEFAULT purge(); BEGIN RETURN NEW; END; END',
    /purge/,
  ],
  [
    "unknown code in a record's default",
    'DECLARE r record := purge_row(); BEGIN RETURN NEW; END',
    /initial value/,
  ],
  [
    'the same behind comments',
    'DECLARE x int; r /* ; */ record -- ;\n := purge_row(); BEGIN RETURN NEW; END',
    /initial value/,
  ],
  [
    'the same in a nested block',
    'BEGIN NEW.id := 1; DECLARE "R" record = purge_row(); BEGIN NULL; END; RETURN NEW; END',
    /initial value/,
  ],
  [
    'the same of a composite type',
    'DECLARE r public.pair DEFAULT purge_row(); BEGIN RETURN NEW; END',
    /initial value|purge/,
  ],
  ['unknown code in a subscript', 'DECLARE a int[]; BEGIN a[purge()::int] := 1; RETURN NEW; END', /./],
  [
    'a comment in a subscript',
    'DECLARE a int[]; BEGIN a[1 -- ] := 1 /*\n + purge()::int] := 2 -- */\n; RETURN NEW; END',
    /target/,
  ],
  ['SELECT f() INTO', 'DECLARE x boolean; BEGIN SELECT purge() INTO x; RETURN NEW; END', /purge/],
  [
    'f named like a column',
    'BEGIN NEW.name := (SELECT i.purge_item FROM items i LIMIT 1); RETURN NEW; END',
    /purge_item/,
  ],
  ['an operator of a user', 'BEGIN NEW.name := NEW.name <!> NEW.slug; RETURN NEW; END', /<!>/],
  [
    'a domain whose check is code',
    "DECLARE d public.bad_domain; BEGIN d := 'x'; RETURN NEW; END",
    /bad_domain|purge/,
  ],
  ['a cast to it', "BEGIN NEW.name := 'x'::public.bad_domain; RETURN NEW; END", /bad_domain|purge/],
  [
    'a cursor that writes',
    'DECLARE c CURSOR FOR DELETE FROM log RETURNING id; BEGIN FOR r IN c LOOP NULL; END LOOP; RETURN NEW; END',
    /DELETE/,
  ],
  ['a cursor that is opened', 'DECLARE c refcursor; BEGIN OPEN c FOR SELECT 1; RETURN NEW; END', /cursor/],
  [
    'FETCH from a cursor of the session',
    "DECLARE c refcursor := 'theirs'; BEGIN MOVE NEXT FROM c; RETURN NEW; END",
    /cursor/,
  ],
  [
    'FOR over INSERT … RETURNING',
    "DECLARE r record; BEGIN FOR r IN INSERT INTO log (what) VALUES ('x') RETURNING * LOOP NULL; END LOOP; RETURN NEW; END",
    /INSERT/,
  ],
  [
    'INSERT … SELECT from a table',
    'BEGIN INSERT INTO log (what) SELECT name FROM items; RETURN NEW; END',
    /what a query gives/,
  ],
  ['INSERT … TABLE', 'BEGIN INSERT INTO log TABLE log; RETURN NEW; END', /what a query gives/],
  ['INSERT in a loop without end', "BEGIN LOOP INSERT INTO log (what) VALUES ('x'); END LOOP; END", /loop/],
  [
    'INSERT into a table whose trigger is unknown',
    "BEGIN INSERT INTO noisy VALUES ('x'); RETURN NEW; END",
    /noisy/,
  ],
  ['INSERT into itself', "BEGIN INSERT INTO items (name) VALUES ('x'); RETURN NEW; END", /./],
  ['COPY', "BEGIN COPY log TO '/tmp/x'; RETURN NEW; END", /COPY/],
  ['COPY to a program', "BEGIN COPY log TO PROGRAM 'sh'; RETURN NEW; END", /COPY/],
  ['dblink', "BEGIN PERFORM dblink('host=x', 'DELETE FROM t'); RETURN NEW; END", /dblink/],
  [
    'set_config of search_path',
    "BEGIN PERFORM set_config('search_path', 'evil', false); RETURN NEW; END",
    /search_path|session|set_config/,
  ],
  ['set_config of a role', "BEGIN PERFORM set_config('role', 'postgres', false); RETURN NEW; END", /role/],
  ['SET', 'BEGIN SET search_path = evil; RETURN NEW; END', /SET/],
  ['SET LOCAL', 'BEGIN SET LOCAL session_replication_role = replica; RETURN NEW; END', /SET/],
  ['NOTIFY', 'BEGIN NOTIFY channel; RETURN NEW; END', /NOTIFY/],
  ['pg_notify', "BEGIN PERFORM pg_notify('channel', NEW.name); RETURN NEW; END", /pg_notify/],
  ['large objects', "BEGIN PERFORM lo_import('/etc/passwd'); RETURN NEW; END", /lo_import/],
  ['files of the server', "BEGIN NEW.name := pg_read_file('/etc/passwd'); RETURN NEW; END", /pg_read_file/],
  [
    'SQL given as text',
    "BEGIN NEW.name := query_to_xml('DELETE FROM log', true, true, '')::text; RETURN NEW; END",
    /query_to_xml/,
  ],
  ['signals', 'BEGIN PERFORM pg_terminate_backend(1); RETURN NEW; END', /pg_terminate/],
  ['DO', "BEGIN DO 'BEGIN END'; RETURN NEW; END", /DO/],
  ['CALL', 'BEGIN CALL proc(); RETURN NEW; END', /CALL/],
  ['COMMIT', 'BEGIN COMMIT; RETURN NEW; END', /transaction/],
  ['CREATE TABLE AS', 'BEGIN CREATE TEMP TABLE x AS SELECT 1; RETURN NEW; END', /CREATE/],
  [
    'SELECT INTO a table, by a cursor',
    'DECLARE c CURSOR FOR SELECT 1 AS a INTO newtable; BEGIN RETURN NEW; END',
    /./,
  ],
  ['TRUNCATE', 'BEGIN TRUNCATE log; RETURN NEW; END', /TRUNCATE/],
  ['GRANT', 'BEGIN GRANT ALL ON log TO PUBLIC; RETURN NEW; END', /GRANT/],
  [
    'password hashes',
    'BEGIN NEW.name := (SELECT rolpassword FROM pg_authid LIMIT 1); RETURN NEW; END',
    /pg_authid/,
  ],
  ['two statements in an expression', "BEGIN NEW.name := 'x'; DELETE FROM log; RETURN NEW; END", /DELETE/],
  [
    'a string that ends the body',
    "BEGIN NEW.name := '$body$; DELETE FROM log; $body0$'; EXECUTE 'x'; RETURN NEW; END",
    /EXECUTE/,
  ],
  ['a directive', '#variable_conflict use_variable\nBEGIN RETURN NEW; END', /directive/],
  [
    'a notice for every row that is read',
    "DECLARE r record; BEGIN FOR r IN SELECT name FROM items LOOP RAISE NOTICE '%', r.name; END LOOP; RETURN NEW; END",
    /fold|RAISE/,
  ],
  ['a variable named like a table', 'DECLARE log text; BEGIN DELETE FROM log; RETURN NEW; END', /DELETE/],
  ['sleep', 'BEGIN PERFORM pg_sleep(3600); RETURN NEW; END', /sleep/],
];

const READERS: readonly (readonly [
  name: string,
  head: string,
  body: string,
  size: readonly [number, number] | 'export',
])[] = [
  [
    'by a key',
    '(wanted integer) RETURNS text',
    'DECLARE n text; BEGIN SELECT name INTO n FROM items WHERE id = wanted; RETURN n; END',
    [1, 1],
  ],
  ['no data', '(a integer, OUT b integer)', 'BEGIN b := a * 2; END', [1, 1]],
  ['a count', '() RETURNS bigint', 'BEGIN RETURN (SELECT count(*) FROM items); END', [1, 1]],
  [
    'RETURN QUERY by a key',
    '(wanted integer) RETURNS SETOF items',
    'BEGIN RETURN QUERY SELECT * FROM items i WHERE i.id = wanted; END',
    [1, 1],
  ],
  [
    'RETURN QUERY with LIMIT',
    '() RETURNS TABLE(nm text)',
    'BEGIN RETURN QUERY SELECT i.name FROM items i LIMIT 20; RETURN QUERY SELECT i.slug FROM items i LIMIT 10; END',
    [30, 1],
  ],
  [
    'RETURN QUERY of everything',
    '() RETURNS SETOF items',
    'BEGIN RETURN QUERY SELECT * FROM items; END',
    [5_000, 1],
  ],
  [
    'a name that is a column, too',
    '(id integer) RETURNS SETOF items',
    'BEGIN RETURN QUERY SELECT * FROM items WHERE id = 5; END',
    [5_000, 1],
  ],
  [
    'RETURN NEXT',
    '() RETURNS SETOF integer',
    'BEGIN FOR i IN 1..10 LOOP RETURN NEXT i; END LOOP; END',
    [10, 1],
  ],
  [
    'a loop that folds',
    '() RETURNS text',
    "DECLARE r record; acc text := ''; BEGIN FOR r IN SELECT name FROM items LOOP acc := acc || r.name; END LOOP; RETURN acc; END",
    'export',
  ],
  [
    'a loop that folds, by key',
    '() RETURNS text',
    "DECLARE x text; acc text := ''; BEGIN FOR i IN 1..5000 LOOP SELECT name INTO x FROM items WHERE items.id = i; acc := acc || x; END LOOP; RETURN acc; END",
    'export',
  ],
  [
    'a loop that folds, by WHILE',
    '() RETURNS text',
    "DECLARE acc text := ''; i int := 0; BEGIN WHILE i < 5000 LOOP acc := acc || (SELECT name FROM items WHERE items.id = i); i := i + 1; END LOOP; RETURN acc; END",
    'export',
  ],
  [
    'a default in a loop',
    '() RETURNS text',
    'DECLARE acc text; BEGIN LOOP DECLARE v text := (SELECT name FROM items LIMIT 1); BEGIN acc := acc || v; END; END LOOP; END',
    'export',
  ],
  [
    'a cursor loop',
    '() RETURNS text',
    'DECLARE c CURSOR FOR SELECT name FROM items; acc text; BEGIN FOR r IN c LOOP acc := acc || r.name; END LOOP; RETURN acc; END',
    'export',
  ],
  [
    'an aggregate that folds',
    '() RETURNS text',
    "BEGIN RETURN (SELECT string_agg(name, ',') FROM items); END",
    'export',
  ],
  [
    'a small fold',
    '() RETURNS text',
    "DECLARE r record; acc text := ''; BEGIN FOR r IN SELECT name FROM items LIMIT 40 LOOP acc := acc || r.name; END LOOP; RETURN acc; END",
    [1, 40],
  ],
];

const SCHEMA = `
CREATE FUNCTION purge() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN DELETE FROM log; RETURN true; END $$;
CREATE TYPE pair AS (a integer, b text);
CREATE FUNCTION purge_row() RETURNS pair LANGUAGE plpgsql AS $$ BEGIN DELETE FROM log; RETURN NULL; END $$;
CREATE FUNCTION purge_text(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN DELETE FROM log; RETURN $1; END $$;
CREATE OPERATOR <!> (LEFTARG = text, RIGHTARG = text, FUNCTION = purge_text);
CREATE FUNCTION purge_check(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN DELETE FROM log; RETURN true; END $$;
CREATE DOMAIN bad_domain AS text CHECK (purge_check(VALUE));
CREATE PROCEDURE proc() LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE TABLE log (id bigint GENERATED BY DEFAULT AS IDENTITY, at timestamptz DEFAULT now(), what text, who text, old_row json, new_row jsonb);
CREATE TABLE items (id integer PRIMARY KEY, name text, slug text, kind text, parent integer, version integer, updated_at timestamptz, tsv tsvector);
CREATE FUNCTION purge_item(items) RETURNS text LANGUAGE plpgsql AS $$ BEGIN DELETE FROM log; RETURN 'x'; END $$;
CREATE TABLE item_audit (op text, at timestamptz, by text, LIKE items);
CREATE TABLE noisy (what text);
CREATE FUNCTION purge_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM log; RETURN NEW; END $$;
CREATE TRIGGER g BEFORE INSERT ON noisy FOR EACH ROW EXECUTE FUNCTION purge_trigger();
INSERT INTO items (id, name) SELECT i, 'item ' || i FROM generate_series(1, 5000) i;
`;

let database: TestDatabase;
let analyser: Analyser;
let scoped: ScopedCatalogs;

const quoted = (body: string) => `$outer$${body}$outer$`;

beforeAll(async () => {
  analyser = await loadAnalyser(DEFAULT_LIMITS);
  database = await createDatabase('cat_plpgsql');
  await database.query(`SET check_function_bodies = off; ${SCHEMA}`);
  const functions = [
    ...USUAL.map(([, body], i) => `usual_${i}() RETURNS trigger LANGUAGE plpgsql AS ${quoted(body)}`),
    ...HOSTILE.map(([, body], i) => `hostile_${i}() RETURNS trigger LANGUAGE plpgsql AS ${quoted(body)}`),
    ...READERS.map(([, head, body], i) => `reader_${i}${head} LANGUAGE plpgsql AS ${quoted(body)}`),
  ];
  await database.query(
    `SET check_function_bodies = off; ${functions.map((text) => `CREATE FUNCTION ${text};`).join('\n')}
     CREATE TRIGGER itself AFTER INSERT ON items FOR EACH ROW
       EXECUTE FUNCTION hostile_${HOSTILE.findIndex(([name]) => name === 'INSERT into itself')}(); ANALYZE`,
  );
  scoped = await withClient(superuser(database.name), (client) =>
    loadScoped(client, readingJudgement(analyser, DEFAULT_LIMITS)),
  );
});
afterAll(async () => {
  await database?.drop();
  await analyser?.close();
});

function proofOf(name: string): FunctionProof {
  const row = [...scoped.snapshot.functions.values()].find((fn) => fn.name === name);
  if (row === undefined) throw new Error(`there is no function ${name}`);
  return scoped.under({ searchPath: ['public'], tempPossible: false }).prove(row);
}

describe('trigger bodies as projects have them', () => {
  test.each(USUAL.map(([name], i) => [name, i] as const))('%s', (_, i) => {
    expect(proofOf(`usual_${i}`)).toMatchObject({ proved: true });
  });
  test('what they write is said', () => {
    expect(
      USUAL.map((_, i) => proofOf(`usual_${i}`)).filter((p) => p.proved && p.does.class === 'write'),
    ).toHaveLength(3);
  });
});

describe('trigger bodies that do more', () => {
  test.each(HOSTILE.map(([name, , why], i) => [name, i, why] as const))('%s', (_, i, why) => {
    expect(proofOf(`hostile_${i}`)).toEqual({ proved: false, why: expect.stringMatching(why) });
  });
});

describe('functions that only read', () => {
  test.each(READERS.map(([name, , , size], i) => [name, i, size] as const))('%s', (_, i, size) => {
    const proof = proofOf(`reader_${i}`);
    if (size === 'export') expect(proof).toMatchObject({ proved: true, does: { class: 'export' } });
    else
      expect(proof).toMatchObject({
        proved: true,
        does: { class: 'read' },
        size: { rows: size[0], perRow: size[1] },
      });
  });
});
