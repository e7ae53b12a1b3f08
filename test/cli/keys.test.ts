import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keySetFromJwks } from '../../src/signing/keys.ts';
import { readReceipt } from '../../src/signing/receipt.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { stackFile } from '../support/stack-file.ts';
import { cli } from './in-process.ts';

let directory: string;
let stack: Stack;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cs-keys-cli-'));
  stack = await startStack();
}, 60_000);
afterAll(async () => {
  await stack?.close();
  rmSync(directory, { recursive: true, force: true });
});

const keysCommand = (...args: string[]) => {
  const { path, env } = stackFile(stack, directory);
  return cli(['keys', ...args, '--config', path], env);
};
type Listed = { readonly kid: string; readonly status: string };
const listed = async () =>
  (JSON.parse((await keysCommand('list', '--json')).stdout) as { keys: readonly Listed[] }).keys;
const served = async () =>
  (await (await fetch(`${stack.httpUrl}/.well-known/jwks.json`)).json()) as {
    keys: { kid: string }[];
    revoked?: { kid: string }[];
  };

/** A held statement of a client of its own, approved by a person; its receipt. */
async function runHeld(sql: string): Promise<string> {
  const client = new pg.Client({ connectionString: stack.agentUrl });
  await client.connect();
  try {
    const running = client.query(sql);
    const { id } = await stack.api.waitFor(sql);
    expect((await stack.api.verdict(id, 'approve')).status).toBe(200);
    await running;
    const answer = await fetch(`${stack.httpUrl}/api/requests/${id}`, {
      headers: { authorization: `Bearer ${stack.approverToken}` },
    });
    return ((await answer.json()) as { receipt: string }).receipt;
  } finally {
    await client.end();
  }
}

const kidOf = (receipt: string) =>
  (JSON.parse(Buffer.from(receipt.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid;

describe('keys of a running installation', () => {
  it('are rotated and revoked without a restart, and the log has an entry of each', async () => {
    const first = await runHeld('CREATE TABLE key_one (a int)');
    const [before] = await listed();
    expect(before).toMatchObject({ status: 'signs', kid: kidOf(first) });

    const rotated = await keysCommand('rotate');
    expect(rotated).toMatchObject({ code: 0, stderr: '' });
    const second = await runHeld('CREATE TABLE key_two (a int)');
    expect(kidOf(second)).not.toBe(kidOf(first));
    expect(rotated.stdout).toContain(`${kidOf(second)} signs`);
    expect(await listed()).toEqual([
      expect.objectContaining({ kid: kidOf(first), status: 'verifies' }),
      expect.objectContaining({ kid: kidOf(second), status: 'signs' }),
    ]);
    expect((await served()).keys.map(({ kid }) => kid).sort()).toEqual([kidOf(first), kidOf(second)].sort());

    const revoked = await keysCommand('revoke', kidOf(second).slice(0, 8));
    expect(revoked).toMatchObject({ code: 0, stderr: '' });
    expect(revoked.stdout).toContain('signs from now on');
    const third = await runHeld('CREATE TABLE key_three (a int)');
    expect([kidOf(first), kidOf(second)]).not.toContain(kidOf(third));
    const jwks = await served();
    expect(jwks.keys.map(({ kid }) => kid)).not.toContain(kidOf(second));
    expect(jwks.revoked).toEqual([
      expect.objectContaining({
        kid: kidOf(second),
        revoked: expect.objectContaining({ reason: 'compromised' }),
      }),
    ]);
    expect((await readReceipt(second, await keySetFromJwks(jwks))).key.revocation).not.toBeNull();
    expect(readdirSync(stack.config.keys.directory).sort()).toEqual([
      'retired-1.jwk',
      'revoked-2.jwk',
      'signing-3.jwk',
    ]);

    const [row] = await stack.audited(`SELECT request_id FROM audit.approvals WHERE receipt = $1`, [first]);
    const api = { COUNTERSIGN_URL: stack.httpUrl, COUNTERSIGN_TOKEN: stack.approverToken };
    expect(await cli(['receipt', 'show', String(row?.['request_id'])], api)).toMatchObject({
      code: 0,
      stdout: `${first}\n`,
    });

    const rows = await stack.audited(
      `SELECT kid, revoked_at IS NOT NULL AS revoked, revoked_reason FROM audit.signing_keys ORDER BY not_before`,
    );
    expect(rows).toEqual([
      { kid: kidOf(first), revoked: false, revoked_reason: null },
      { kid: kidOf(second), revoked: true, revoked_reason: 'compromised' },
      { kid: kidOf(third), revoked: false, revoked_reason: null },
    ]);
  }, 60_000);

  it('leave a log that can still be verified, also with the set that says what is revoked', async () => {
    const set = join(directory, 'jwks.json');
    writeFileSync(set, JSON.stringify(await served()));
    const whole = await cli(['verify', '--url', stack.auditorUrl, '--keys', set]);
    expect(whole.stdout).toMatch(/^whole: /m);
    expect(whole.code).toBe(0);
    // The same key revoked since before anything began: then what it endorsed never counted.
    const jwks = JSON.parse(readFileSync(set, 'utf8')) as { keys: { kid: string }[] };
    const early = {
      ...jwks,
      revoked: jwks.keys.map((key) => ({ ...key, revoked: { revoked_at: 1 } })),
      keys: jwks.keys,
    };
    writeFileSync(set, JSON.stringify(early));
    const altered = await cli(['verify', '--url', stack.auditorUrl, '--keys', set]);
    expect(altered.code).toBe(1);
    expect(altered.stdout).toContain('revoked before the stream began');
    expect(altered.stdout).toContain('a key that was revoked by then');
  }, 60_000);

  it('that are not there are told so, and what signs from a secret is not rotated here', async () => {
    expect(await keysCommand('revoke', 'nosuchkey')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no key nosuchkey'),
    });
    expect(await keysCommand('revoke', 'x', '--reason', 'boredom')).toMatchObject({ code: 2 });
    expect(await keysCommand('revoke', 'x', '--since', 'yesterday')).toMatchObject({ code: 2 });
    const file = join(directory, 'secret.jwk');
    expect((await cli(['keys', 'new', '--out', file])).code).toBe(0);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect((await cli(['keys', 'new', '--out', file])).stderr).toContain('EEXIST');
    const own = stackFile(stack, directory, { keys: { signing: { file } } });
    const refused = await cli(['keys', 'rotate', '--config', own.path], own.env);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('keys.verifying') });
  });
});
