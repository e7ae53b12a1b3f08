import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { type CatalogJudgement, DEFAULT_JUDGEMENT } from '../../src/catalog/judgement.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import { provedByReading } from '../../src/catalog/prove.ts';
import { triggerStatements } from '../../src/catalog/trigger-body.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';
import type { Catalog } from '../../src/statement/catalog.ts';
import { superuser, type TestDatabase, withClient } from '../support/postgres.ts';
import { createCorpusDatabase } from './corpus-database.ts';

const MORE = `
CREATE TABLE public.log (at timestamptz DEFAULT now(), what text, who text);
CREATE TABLE public.noisy_log (what text);
CREATE TRIGGER noisy BEFORE INSERT ON public.noisy_log FOR EACH ROW EXECUTE FUNCTION app.trigger_purge();

CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- the usual one
  NEW.updated_at := now();
  RETURN NEW;
END;
$$;
CREATE FUNCTION public.touch_if() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.body IS DISTINCT FROM OLD.body THEN NEW.updated_at = clock_timestamp();
  ELSIF TG_OP = 'INSERT' THEN NEW.body := lower(NEW.body); ELSE NULL; END IF;
  RETURN NEW;
END $$;
CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.log (what, who) VALUES ('changed ' || NEW.id, current_user);
  RETURN NULL;
END $$;
CREATE FUNCTION public.note_noisy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.noisy_log VALUES ('x'); RETURN NULL; END $$;
CREATE FUNCTION public.calls() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.body := app.purge_sql()::text; RETURN NEW; END $$;
CREATE FUNCTION public.selects_into() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.body := 1 INTO x FROM public.log; RETURN NEW; END $$;
CREATE FUNCTION public.deletes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF true THEN DELETE FROM public.log; END IF; RETURN NEW; END $$;
CREATE FUNCTION public.definer() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN NEW.updated_at := now(); RETURN NEW; END $$;
CREATE FUNCTION public.itself() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.t_itself VALUES (1); RETURN NULL; END $$;

DO $do$ DECLARE f text; BEGIN
  FOREACH f IN ARRAY ARRAY['touch', 'touch_if', 'note', 'note_noisy', 'calls', 'selects_into', 'deletes', 'definer', 'itself'] LOOP
    EXECUTE format('CREATE TABLE public.t_%1$s (id integer PRIMARY KEY, body text, updated_at timestamptz)', f);
    EXECUTE format('CREATE TRIGGER g BEFORE INSERT OR UPDATE ON public.t_%1$s FOR EACH ROW EXECUTE FUNCTION public.%1$s()', f);
  END LOOP;
END $do$;

CREATE FUNCTION public.net_plain(gross numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT round(gross / 1.2, 2)';
CREATE VIEW public.plain_prices AS SELECT id, public.net_plain(price) AS net FROM public.products;
CREATE FUNCTION public.atomic_reader(n bigint) RETURNS numeric BEGIN ATOMIC
  SELECT sum(total) FROM public.orders WHERE id = n; END;
CREATE FUNCTION public.atomic_return(n integer) RETURNS integer RETURN n + 1;
CREATE FUNCTION public.atomic_writer() RETURNS void BEGIN ATOMIC DELETE FROM public.log; END;
CREATE FUNCTION public.atomic_caller() RETURNS bigint RETURN app.purge_sql();
CREATE FUNCTION public.atomic_secret() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM pg_catalog.pg_authid; END;
CREATE FUNCTION public.my_lower(text) RETURNS text LANGUAGE internal IMMUTABLE AS 'lower';
CREATE FUNCTION public.my_reader(text) RETURNS text LANGUAGE internal IMMUTABLE AS 'pg_read_file_all';
CREATE FUNCTION public.dump() RETURNS json LANGUAGE sql STABLE AS 'SELECT json_agg(c) FROM public.customers c';
CREATE FUNCTION public.loops(n integer) RETURNS integer LANGUAGE sql AS 'SELECT public.loops(n)';
CREATE FUNCTION public.returns_token() RETURNS app.token LANGUAGE sql AS $$ SELECT 5 $$;
CREATE FUNCTION public.bad_default(n bigint DEFAULT app.purge_sql()) RETURNS bigint LANGUAGE sql AS 'SELECT n';
CREATE FUNCTION public.pinned() RETURNS bigint LANGUAGE sql SET search_path = public, pg_temp AS 'SELECT count(*) FROM countries';
CREATE FUNCTION public.shadowed(t text) RETURNS text LANGUAGE sql AS 'SELECT reverse(t)';
CREATE FUNCTION public.two_things() RETURNS integer LANGUAGE sql AS 'SELECT 1; DELETE FROM public.log; SELECT 2';
`;

let database: TestDatabase;
let analyser: Analyser;
let catalog: Catalog;

