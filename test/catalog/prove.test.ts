import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import { readingJudgement } from '../../src/catalog/reading.ts';
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
CREATE FUNCTION public.two_reads() RETURNS integer LANGUAGE sql AS 'SELECT 1; SELECT count(*)::int FROM public.countries';
CREATE FUNCTION public.polymorphic(x anyelement) RETURNS text LANGUAGE sql AS 'SELECT x::text';
CREATE FUNCTION public.badge_text(b app.badge) RETURNS text LANGUAGE sql AS 'SELECT b::json::text';
CREATE FUNCTION public.bare() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM countries';
CREATE FUNCTION public.nothing_pinned() RETURNS bigint LANGUAGE sql SET search_path = '' AS 'SELECT count(*) FROM public.countries';
CREATE FUNCTION public.no_security() RETURNS bigint LANGUAGE sql SET row_security = off AS 'SELECT count(*) FROM public.countries';
CREATE FUNCTION public.calls_shadowed() RETURNS text LANGUAGE sql AS $$ SELECT public.shadowed('x') $$;
CREATE FUNCTION public.mutual_a(n integer) RETURNS integer LANGUAGE sql AS 'SELECT public.mutual_b(n)';
CREATE FUNCTION public.mutual_b(n integer) RETURNS integer LANGUAGE sql AS 'SELECT public.mutual_a(n)';
CREATE FUNCTION public.email_of(wanted integer) RETURNS text LANGUAGE sql AS 'SELECT email FROM public.customers WHERE id = wanted';
CREATE FUNCTION public.same_name(id integer) RETURNS SETOF public.customers LANGUAGE sql AS 'SELECT * FROM public.customers WHERE id = id';
CREATE FUNCTION public.same_qualified(id integer) RETURNS SETOF public.customers LANGUAGE sql AS 'SELECT * FROM public.customers WHERE id = same_qualified.id';
CREATE FUNCTION public.many(ids integer[]) RETURNS SETOF public.customers LANGUAGE sql AS 'SELECT * FROM public.customers WHERE id = ANY(ids)';
CREATE FUNCTION public.atomic_fold() RETURNS text BEGIN ATOMIC SELECT string_agg(email, ',') FROM public.customers; END;
CREATE FUNCTION public.some_emails() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(email, ',') FROM (SELECT email FROM public.customers LIMIT 50) c $$;
CREATE VIEW public.dumps AS SELECT public.dump() AS d;
CREATE TABLE public.t_later (id integer PRIMARY KEY, n integer);
CREATE FUNCTION public.later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := 1 + 2; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER g AFTER INSERT ON public.t_later DEFERRABLE FOR EACH ROW EXECUTE FUNCTION public.later();
CREATE FUNCTION public.two_things() RETURNS integer LANGUAGE sql AS 'SELECT 1; DELETE FROM public.log; SELECT 2';
`;

let database: TestDatabase;
let analyser: Analyser;
let catalog: Catalog;

beforeAll(async () => {
  analyser = await loadAnalyser(DEFAULT_LIMITS);
  database = await createCorpusDatabase('cat_prove', `SET check_function_bodies = off; ${MORE}; ANALYZE`);
  const judgement = readingJudgement(analyser, DEFAULT_LIMITS);
  catalog = await withClient(superuser(database.name), (client) => loadCatalog(client, judgement));
});
afterAll(async () => {
  await database?.drop();
  await analyser?.close();
});

const seen = (path: string[] | null, tempPossible = false): Catalog =>
  catalog.under?.({ searchPath: path, tempPossible }) ?? catalog;
const functionOf = (name: string, path: string[] | null = ['public'], temp = false) =>
  seen(path, temp).functionsNamed(name)[0];
const effectsOf = (name: string) => functionOf(name)?.effects;

describe('SQL functions', () => {
  test.each([
    'net_plain',
    'my_lower',
    'order_total',
    'atomic_reader',
    'atomic_return',
    'pinned',
    'net_price',
    'orders_of',
    'two_reads',
  ])('%s only reads', (name) => {
    expect(effectsOf(name)).toEqual([]);
  });
  test.each([
    'purge_sql',
    'purge_text',
    'owner_count',
    'my_reader',
    'loops',
    'returns_token',
    'bad_default',
    'atomic_writer',
    'atomic_caller',
    'atomic_secret',
    'two_things',
    'harmless_looking',
    'polymorphic',
    'badge_text',
  ])('%s stays user code', (name) => {
    expect(effectsOf(name)?.length).toBeGreaterThan(0);
  });

  test('what is over them follows', () => {
    expect(catalog.relation('public', 'plain_prices')?.effects.read).toEqual([]);
    expect(catalog.relation('public', 'net_prices')?.effects.read).not.toEqual([]);
    expect(seen(['public']).relation('public', 'net_prices')?.effects.read).toEqual([]);
    expect(seen(['app', 'public']).relation('public', 'net_prices')?.effects.read).not.toEqual([]);
    expect(seen(['public']).relation('public', 'dumps')?.effects.read).toEqual([
      expect.stringMatching(/folds/),
    ]);
    expect(catalog.relation('public', 'owner_stats')?.effects.read).not.toEqual([]);
    expect(catalog.relation('public', 'cleanup_report')?.effects.read).not.toEqual([]);
  });
});

describe('triggers', () => {
  const insert = (name: string) => seen(['public']).relation('public', `t_${name}`)?.effects.insert;
  test.each(['touch', 'touch_if', 'note'])('%s is harmless', (name) => {
    expect(insert(name)).toEqual([]);
  });
  test.each(['note_noisy', 'calls', 'selects_into', 'deletes', 'definer', 'itself'])(
    '%s stays user code',
    (name) => {
      expect(insert(name)).toEqual([`trigger g of public.t_${name} calls public.${name}()`]);
    },
  );

  test('one that may run at COMMIT is judged for any search_path', () => {
    expect(insert('later')).toEqual(['trigger g of public.t_later calls public.later()']);
  });
});

describe('the search_path that a function runs under', () => {
  test.each([
    ['net_price', ['public'], true],
    ['net_price', ['app', 'public'], false],
    ['net_price', null, false],
    ['shadowed', ['public'], true],
    ['shadowed', ['public', 'app'], false],
    ['calls_shadowed', ['public'], true],
    ['calls_shadowed', ['app'], false],
    ['bare', ['public'], true],
    ['bare', ['app'], false],
    ['pinned', ['app'], true],
    ['nothing_pinned', ['app'], true],
  ] as const)('%s under %j: %s', (name, path, proved) => {
    const effects = functionOf(name, path === null ? null : [...path])?.effects;
    expect(effects).toEqual(proved ? [] : [expect.any(String)]);
  });

  test('a temporary table may be meant by a bare name', () => {
    expect(functionOf('bare', ['public'], true)?.effects).not.toEqual([]);
    expect(functionOf('pinned', ['public'], true)?.effects).toEqual([]);
    expect(functionOf('order_total', ['public'], true)?.effects).toEqual([]);
  });

  test.each(['no_security', 'mutual_a', 'mutual_b'])('%s is not proved at all', (name) => {
    expect(effectsOf(name)).toEqual([expect.any(String)]);
  });

  test('any number of scopes does no harm', () => {
    for (let i = 0; i < 200; i++) expect(functionOf('net_price', [`s${i}`])?.effects).toEqual([]);
  });
});

describe('what functions give back', () => {
  test("the planner's guess of a function's rows is not asked for", () => {
    const sql = Buffer.from('SELECT * FROM app.all_payments()');
    const answers = [{ meaning: null, estimate: { rows: 1, foldedRows: 0 } }];
    const scope = { searchPath: ['public'], tempPossible: false };
    const judged = analyse(analyser.parse(sql), catalog, scope, DEFAULT_LIMITS, null, answers);
    expect(judged.class).toBe('export');
    expect(judged.statements[0]?.doubt?.size ?? false).toBe(false);
  });

  test.each([
    ['orders_of', 50, 1],
    ['same_qualified', 1, 1],
    ['same_name', 20_000, 1],
    ['many', 20_000, 1],
    ['email_of', 1, 1],
    ['some_emails', 1, 50],
    ['all_payments', 60_000, 1],
  ])('%s: at most %i rows', (name, rows, perRow) => {
    const { size, effects, does } = functionOf(name) ?? {};
    expect(effects).toEqual([]);
    expect(does?.class).toBe('read');
    expect(size?.rows).toBeLessThanOrEqual(rows);
    expect(size?.rows).toBeGreaterThan(rows / 100);
    expect(size?.perRow).toBe(perRow);
    expect(size?.data).toBe(true);
  });

  test.each(['dump', 'atomic_fold'])('%s folds a table into a value', (name) => {
    expect(functionOf(name)?.effects).toEqual([]);
    expect(functionOf(name)?.does?.class).toBe('export');
  });

  test.each([
    ['SELECT app.net_price(120), app.net_price(gross => 121, rate => 0.21)', 'read'],
    ['SELECT net FROM net_prices LIMIT 5', 'read'],
    ['SELECT id, total FROM app.orders_of(42) LIMIT 10', 'read'],
    ['SELECT * FROM app.orders_of(42)', 'read'],
    ['SELECT app.orders_of(42)', 'read'],
    ['SELECT o.id FROM customers c, app.orders_of(c.id) o WHERE c.id = 5', 'read'],
    ['SELECT * FROM app.all_payments()', 'export'],
    ['SELECT app.all_payments()', 'export'],
    ['SELECT * FROM app.all_payments() LIMIT 10', 'read'],
    ['SELECT json_agg(p) FROM app.all_payments() p', 'export'],
    ['SELECT count(*) FROM app.all_payments()', 'read'],
    ['SELECT dump()', 'export'],
    ['SELECT d FROM dumps LIMIT 1', 'opaque'],
    ['SELECT email_of(5)', 'read'],
    ['SELECT email_of(i) FROM generate_series(1, 20000) i', 'export'],
    ['SELECT some_emails()', 'read'],
    ['SELECT some_emails() FROM generate_series(1, 900) i', 'export'],
    ['SELECT 1 FROM generate_series(1, 20000) i WHERE email_of(i) IS NULL', 'export'],
    ["SELECT set_config('search_path', 'app', true), app.net_price(1, 2)", 'opaque'],
    ['SET search_path = public; SELECT app.net_price(1, 2)', 'read'],
    ['SET search_path = app, public; SELECT app.net_price(1, 2)', 'opaque'],
    ['BEGIN; DECLARE c CURSOR FOR SELECT app.net_price(1, 2); FETCH 1 FROM c; COMMIT', 'opaque'],
    ['BEGIN; DECLARE c CURSOR FOR SELECT order_total(7); FETCH 1 FROM c; COMMIT', 'opaque'],
    ['BEGIN; DECLARE c CURSOR FOR SELECT app.order_total(7); FETCH 1 FROM c; COMMIT', 'read'],
    ['BEGIN; DECLARE c CURSOR FOR SELECT public.net_plain(7); FETCH 1 FROM c; COMMIT', 'read'],
  ])('%s is %s', (sql, expected) => {
    const { class: found, reasons } = analyse(
      analyser.parse(Buffer.from(sql)),
      catalog,
      { searchPath: ['public'], tempPossible: false },
      DEFAULT_LIMITS,
    );
    expect([found, expected === found ? '' : reasons.join('; ')]).toEqual([expected, '']);
  });
});
