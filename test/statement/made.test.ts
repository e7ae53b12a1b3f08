import { describe, expect, it } from 'vitest';
import { analysed, catalogOf, classOf, PUBLIC } from './support.ts';

const catalog = catalogOf({
  tables: {
    big: {},
    old: { effects: { insert: ['trigger t of old calls f'] } },
    hidden: { schema: 'later', effects: { insert: ['trigger t of hidden calls f'] } },
  },
  functions: { 'public.f': {}, 'public.tidy': {} },
  types: { 'public.mood': [], 'public.odd': ['its check calls f'] },
  operators: ['public.@+@'],
});

const last = (sql: string, path: readonly string[] | null = ['public'], tempPossible = false) =>
  analysed(sql, catalog, { searchPath: path, tempPossible }).statements.at(-1)?.class;

describe('a table that the string itself made is plain', () => {
  it.each([
    ['CREATE TABLE x (a int); INSERT INTO x VALUES (1)', 'write'],
    ['CREATE TABLE x (a int); INSERT INTO public.x VALUES (1)', 'write'],
    ['CREATE TABLE public.x (a int); INSERT INTO x VALUES (1)', 'write'],
    ['CREATE TABLE new.x (a int); INSERT INTO new.x VALUES (1)', 'write'],
    [
      'CREATE TABLE x (id serial PRIMARY KEY, a text NOT NULL DEFAULT lower(current_user), at timestamptz DEFAULT now(), CHECK (a <> id::text)); INSERT INTO x (a) VALUES (1)',
      'write',
    ],
    ['CREATE TABLE x (id int REFERENCES big (id)); INSERT INTO x SELECT 1', 'write'],
    [
      'CREATE TABLE x (a int); CREATE INDEX ON x (a); COMMENT ON TABLE x IS $$y$$; INSERT INTO x VALUES (1)',
      'write',
    ],
    ['CREATE TABLE IF NOT EXISTS x (a int); INSERT INTO x VALUES (1)', 'write'],
    ['CREATE TABLE x AS SELECT id FROM big WHERE id = 1; INSERT INTO x VALUES (1)', 'write'],
    ['SELECT id INTO x FROM big WHERE id = 1; INSERT INTO x VALUES (1)', 'write'],
    ['BEGIN; CREATE TABLE x (a int); SAVEPOINT s; INSERT INTO x VALUES (1)', 'write'],
    ['CREATE TABLE x (a int); GRANT SELECT ON x TO reader; INSERT INTO x VALUES (1)', 'write'],
    ['CREATE TEMP TABLE x (a int); INSERT INTO x VALUES (1)', 'write'],
    ['CREATE TEMP TABLE x (a int); INSERT INTO pg_temp.x VALUES (1)', 'write'],
    ['CREATE TEMP TABLE big AS SELECT 1 AS n; INSERT INTO big VALUES (1)', 'write'],
    // How large it is by now, nobody knows.
    ['CREATE TABLE x (a int); SELECT * FROM x', 'export'],
    ['CREATE TABLE x (a int); SELECT * FROM x LIMIT 10', 'read'],
    ['CREATE TABLE x (a int); DELETE FROM x', 'bulk_write'],
  ])('%s', (sql, class_) => {
    expect(last(sql)).toBe(class_);
  });

  it('so the string is no more than what makes it', () => {
    expect(classOf('CREATE TABLE x (a int); INSERT INTO x SELECT id FROM big', catalog)).toBe('ddl');
  });

  it('hides one of the same name in a later schema of the path', () => {
    const path = { searchPath: ['public', 'later'], tempPossible: false };
    expect(classOf('CREATE TABLE hidden (a int); INSERT INTO hidden VALUES (1)', catalog, path)).toBe('ddl');
    expect(classOf('INSERT INTO hidden VALUES (1)', catalog, path)).toBe('opaque');
  });
});