beforeAll(async () => {
  analyser = await loadAnalyser(DEFAULT_LIMITS);
  database = await createCorpusDatabase('cat_prove', `SET check_function_bodies = off; ${MORE}; ANALYZE`);
  const judgement: CatalogJudgement = {
    ...DEFAULT_JUDGEMENT,
    provedHarmless: provedByReading((sql, scope, known) =>
      analyser.needsWorker(sql) ? null : analyse(analyser.parse(sql), known, scope, DEFAULT_LIMITS),
    ),
  };
  catalog = await withClient(superuser(database.name), (client) => loadCatalog(client, judgement));
});
afterAll(async () => {
  await database?.drop();
  await analyser?.close();
});

const effectsOf = (name: string) => catalog.functionsNamed(name)[0]?.effects;

describe('SQL functions', () => {
  test.each(['net_plain', 'my_lower', 'order_total', 'atomic_reader', 'atomic_return', 'pinned'])(
    '%s only reads',
    (name) => {
      expect(effectsOf(name)).toEqual([]);
    },
  );
  test.each([
    'purge_sql',
    // Its + could be the user's, by name; its rows are not bounded: caution, not knowledge.
    'net_price',
    'orders_of',
    'purge_text',
    'owner_count',
    'all_payments',
    'my_reader',
    'dump',
    'loops',
    'returns_token',
    'bad_default',
    'atomic_writer',
    'atomic_caller',
    'atomic_secret',
    'shadowed',
    'two_things',
    'harmless_looking',
  ])('%s stays user code', (name) => {
    expect(effectsOf(name)).toEqual([expect.any(String)]);
  });

  test('what is over them follows', () => {
    expect(catalog.relation('public', 'plain_prices')?.effects.read).toEqual([]);
    expect(catalog.relation('public', 'net_prices')?.effects.read).not.toEqual([]);
    expect(catalog.relation('public', 'owner_stats')?.effects.read).not.toEqual([]);
    expect(catalog.relation('public', 'cleanup_report')?.effects.read).not.toEqual([]);
  });
});

describe('triggers', () => {
  const insert = (name: string) => catalog.relation('public', `t_${name}`)?.effects.insert;
  test.each(['touch', 'touch_if', 'note'])('%s is harmless', (name) => {
    expect(insert(name)).toEqual([]);
  });
  test.each(['note_noisy', 'calls', 'selects_into', 'deletes', 'definer', 'itself'])(
    '%s stays user code',
    (name) => {
      expect(insert(name)).toEqual([`trigger g of public.t_${name} calls public.${name}()`]);
    },
  );
});

describe('bodies that the small reader must not read', () => {
  test.each([
    ['a string with a semicolon', "BEGIN NEW.a := 'x; DELETE FROM log; y'; RETURN NEW; END"],
    ['a comment that hides', 'BEGIN NEW.a := 1 /* ; */ ; RETURN NEW; END'],
    ['a string over two lines', "BEGIN NEW.a := 'x\ny'; RETURN NEW; END"],
    ['quoted identifiers', 'BEGIN NEW."a" := 1; RETURN NEW; END'],
    ['dollar quotes', 'BEGIN NEW.a := $x$y$x$; RETURN NEW; END'],
    ['escape strings', "BEGIN NEW.a := E'x'; RETURN NEW; END"],
    ['a prefixed string after another', "BEGIN NEW.a := 'x' || E'y'; RETURN NEW; END"],
    ['a comment after a string', "BEGIN NEW.a := 'x'; -- it's\n RETURN NEW; END"],
    ['PERFORM', 'BEGIN PERFORM purge(); RETURN NEW; END'],
    ['EXECUTE', "BEGIN EXECUTE 'x'; RETURN NEW; END"],
    ['loops', 'BEGIN FOR r IN SELECT 1 LOOP NEW.a := 1; END LOOP; RETURN NEW; END'],
    ['declarations', 'DECLARE x integer := purge(); BEGIN RETURN NEW; END'],
    ['exception blocks', 'BEGIN NEW.a := 1; EXCEPTION WHEN OTHERS THEN RETURN NEW; END'],
    ['nested blocks', 'BEGIN BEGIN RETURN NEW; END; END'],
    ['an open IF', 'BEGIN IF true THEN RETURN NEW; END'],
    ['assignment to OLD', 'BEGIN OLD.a := 1; RETURN OLD; END'],
    ['INSERT … SELECT', 'BEGIN INSERT INTO log SELECT * FROM t; RETURN NEW; END'],
    ['RAISE', "BEGIN RAISE NOTICE 'x'; RETURN NEW; END"],
  ])('%s', (_, body) => {
    expect(triggerStatements(body)).toBeNull();
  });

  test('what it reads, it reads whole', () => {
    expect(
      triggerStatements(
        'BEGIN IF a THEN IF b() THEN NEW.x := c(); END IF; ELSE INSERT INTO l VALUES (d()); END IF; RETURN NEW; END',
      ),
    ).toEqual([
      { kind: 'expression', sql: ' a ' },
      { kind: 'expression', sql: ' b() ' },
      { kind: 'expression', sql: ' c()' },
      { kind: 'insert', sql: 'INSERT INTO l VALUES (d())' },
    ]);
  });
});
