import { createPublicKey, verify } from 'node:crypto';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { calculateJwkThumbprint } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keySetFromJwks, openKeys } from '../../src/signing/keys.ts';

let directory: string;
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'cs-keys-')), 'keys');
});
afterEach(() => rmSync(join(directory, '..'), { recursive: true, force: true }));

const firstKey = () => join(directory, 'signing-1.jwk');

describe('the key directory', () => {
  it('is made with a first key, for the owner alone, and the same key is used again', async () => {
    const first = await openKeys(directory);
    expect(statSync(firstKey()).mode & 0o777).toBe(0o600);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(readdirSync(directory)).toEqual(['signing-1.jwk']);
    const second = await openKeys(directory);
    expect(second.signer.kid).toBe(first.signer.kid);
  });

  it('gives one key to processes that start at once', async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => openKeys(directory)));
    expect(new Set(all.map(({ signer }) => signer.kid)).size).toBe(1);
    expect(readdirSync(directory)).toEqual(['signing-1.jwk']);
  });

  it.each([0o644, 0o640, 0o602, 0o604])(
    'refuses a private key with mode %o, and says what to do',
    async (mode) => {
      await openKeys(directory);
      chmodSync(firstKey(), mode);
      await expect(openKeys(directory)).rejects.toMatchObject({
        code: 'key_file_mode',
        message: expect.stringMatching(/signing-1\.jwk has mode 06\d\d: .*chmod 600/),
      });
    },
  );

  it('refuses a directory that others can write to, a link in place of a key, and what is no key', async () => {
    const { jwks } = await openKeys(directory);
    chmodSync(directory, 0o777);
    await expect(openKeys(directory)).rejects.toMatchObject({ code: 'key_directory' });
    chmodSync(directory, 0o700);
    symlinkSync(firstKey(), join(directory, 'signing-2.jwk'));
    await expect(openKeys(directory)).rejects.toMatchObject({ code: 'ELOOP' });
    rmSync(join(directory, 'signing-2.jwk'));
    for (const text of ['', '{"d":"secret-text"}', JSON.stringify(jwks().keys[0])]) {
      writeFileSync(join(directory, 'signing-2.jwk'), text, { mode: 0o600 });
      const refused = openKeys(directory);
      await expect(refused).rejects.toMatchObject({ code: 'key_file_invalid' });
      await expect(refused).rejects.not.toThrow('secret-text');
    }
  });

  it('signs with the newest key, verifies with all, and learns one that another process made', async () => {
    const old = await openKeys(directory);
    const elsewhere = join(directory, 'elsewhere');
    const other = await openKeys(elsewhere);
    writeFileSync(join(directory, 'signing-10.jwk'), readFileSync(join(elsewhere, 'signing-1.jwk')), {
      mode: 0o600,
    });
    expect((await old.find(other.signer.kid))?.kid).toBe(other.signer.kid);
    const rotated = await openKeys(directory);
    expect(rotated.signer.kid).toBe(other.signer.kid);
    expect(rotated.jwks().keys.map(({ kid }) => kid)).toEqual([old.signer.kid, other.signer.kid]);
    expect(await rotated.find('nobody')).toBeNull();
  });
});

describe('a signer', () => {
  it('is named by its RFC 7638 thumbprint, shows no private part, and signs Ed25519', async () => {
    const { signer, jwks } = await openKeys(directory);
    expect(signer.kid).toBe(await calculateJwkThumbprint({ ...signer.publicJwk }));
    expect(JSON.stringify(jwks())).not.toContain('"d"');
    const bytes = Buffer.from('batch');
    const key = createPublicKey({ key: { ...signer.publicJwk }, format: 'jwk' });
    expect(verify(null, bytes, key, signer.sign(bytes))).toBe(true);
    expect(verify(null, Buffer.from('other'), key, signer.sign(bytes))).toBe(false);
  });

  it('can be verified from the served JWKS alone, whatever kid that claims', async () => {
    const { signer, jwks } = await openKeys(directory);
    const renamed = { keys: [{ ...jwks().keys[0], kid: 'somebody-else' }, { kty: 'RSA' }, null] };
    const set = await keySetFromJwks(renamed);
    expect((await set.find(signer.kid))?.kid).toBe(signer.kid);
    expect(await set.find('somebody-else')).toBeNull();
    await expect(keySetFromJwks([])).rejects.toMatchObject({ code: 'key_file_invalid' });
  });
});