describe('it is not known', () => {
  it.each([
    'INSERT INTO x VALUES (1); CREATE TABLE x (a int); INSERT INTO y VALUES (1)',
    'CREATE TABLE IF NOT EXISTS old (a int); INSERT INTO old VALUES (1)',
    'CREATE TABLE x (a int DEFAULT f()); INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int CHECK (tidy(a) > 1)); INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int, CHECK (a @+@ 1 > 1)); INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int GENERATED ALWAYS AS (f(1)) STORED); INSERT INTO x VALUES (1)',
    "CREATE TABLE x (a text DEFAULT pg_read_file('x')); INSERT INTO x VALUES (1)",
    "CREATE TABLE x (a text DEFAULT set_config('role', 'postgres', false)); INSERT INTO x VALUES (1)",
    "CREATE TABLE x (a xml DEFAULT query_to_xml('DELETE FROM big', true, true, '')); INSERT INTO x VALUES (1)",
    'CREATE TABLE x (a odd); INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a mood[]); INSERT INTO x VALUES (1)',
    'CREATE TABLE x () INHERITS (old); INSERT INTO x VALUES (1)',
    'CREATE TABLE x (LIKE old INCLUDING ALL); INSERT INTO x VALUES (1)',
    'CREATE TABLE x PARTITION OF old DEFAULT; INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int) PARTITION BY RANGE (a); INSERT INTO x VALUES (1)',
    'CREATE TABLE x OF mood; INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int) USING other; INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int, EXCLUDE USING gist (a WITH =)); INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int); CREATE INDEX ON x (f(a)); INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int); CREATE INDEX ON x (a odd_ops); INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int); CREATE INDEX ON x (a) WHERE f(a) = 1; INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int); CREATE TRIGGER t BEFORE INSERT ON x EXECUTE FUNCTION f(); INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int); CREATE RULE r AS ON INSERT TO x DO ALSO DELETE FROM big; INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int); ALTER TABLE x ADD b int DEFAULT f(); INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int); DROP TABLE x; INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int); ALTER TABLE old RENAME TO x; INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int); DO $$ BEGIN END $$; INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int); SELECT f(); INSERT INTO x VALUES (1)',
    'BEGIN; CREATE TABLE x (a int); ROLLBACK; INSERT INTO x VALUES (1)',
    'CREATE TEMP TABLE x (a int) ON COMMIT DROP; COMMIT; INSERT INTO x VALUES (1)',
    'CREATE TEMP TABLE x (a int); DISCARD TEMP; INSERT INTO x VALUES (1)',
    'CREATE TEMP TABLE x (a int); SET search_path = public, pg_temp; INSERT INTO x VALUES (1)',
    'SET search_path = public, pg_temp; CREATE TEMP TABLE old (a int); INSERT INTO old VALUES (1)',
    'CREATE TABLE x (a int); SET search_path = later; INSERT INTO x VALUES (1)',
    'CREATE VIEW x AS SELECT f(); SELECT * FROM x',
    'CREATE MATERIALIZED VIEW x AS SELECT 1; INSERT INTO x VALUES (1)',
    'CREATE TABLE x AS SELECT f() AS a; INSERT INTO x VALUES (1)',
    "CREATE TABLE x AS SELECT 'a'::mood AS a; INSERT INTO x VALUES (1)",
    'CREATE TABLE IF NOT EXISTS x AS SELECT 1; INSERT INTO x VALUES (1)',
    'EXPLAIN CREATE TABLE x AS SELECT 1; INSERT INTO x VALUES (1)',
    'CREATE TABLE x (a int); INSERT INTO other.x VALUES (1)',
  ])('%s', (sql) => {
    expect(last(sql)).toBe('opaque');
  });

  it('where a temporary table could hide it, or where nobody knows what a bare name means', () => {
    const sql = 'CREATE TABLE x (a int); INSERT INTO x VALUES (1)';
    expect(last(sql, ['public'], true)).toBe('opaque');
    expect(last(sql, null)).toBe('opaque');
    expect(last('CREATE TEMP TABLE x (a int); INSERT INTO x VALUES (1)', null)).toBe('opaque');
    expect(analysed(sql, catalog, PUBLIC).statements[1]?.relations[0]?.schema).toBeNull();
  });
});
