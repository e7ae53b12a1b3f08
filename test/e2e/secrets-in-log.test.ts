/** A password that an agent writes, rightly or wrongly, is nowhere in the log: no table, no view, no journal. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { withClient } from '../support/postgres.ts';
import { type Stack, startStack } from '../support/stack.ts';

const SECRET = 'hunter2zq';
const STATEMENTS: readonly (readonly [string, (readonly string[])?])[] = [
  [`ALTER ROLE bob PASSWORD '${SECRET}'`],
  [`SELECT 1; CREATE ROLE bob LOGIN PASSWORD '${SECRET}'`],
  [`CREATE USER MAPPING FOR bob SERVER s OPTIONS (password '${SECRET}')`],
  [`DO $$ BEGIN CREATE ROLE bob LOGIN PASSWORD '${SECRET}'; END $$`],
  // Mistakes: the server's own words repeat some of it.
  [`ALTER ROLE bob PASWORD '${SECRET}'`],
  [`ALTER USER bob IDENTIFIED BY '${SECRET}'`],
  [`ALTER ROLE bob PASSWORD "${SECRET}"`],
  [`ALTER ROLE bob PASSWORD ${SECRET}`],
  [`ALTER ROLE bob PASSWORD '${SECRET}`],
  [`SELECT dblink_connect('a', 'host=h password=' || '${SECRET}')`],
  ['SELECT dblink_connect($1)', [`host=h password=${SECRET}`]],
];

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ limits: { holdTimeoutMs: 300 } });
});
afterAll(() => stack.close());

test('passwords are not in the log', async () => {
  for (const [text, values] of STATEMENTS)
    await withClient({ connectionString: stack.agentUrl }, (client) =>
      expect(client.query(text, values === undefined ? undefined : [...values])).rejects.toThrow(),
    );
  await expect
    .poll(
      async () => (await stack.audited('SELECT FROM audit.statements WHERE outcome IS NOT NULL')).length,
      {
        timeout: 30_000,
      },
    )
    .toBeGreaterThanOrEqual(STATEMENTS.length);
  const journal = join(stack.config.dataDirectory, 'journal');
  const files = readdirSync(journal, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  expect(files.length).toBeGreaterThan(0);
  for (const { parentPath, name } of files)
    expect(readFileSync(join(parentPath, name)).includes(SECRET), name).toBe(false);
  await withClient({ connectionString: stack.audit.url }, async (client: pg.Client) => {
    const { rows: relations } = await client.query<{ name: string }>(
      `SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'audit' AND c.relkind IN ('r', 'v')`,
    );
    expect(relations.length).toBeGreaterThan(30);
    for (const { name } of relations) {
      const { rows } = await client.query(`SELECT count(*)::int AS n FROM ${name} x WHERE x::text LIKE $1`, [
        `%${SECRET}%`,
      ]);
      expect(rows, name).toEqual([{ n: 0 }]);
    }
  });
}, 180_000);
