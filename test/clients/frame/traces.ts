import type { Stack } from '../../support/stack.ts';
import { exists } from './approver.ts';
import type { Feature } from './client.ts';

/** Tables that a program finds; they are there before the proxy starts. */
export function sampleSql(tags: readonly string[]): string {
  return [
    `CREATE TABLE products (id integer PRIMARY KEY, name text NOT NULL, price numeric(10, 2) NOT NULL);
     INSERT INTO products SELECT n, 'Product ' || n, n + 0.5 FROM generate_series(1, 300) AS n;`,
    ...tags.map(
      (tag) => `CREATE TABLE ${tag}_work (id integer PRIMARY KEY, label text);
                CREATE TABLE ${tag}_copy (id integer, label text);`,
    ),
    'ANALYZE',
  ].join('\n');
}

type Trace = (stack: Stack, tag: string) => Promise<string | null>;

/** What a feature must have left on the server, whatever the program says; null when it is so. */
export const TRACES: Partial<Readonly<Record<Feature, Trace>>> = {
  write: rows('work', 'id < 10', '1:written'),
  prepared: rows('work', 'id BETWEEN 10 AND 19', '11:prepared 12:prepared 13:prepared'),
  transaction: rows('work', 'id BETWEEN 20 AND 29', '21:committed'),
  'copy-in': rows('copy', 'true', '1:plain 2:ünï 3:NULL'),
  approved: there('approved', true),
  denied: there('denied', false),
  'timed-out': there('timed_out', false),
};

function rows(table: string, where: string, wanted: string): Trace {
  return async (stack, tag) => {
    const found = await stack.shop.query(
      `SELECT string_agg(id || ':' || coalesce(label, 'NULL'), ' ' ORDER BY id) AS text FROM ${tag}_${table} WHERE ${where}`,
    );
    const text = found.rows[0]?.text ?? '';
    return text === wanted ? null : `the server has ${JSON.stringify(text)}, not ${JSON.stringify(wanted)}`;
  };
}

function there(suffix: string, wanted: boolean): Trace {
  return async (stack, tag) => {
    const table = `${tag}_${suffix}`;
    if ((await exists(stack, table)) === wanted) return null;
    return wanted ? `there is no table ${table}` : `there is a table ${table}`;
  };
}
