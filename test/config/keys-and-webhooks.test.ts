import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { newPrivateKeyText } from '../../src/signing/key-text.ts';
import { keysFrom } from '../../src/signing/keys.ts';
import { directoryWith, load, MINIMAL, refusal } from './sample.ts';

const told = async (yaml: string, env: NodeJS.ProcessEnv = {}) => (await refusal(yaml, env)).message;

const KEY = newPrivateKeyText(1_800_000_000);
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

describe('keys.signing', () => {
  it('comes from the environment, a command, or a file that its owner alone can read', async () => {
    expect((await load(`${MINIMAL}keys: { signing: { env: KEY } }\n`, { KEY })).keys.signing).toBe(KEY);
    const command = `${MINIMAL}keys: { signing: { command: [printenv, KEY] } }\n`;
    expect((await load(command, { KEY, PATH: process.env['PATH'] })).keys.signing).toBe(KEY);
    const directory = directoryWith({ 'c.yaml': `${MINIMAL}keys: { signing: { file: key.jwk } }\n` });
    writeFileSync(join(directory, 'key.jwk'), KEY, { mode: 0o600 });
    expect((await loadConfig(join(directory, 'c.yaml'), {})).keys.signing).toBe(KEY);
    for (const mode of [0o640, 0o604, 0o644]) {
      chmodSync(join(directory, 'key.jwk'), mode);
      const refused = loadConfig(join(directory, 'c.yaml'), {});
      await expect(refused).rejects.toThrow(/keys\.signing\.file.*chmod 600/s);
      await expect(refused).rejects.not.toThrow(JSON.parse(KEY).d);
    }
  });

  it('is not written down, and does not stand beside a directory', async () => {
    expect(await told(`${MINIMAL}keys: { signing: 'top-secret' }\n`)).not.toContain('top-secret');
    expect(await told(`${MINIMAL}keys: { signing: { env: KEY }, directory: keys }\n`, { KEY })).toContain(
      'only one of',
    );
    expect(await told(`${MINIMAL}keys: { verifying: set.json }\n`)).toContain('expected signing');
  });

  it('has public keys beside it, revoked ones too, and no private ones', async () => {
    const { publicJwk } = (await keysFrom(newPrivateKeyText(1), [])).signer;
    const yaml = `${MINIMAL}keys: { signing: { env: KEY }, verifying: set.json }\n`;
    const set = (document: object) => ({ 'set.json': JSON.stringify(document) });
    const good = await load(
      yaml,
      { KEY },
      set({ keys: [publicJwk], revoked: [{ ...publicJwk, x: 'A'.repeat(43) }] }),
    );
    expect(good.keys.verifying).toEqual([publicJwk, { ...publicJwk, x: 'A'.repeat(43), revoked: {} }]);
    const files = set({ keys: [JSON.parse(KEY)] });
    await expect(load(yaml, { KEY }, files)).rejects.toThrow('private or symmetric');
    await expect(load(yaml, { KEY }, set({}))).rejects.toThrow('one public key or more');
  });
});

describe('webhooks', () => {
  const hook = (more: string) => `${MINIMAL}webhooks:\n  - { name: pager, ${more} }\n`;

  it('have an address, secrets, and all events and no statements by default', async () => {
    const { webhooks } = await load(hook('url: "https://hooks.example.com/a", secret: { env: S }'), {
      S: SECRET,
    });
    expect(webhooks).toMatchObject([
      { name: 'pager', url: 'https://hooks.example.com/a', secrets: [SECRET], include: 'summary' },
    ]);
    expect(webhooks[0]?.events).toHaveLength(8);
    const two = await load(
      hook('url: { env: U }, secret: [{ env: S }, { env: T }], events: [request.denied]'),
      {
        S: SECRET,
        T: `${SECRET.slice(0, -4)}AAA=`,
        U: 'http://127.0.0.1:1/x',
      },
    );
    expect(two.webhooks[0]).toMatchObject({ url: 'http://127.0.0.1:1/x', events: ['request.denied'] });
    expect(two.webhooks[0]?.secrets).toHaveLength(2);
  });

  it.each([
    ['url: "http://hooks.example.com/", secret: { env: S }', 'expected an https URL'],
    ['url: "http://10.0.0.1/", secret: { env: S }', 'expected an https URL'],
    ['url: "ftp://hooks.example.com/", secret: { env: S }', 'expected an https URL'],
    ['url: "https://user:pw@hooks.example.com/", secret: { env: S }', 'user or password'],
    ['url: "https://hooks.example.com/", secret: { env: BAD }', 'whsec_'],
    ['url: "https://hooks.example.com/", secret: "whsec_x"', 'expected'],
    ['url: "https://hooks.example.com/", secret: { env: S }, events: [request.hacked]', 'events'],
  ])('%s is refused', async (more, says) => {
    const message = await told(hook(more), { S: SECRET, BAD: 'not-a-secret-of-mine' });
    expect(message).toContain(says);
    expect(message).not.toMatch(/not-a-secret-of-mine|whsec_x\b/);
  });
});
