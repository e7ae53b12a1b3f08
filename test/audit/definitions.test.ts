import { readFileSync } from 'node:fs';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AuditDatabase, createAuditDatabase } from './support.ts';

/** The query of docs/verify.md, as it stands there. */
const QUERY = /```sql\n(SET search_path = pg_catalog;[\s\S]*?)```/.exec(
  readFileSync(new URL('../../docs/verify.md', import.meta.url), 'utf8'),
)?.[1];

let mine: AuditDatabase;
let theirs: AuditDatabase;
beforeAll(async () => {
  mine = await createAuditDatabase();
  theirs = await createAuditDatabase();
});
afterAll(async () => {
  await mine.dropAll();
  await theirs.dropAll();
});

async function sumOf({ auditorUrl }: AuditDatabase): Promise<{ definitions: string; sum: string }> {
  const client = new pg.Client(auditorUrl);
  await client.connect();
  try {
    const results = (await client.query(QUERY ?? '')) as unknown as pg.QueryResult[];
    return results.at(-1)?.rows[0];
  } finally {
    await client.end();
  }
}

test('two installations have one sum, as their auditors see them', async () => {
  const sum = await sumOf(mine);
  expect(Number(sum.definitions)).toBeGreaterThan(500);
  // Days come and go.
  await theirs.query(`SELECT audit.ensure_day('2031-01-01')`);
  expect(await sumOf(theirs)).toEqual(sum);
});

test.each([
  ['a verifier that finds nothing', 'ALTER FUNCTION audit.verify_streams() RENAME TO verify_streams_'],
  [
    'a function with another body',
    `CREATE OR REPLACE FUNCTION audit.told(detail text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT '{}'::jsonb $$`,
  ],
  [
    'a view that leaves something out',
    `CREATE OR REPLACE VIEW audit.leaves AS SELECT l.index, l.stream, l.from_seq, l.hash FROM audit.leaf l WHERE l.index > 0`,
  ],
  ['a trigger switched off', 'ALTER TABLE audit.entry DISABLE TRIGGER append_only'],
  [
    'a trigger put in',
    'CREATE TRIGGER a BEFORE INSERT ON audit.batch FOR EACH ROW EXECUTE FUNCTION audit.refuse_change()',
  ],
  ['rows hidden by a policy', 'ALTER TABLE audit.entry ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY'],
  ['a policy', 'CREATE POLICY p ON audit.batch USING (stored_at < now())'],
  ['a rule', 'CREATE RULE r AS ON INSERT TO audit.leaf DO INSTEAD NOTHING'],
  ['another column', 'ALTER TABLE audit.leaf ADD more text'],
  ['a default', `ALTER TABLE audit.entry ALTER agent SET DEFAULT 'x'`],
])('%s changes it', async (_name, sql) => {
  const before = await sumOf(theirs);
  await theirs.query(sql);
  expect((await sumOf(theirs)).sum).not.toBe(before.sum);
});
