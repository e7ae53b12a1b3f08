import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { makePolicy } from '../../src/config/policy.ts';
import type { RuleShape } from '../../src/config/rule-schema.ts';
import { type Stack, startStack } from '../support/stack.ts';

const SAMPLE = `
  CREATE TABLE people (id integer PRIMARY KEY, email text, city text);
  INSERT INTO people SELECT i, 'p' || i || '@example.com', 'City ' || i % 100 FROM generate_series(1, 20000) i;
  COMMENT ON COLUMN people.email IS 'countersign:pii';
  CREATE TABLE notes (id integer PRIMARY KEY, body text);
  INSERT INTO notes SELECT i, 'n' || i FROM generate_series(1, 3000) i;
  ANALYZE;`;

const RULES: readonly RuleShape[] = [
  { name: 'no-mail', match: { column: ['public.people.email'], rows: { above: 20 } }, decision: 'deny' },
  { name: 'trial', mode: 'observe', match: { relation: ['public.notes'] }, decision: 'hold' },
  {
    name: 'exports',
    match: { class: ['export'] },
    decision: 'hold',
    limits: { rows: 1500 },
    expiry: '2h',
  },
  {
    name: 'some',
    match: { class: ['read'], relation: ['public.notes'] },
    decision: 'allow',
    limits: { rows: 7 },
  },
];

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    sample: SAMPLE,
    limits: { holdTimeoutInTransactionMs: 1_000 },
    config: (config) => ({ ...config, policy: makePolicy(RULES) }),
  });
});
afterAll(() => stack.close());

/** A statement on a connection of its own: how many rows came, and how it ended. */
async function ask(sql: string): Promise<{ rows: number; error: string | null }> {
  const client = new pg.Client({ connectionString: stack.agentUrl });
  client.on('error', () => {});
  await client.connect();
  let rows = 0;
  const query = new pg.Query(sql);
  query.on('row', () => {
    rows += 1;
  });
  const error = await new Promise<string | null>((done) => {
    query.on('end', () => done(null));
    query.on('error', (failed: Error & { code?: string; detail?: string }) =>
      done(`${failed.code} ${failed.detail}`),
    );
    client.query(query);
  });
  await client.end().catch(() => {});
  return { rows, error };
}

const eventually = (holds: () => Promise<void>) => vi.waitFor(holds, { timeout: 30_000, interval: 100 });

describe('rules of a running program', () => {
  it('know columns and sizes: by key and by what the planner expects', async () => {
    expect(await ask('SELECT email FROM people WHERE id = 17')).toEqual({ rows: 1, error: null });
    expect((await ask('SELECT email FROM people LIMIT 50')).error).toMatch(/^42501 Rule no-mail/);
    expect((await ask("SELECT email FROM people WHERE city = 'City 3'")).error).toMatch(
      /^42501 Rule no-mail/,
    );
    expect(await ask("SELECT id FROM people WHERE city = 'City 3'")).toEqual({ rows: 200, error: null });
  });

  it('what passes by the planner’s word is stopped at the number of the rule that it passed, which then decides', async () => {
    // Conditions that the planner takes for rare, and that are always true.
    const fooled =
      "SELECT email FROM people WHERE md5(city) || '' = md5(city) AND upper(email) || '' = upper(email)";
    const { rows, error } = await ask(fooled);
    expect([rows, error]).toEqual([20, expect.stringMatching(/^42501 Rule no-mail/)]);
  });

  it('an allowed result is asked about at the limit of its rule', async () => {
    expect(await ask('SELECT id FROM notes LIMIT 7')).toEqual({ rows: 7, error: null });
    const { rows, error } = await ask('SELECT id FROM notes LIMIT 100');
    expect([rows, error]).toEqual([7, expect.stringMatching(/^57014 Rule exports/)]);
  });

  it('an approved export is stopped at what was approved, which its receipt has', async () => {
    const asked = ask('SELECT id, body FROM notes ORDER BY id');
    const { id } = await stack.api.waitFor('ORDER BY id');
    const shown = await fetch(`${stack.httpUrl}/api/requests/${id}`, {
      headers: { authorization: `Bearer ${stack.approverToken}` },
    });
    const request = (await shown.json()) as { limits: object; createdAt: string; expiresAt: string };
    expect(request.limits).toEqual({ rows: 1500, bytes: null });
    expect(Date.parse(request.expiresAt) - Date.parse(request.createdAt)).toBeGreaterThan(7_000_000);
    await stack.api.verdict(id, 'approve');
    const { rows, error } = await asked;
    expect([rows, error]).toEqual([1500, expect.stringMatching(/^54000 /)]);
    await eventually(async () => {
      const [row] = await stack.audited(
        `SELECT convert_from(decode(rpad(translate(split_part(receipt, '.', 2), '-_', '+/'),
                  (length(split_part(receipt, '.', 2)) + 3) / 4 * 4, '='), 'base64'), 'UTF8')::jsonb -> 'limits' AS limits
           FROM audit.approvals WHERE request_id = $1`,
        [id],
      );
      expect(row?.['limits']).toEqual({ rows: 1500, bytes: null });
    });
  });

  it('a rule in mode observe lets pass, and is reported', async () => {
    await ask('SELECT body FROM notes WHERE id = 2');
    await eventually(async () => {
      const [row] = await stack.audited(
        `SELECT decision, rule, observed_rule, observed_decision FROM audit.statements
          WHERE sql = 'SELECT body FROM notes WHERE id = 2'`,
      );
      expect(row).toEqual({
        decision: 'allow',
        rule: 'some',
        observed_rule: 'trial',
        observed_decision: 'hold',
      });
      const found = await stack.audited(
        `SELECT rule, relation, statements > 0 AS some FROM audit.observed_by_rule WHERE agent = 'agent'`,
      );
      expect(found).toEqual(
        expect.arrayContaining([{ rule: 'trial', relation: 'public.notes', some: true }]),
      );
    });
    const versions = await stack.audited('SELECT digest, digest_ok FROM audit.policies');
    expect(versions).toEqual([{ digest: stack.config.policy.digest, digest_ok: true }]);
    expect(await stack.audited('SELECT * FROM audit.unapproved_exceptions')).toEqual([]);
  });
});
