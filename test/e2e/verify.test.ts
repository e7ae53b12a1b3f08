import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../cli/child.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
  const client = new pg.Client({ connectionString: stack.agentUrl });
  await client.connect();
  await client.query('SELECT name FROM customers WHERE id = 17');
  const held = client.query('CREATE TABLE verified (id int)');
  await stack.api.verdict((await stack.api.waitFor('verified')).id, 'approve');
  await held;
  await client.end();
});
afterAll(() => stack.close());

const verify = () =>
  run('src/main.ts', [
    'verify',
    '--url',
    stack.auditorUrl,
    '--keys',
    `${stack.httpUrl}/.well-known/jwks.json`,
  ]).ended;

describe('a whole installation', () => {
  it('has a log that both verifiers find whole, with public keys only', async () => {
    const executed = async () =>
      (await stack.audit.query("SELECT FROM audit.statements WHERE outcome = 'executed'")).rowCount;
    await expect.poll(executed).toBe(2);
    const checks = await stack.audited('SELECT "check", ok FROM audit.verify()');
    expect(checks.length).toBeGreaterThan(4);
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
    const { code, stdout, stderr } = await verify();
    expect(stdout + stderr).toContain('whole');
    expect(code).toBe(0);
  });

  it('has one in which both name the row that somebody changed', async () => {
    const { rows } = await stack.audit.query(
      "SELECT stream, seq FROM audit.entry WHERE kind = 'intent' AND class = 'ddl'",
    );
    const { stream, seq } = rows[0] as { stream: string; seq: string };
    // The owner of the database can switch the triggers off; what was done shows all the same.
    await stack.audit.query(`SET session_replication_role = replica; ALTER TABLE audit.entry DISABLE TRIGGER ALL;
      UPDATE audit.entry SET class = 'read' WHERE stream = '${stream}' AND seq = ${seq}`);
    const found = await stack.audit.query('SELECT stream, seq, "check" FROM audit.verify() WHERE NOT ok');
    expect(found.rows).toContainEqual(expect.objectContaining({ stream, seq }));
    const { code, stdout } = await verify();
    expect(code).toBe(1);
    expect(stdout).toContain(`${stream}`);
    expect(stdout).toMatch(new RegExp(`\\b${seq}\\b`));
  });
});
