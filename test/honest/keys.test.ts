/** Keys that come and go, people's own among them, a schema of another name, and texts erased; a log that alarms nobody. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { makePolicy } from '../../src/config/policy.ts';
import { cli } from '../cli/in-process.ts';
import { device } from '../support/authenticator.ts';
import { freePort } from '../support/free-port.ts';
import { type Stack, startStack } from '../support/stack.ts';
import { stackFile } from '../support/stack-file.ts';
import { alarmsIn } from './sound.ts';
import { agentSends, answered, published, requireSound, settled } from './support.ts';

const SCHEMA = 'trail-2';
const own = device();
const directory = mkdtempSync(join(tmpdir(), 'cs-honest-keys-'));
let stack: Stack;
beforeAll(async () => {
  const port = await freePort();
  stack = await startStack({
    sample: 'CREATE TABLE notes (id int PRIMARY KEY, body text)',
    config: (config) => withPasskey(config, port),
  });
}, 240_000);
afterAll(async () => {
  await stack?.close();
  rmSync(directory, { recursive: true, force: true });
});

function withPasskey(config: Config, port: number): Config {
  return {
    ...config,
    audit: { ...config.audit, schema: SCHEMA },
    http: { ...config.http, port, publicUrl: `http://localhost:${port}` },
    people: config.people.map((one) => (one.id === 'approver' ? { ...one, passkeys: [own.passkey] } : one)),
    policy: makePolicy([{ name: 'rights', match: { class: ['privilege'] }, decision: 'hold', assurance: 3 }]),
  };
}

const command = (...args: string[]) => {
  const url = { env: 'AUDIT_URL' };
  const { path, env } = stackFile(stack, directory, {
    audit: { url, adminUrl: { env: 'AUDIT_ADMIN_URL' }, schema: SCHEMA },
  });
  return cli([...args, '--config', path], env);
};

async function approvedByPasskey(on: Stack, id: string): Promise<number> {
  const headers = { authorization: `Bearer ${on.approverToken}`, 'content-type': 'application/json' };
  const shown = (await (await fetch(`${on.httpUrl}/api/requests/${id}`, { headers })).json()) as {
    digest: string;
  };
  const passkey = own.assertion(shown.digest, on.config.http.publicUrl);
  const body = JSON.stringify({ verdict: 'approve', reason: 'as agreed', passkey });
  return (await fetch(`${on.httpUrl}/api/requests/${id}/verdict`, { method: 'POST', headers, body })).status;
}

describe('keys', { timeout: 600_000 }, () => {
  it('of the installation, rotated and revoked', async () => {
    expect((await answered(stack, 'CREATE TABLE first (id int)', 'approve')).got).toBe('CREATE');
    expect(await command('keys', 'rotate')).toMatchObject({ code: 0, stderr: '' });
    expect((await answered(stack, 'CREATE TABLE second (id int)', 'approve')).got).toBe('CREATE');
    const { keys } = await published(stack);
    const newest = String(keys.findLast(({ kty }) => kty === 'OKP')?.['kid']);
    await settled(stack);
    await requireSound(stack, await published(stack), true);
    expect(await command('keys', 'revoke', newest)).toMatchObject({ code: 0, stderr: '' });
    expect((await answered(stack, 'CREATE TABLE third (id int)', 'approve')).got).toBe('CREATE');
    expect((await published(stack)).revoked).toHaveLength(1);
    await settled(stack);
    await requireSound(stack, await published(stack), true);
  });

  it('of people, and none of them any more', async () => {
    const running = agentSends(stack, 'GRANT SELECT ON notes TO PUBLIC');
    const { id } = await stack.api.waitFor('GRANT SELECT');
    expect((await stack.api.verdict(id, 'approve')).status).toBe(403);
    expect(await approvedByPasskey(stack, id)).toBe(200);
    expect(await running).toBe('GRANT');
    await settled(stack);
    await requireSound(stack, await published(stack), true);
    await stack.running.close();

    const retiredAt = Math.floor(Date.now() / 1000) + 1;
    await new Promise((done) => setTimeout(done, 1_500));
    const port = await freePort();
    const later = await stack.second({
      http: { ...stack.config.http, port, publicUrl: `http://localhost:${port}` },
      people: stack.config.people.map(({ passkeys: _, ...one }) => one),
      retiredPasskeys: [{ person: 'approver', key: own.passkey.key, retiredAt }],
    });
    const keys = await published(later);
    expect(keys.keys.filter((key) => 'countersign_person' in key)).toEqual([]);
    expect(keys.revoked).toContainEqual(
      expect.objectContaining({ countersign_person: 'approver', revoked: expect.anything() }),
    );
    // What it signed is verified; it approves nothing.
    const refused = agentSends(later, 'GRANT UPDATE ON notes TO PUBLIC');
    const again = await later.api.waitFor('GRANT UPDATE');
    expect(await approvedByPasskey(later, again.id)).toBe(403);
    expect((await later.api.verdict(again.id, 'deny')).status).toBe(200);
    expect(await refused).toBe('42501');
    await settled(later);
    await requireSound(later, keys, true);
    // One that left the configuration without a word is missed by an auditor who has the published set alone.
    const without = { ...keys, revoked: keys.revoked?.filter((key) => !('countersign_person' in key)) ?? [] };
    const missed = await alarmsIn({ url: later.auditorUrl, schema: SCHEMA, keys: without, brief: true });
    expect(missed.alarms.join('\n')).toContain('the passkey of approver is not among the trusted ones');

    const hold = await command('audit', 'hold', 'add', '--agent', 'nobody', '--reason', 'of another');
    expect(hold).toMatchObject({ code: 0, stderr: '' });
    const erased = await command('audit', 'redact', '--agent', 'agent', '--reason', 'asked for');
    expect(erased).toMatchObject({ code: 0, stderr: '' });
    expect((await command('audit', 'retention', '--keep', '1d')).code).toBe(0);
    await requireSound(later, keys);
  });
});
