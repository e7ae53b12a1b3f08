import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ERASED } from '../../src/audit/upkeep/redaction.ts';
import { verifyLog } from '../../src/audit/verify/verify-database.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { stackFile } from '../support/stack-file.ts';
import { cli } from './in-process.ts';

let directory: string;
let stack: Stack;
let admin: pg.Client;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cs-upkeep-cli-'));
  stack = await startStack();
  admin = new pg.Client({ connectionString: stack.config.audit.adminUrl ?? '' });
  // The stack ends its database's connections before this one is.
  admin.on('error', () => {});
  await admin.connect();
}, 120_000);
afterAll(async () => {
  await admin?.end();
  await stack?.close();
  rmSync(directory, { recursive: true, force: true });
});

const audit = (...args: string[]) => {
  const { path, env } = stackFile(stack, directory);
  return cli(['audit', ...args, '--config', path], env);
};
const whole = async () => {
  const { schema, adminUrl } = stack.config.audit;
  const keys = await (await fetch(`${stack.httpUrl}/.well-known/jwks.json`)).json();
  const { findings } = await verifyLog({ url: adminUrl ?? '', schema, keys: keys as { keys: [] } });
  return findings;
};
/** Evidence of today, made and checked with the keys that the installation publishes. */
async function evidence(name: string) {
  const { path, env } = stackFile(stack, directory);
  const keys = `${stack.httpUrl}/.well-known/jwks.json`;
  const out = join(directory, name);
  const from = new Date().toISOString().slice(0, 10);
  const made = await cli(['evidence', '--from', from, '--config', path, '--keys', keys, '--out', out], env);
  const checked = await cli(['verify', '--evidence', out, '--keys', keys]);
  return { made, checked };
}
const stored = async (text: string) => {
  const { rows } = await admin.query(
    `SELECT stream, seq, sql, parameters FROM ${stack.config.audit.schema}.statements WHERE sql LIKE $1`,
    [`%${text}%`],
  );
  return rows;
};
/** Statements are in the database a moment after they ran. */
async function seen(text: string) {
  for (let tries = 0; tries < 300; tries += 1) {
    const rows = await stored(text);
    if (rows.length > 0) return rows;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${text} did not arrive in the log`);
}

describe('upkeep of a running installation', () => {
  it('erases a held statement from the log and from its request, once that has ended', async () => {
    const client = new pg.Client({ connectionString: stack.agentUrl });
    await client.connect();
    const running = client.query('CREATE TABLE very_private (a int)');
    const { id } = await stack.api.waitFor('CREATE TABLE very_private (a int)');
    const [row] = await seen('very_private');
    const place = `${row.stream}/${row.seq}`;
    const open = await audit('redact', '--statement', place, '--reason', 'asked for');
    expect(open.code).toBe(1);
    expect(open.stderr).toContain(id);
    expect(await stored('very_private')).toHaveLength(1);

    expect((await stack.api.verdict(id, 'approve')).status).toBe(200);
    await running;
    await client.end();
    const ended = async () =>
      (await admin.query('SELECT FROM countersign.request WHERE id = $1 AND ended_at IS NOT NULL', [id]))
        .rowCount;
    for (let tries = 0; tries < 300 && (await ended()) === 0; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 100));

    const hold = await audit('hold', 'add', '--agent', row.agent ?? 'none', '--reason', 'of another agent');
    expect(hold).toMatchObject({ code: 0, stderr: '' });
    const done = await audit('redact', '--statement', place, '--reason', 'asked for');
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(done.stdout).toContain('erased the text of 1 statements, and of 1 requests');
    expect(await stored('very_private')).toEqual([]);
    const { rows } = await admin.query('SELECT sql, parameters FROM countersign.request WHERE id = $1', [id]);
    expect(rows).toEqual([{ sql: ERASED, parameters: null }]);
    expect(await whole()).toEqual([]);
    const { rows: approvals } = await admin.query(
      `SELECT sql, outcome FROM ${stack.config.audit.schema}.approvals WHERE request_id = $1`,
      [id],
    );
    expect(approvals).toEqual([{ sql: null, outcome: 'executed' }]);
    const { made, checked } = await evidence('redacted');
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(checked).toMatchObject({ code: 0, stderr: '' });
    expect(checked.stdout).toMatch(
      /^accounted for by entries of the log: 0 rows that retention dropped, 1 texts/,
    );
  }, 120_000);

  it('is stopped by a hold, which is listed and released', async () => {
    const client = new pg.Client({ connectionString: stack.agentUrl });
    await client.connect();
    await client.query("SELECT 'kept_for_the_court'");
    await client.end();
    await seen('kept_for_the_court');
    const added = await audit('hold', 'add', '--from', '2020-01-01', '--reason', 'inquiry 7');
    const [name = ''] = added.stdout.split(' ');
    const [agent] = stack.config.agents;
    const erase = () => audit('redact', '--agent', agent?.name ?? '', '--reason', 'asked for');
    const refused = await erase();
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`${name}: inquiry 7`);
    expect((await audit('hold', 'list')).stdout).toContain(`${name} in force from 2020-01-01T00:00:00.000Z`);
    expect(await audit('hold', 'release', name, '--reason', 'closed')).toMatchObject({ code: 0 });
    expect((await audit('hold', 'release', name, '--reason', 'closed')).stderr).toContain('in force');
    expect((await erase()).code).toBe(0);
    expect(await stored('kept_for_the_court')).toEqual([]);
    expect(await whole()).toEqual([]);
  }, 120_000);

  it('drops nothing of days that are kept, and says what it needs', async () => {
    expect(await audit('retention', '--keep', '400d')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^nothing to drop before \d{4}-\d\d-\d\d\n$/),
    });
    expect((await audit('retention')).stderr).toContain('--keep 400d');
    for (const keep of ['90m', '0d', 'x'])
      expect((await audit('retention', '--keep', keep)).stderr).toContain('whole days');
    expect((await audit('redact', '--reason', 'x')).stderr).toContain('which statements?');
    expect((await audit('redact', '--agent', 'a', '--statement', 's/1', '--reason', 'x')).code).toBe(2);
    expect((await audit('redact', '--statement', 's', '--reason', 'x')).stderr).toContain('STREAM/SEQ');
  }, 120_000);
});
