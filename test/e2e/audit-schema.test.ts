import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../cli/child.ts';
import { type Stack, startStack } from '../support/stack.ts';

/** A name that must be quoted, and one beside it that it must not be taken for. */
const SCHEMA = 'Audit-Trail_2';
const Q = `"${SCHEMA}"`;
const directory = mkdtempSync(join(tmpdir(), 'countersign-schema-'));
let stack: Stack;

beforeAll(async () => {
  stack = await startStack({
    limits: { checkpointMs: 500 },
    config: (config) => ({ ...config, audit: { ...config.audit, schema: SCHEMA } }),
  });
  const client = new pg.Client({ connectionString: stack.agentUrl });
  await client.connect();
  await client.query('SELECT name FROM customers WHERE id = 17');
  const held = client.query('CREATE TABLE elsewhere (id int)');
  await stack.api.verdict((await stack.api.waitFor('elsewhere')).id, 'approve');
  await held;
  await client.end();
});
afterAll(async () => {
  await stack.close();
  rmSync(directory, { recursive: true });
});

const verify = (...more: string[]) =>
  run('src/main.ts', [
    ...['verify', '--url', stack.auditorUrl, '--schema', SCHEMA],
    ...['--keys', `${stack.httpUrl}/.well-known/jwks.json`, ...more],
  ]).ended;

// Programs are started and every view is read, beside whatever else runs on this machine.
describe('a whole installation whose audit schema has another name', { timeout: 120_000 }, () => {
  it('records there, and nowhere else', async () => {
    const executed = `SELECT sql, approvers FROM ${Q}.statements WHERE outcome = 'executed' ORDER BY at`;
    await expect
      .poll(() => stack.audited(executed), { timeout: 30_000 })
      .toEqual([
        { sql: 'SELECT name FROM customers WHERE id = 17', approvers: [] },
        { sql: 'CREATE TABLE elsewhere (id int)', approvers: ['approver'] },
      ]);
    const { rows } = await stack.audit.query(
      `SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)' ORDER BY 1`,
    );
    expect(rows.map(({ nspname }) => nspname)).toEqual([SCHEMA, 'countersign', 'public']);
  });

  it('has every view, for the auditor, and its tables for nobody', async () => {
    const { rows } = await stack.audit.query(
      'SELECT viewname FROM pg_views WHERE schemaname = $1 ORDER BY 1',
      [SCHEMA],
    );
    expect(rows.length).toBeGreaterThan(15);
    const readable = await stack.audited(
      `SELECT table_name FROM information_schema.table_privileges
        WHERE table_schema = $1 AND privilege_type = 'SELECT' AND grantee = current_user`,
      [SCHEMA],
    );
    expect(readable.length).toBeGreaterThan(12);
    for (const { table_name } of readable)
      await expect(
        stack.audited(`SELECT * FROM ${Q}."${String(table_name)}" LIMIT 1`),
      ).resolves.toBeDefined();
    await expect(stack.audited(`SELECT * FROM ${Q}.entry`)).rejects.toMatchObject({ code: '42501' });
    const writer = new pg.Client(stack.config.audit.url);
    await writer.connect();
    await expect(writer.query(`SELECT * FROM ${Q}.statements`)).rejects.toMatchObject({ code: '42501' });
    await expect(writer.query(`DELETE FROM ${Q}.entry`)).rejects.toMatchObject({ code: '42501' });
    await writer.end();
  });

  it('is whole for both verifiers, with its checkpoint', async () => {
    const note = async () => (await fetch(`${stack.httpUrl}/checkpoint`)).text();
    await expect.poll(note, { timeout: 30_000 }).toContain('— ');
    const kept = await note();
    const found = await stack.audited(`SELECT "check", ok, detail FROM ${Q}.verify(checkpoint => $1)`, [
      kept,
    ]);
    expect(found.length).toBeGreaterThan(8);
    expect(found.filter(({ ok }) => ok !== true)).toEqual([]);
    const file = join(directory, 'checkpoint');
    writeFileSync(file, kept);
    const { code, stdout, stderr } = await verify('--checkpoint', file);
    expect(stdout + stderr).toContain('whole');
    expect(code).toBe(0);
  });

  it('is found altered there by both', async () => {
    const { rows } = await stack.audit.query(
      `SELECT stream, seq FROM ${Q}.entry WHERE kind = 'intent' AND class = 'ddl'`,
    );
    const { stream, seq } = rows[0] as { stream: string; seq: string };
    await stack.audit.query(`ALTER TABLE ${Q}.entry DISABLE TRIGGER ALL;
      UPDATE ${Q}.entry SET class = 'read' WHERE stream = '${stream}' AND seq = ${seq}`);
    const found = await stack.audited(`SELECT stream, seq, "check" FROM ${Q}.verify() WHERE NOT ok`);
    expect(found).toContainEqual({ stream, seq, check: 'row_hash' });
    const { code, stdout } = await verify();
    expect(code).toBe(1);
    expect(stdout).toContain(`stream ${stream} row ${seq}: row_hash`);
  });
});
