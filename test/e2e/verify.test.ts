import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../cli/child.ts';
import { type Stack, startStack } from '../support/stack.ts';

const directory = mkdtempSync(join(tmpdir(), 'countersign-anchor-'));
const anchor = join(directory, 'checkpoints.jsonl');
let stack: Stack;
beforeAll(async () => {
  stack = await startStack({
    limits: { checkpointMs: 500 },
    config: (config) => ({
      ...config,
      audit: { ...config.audit, anchors: [{ kind: 'file', path: anchor }] },
    }),
  });
  const client = new pg.Client({ connectionString: stack.agentUrl });
  await client.connect();
  await client.query('SELECT name FROM customers WHERE id = 17');
  const held = client.query('CREATE TABLE verified (id int)');
  await stack.api.verdict((await stack.api.waitFor('verified')).id, 'approve');
  await held;
  await client.end();
});
afterAll(async () => {
  await stack.close();
  rmSync(directory, { recursive: true });
});

const verify = (...more: string[]) =>
  run('src/main.ts', [
    'verify',
    '--url',
    stack.auditorUrl,
    '--keys',
    `${stack.httpUrl}/.well-known/jwks.json`,
    ...more,
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

  it('puts signed checkpoints where its database has no say, and misses what they cover', async () => {
    await expect.poll(() => existsSync(anchor), { timeout: 20_000 }).toBe(true);
    const { code, stdout, stderr } = await verify('--checkpoint', anchor);
    expect(stdout + stderr).toContain('whole');
    expect(code).toBe(0);
    const cut = new pg.Client(stack.audit.url);
    await cut.connect();
    try {
      // Seen by this session alone, and undone.
      await cut.query(
        `BEGIN; ALTER TABLE audit.leaf DISABLE TRIGGER ALL; ALTER TABLE audit.checkpoint DISABLE TRIGGER ALL`,
      );
      const { rows } = await cut.query('SELECT note FROM audit.checkpoint ORDER BY size DESC LIMIT 1');
      await cut.query('DELETE FROM audit.checkpoint; DELETE FROM audit.leaf');
      const found = await cut.query(
        'SELECT "check", detail FROM audit.verify(checkpoint => $1) WHERE NOT ok',
        [rows[0].note],
      );
      expect(found.rows).toContainEqual({
        check: 'checkpoint',
        detail: expect.stringContaining('cut off: the given checkpoint covers'),
      });
    } finally {
      await cut.end();
    }
  });

  it('gives its newest checkpoint to anybody who asks, without a credential', async () => {
    const note = async () => (await fetch(`${stack.httpUrl}/checkpoint`)).text();
    await expect.poll(note, { timeout: 20_000 }).toContain('— ');
    const { rows } = await stack.audit.query('SELECT note FROM audit.checkpoint');
    const kept = await note();
    expect(rows.map((row) => row.note)).toContain(kept);
    const file = join(directory, 'kept');
    writeFileSync(file, kept);
    expect((await verify('--checkpoint', file)).stdout).toContain('whole');
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
