import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
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
import { newPrivateKeyText } from '../../src/signing/key-text.ts';
import { keySetFromJwks, keysFrom, openKeys } from '../../src/signing/keys.ts';

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
    const oldKid = old.signer.kid;
    const elsewhere = join(directory, 'elsewhere');
    const other = await openKeys(elsewhere);
    writeFileSync(join(directory, 'signing-10.jwk'), readFileSync(join(elsewhere, 'signing-1.jwk')), {
      mode: 0o600,
    });
    expect((await old.find(other.signer.kid))?.kid).toBe(other.signer.kid);
    const rotated = await openKeys(directory);
    expect(rotated.signer.kid).toBe(other.signer.kid);
    expect(rotated.jwks().keys.map(({ kid }) => kid)).toEqual([oldKid, other.signer.kid]);
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

const NOW = 1_800_000_000;
const COMPROMISED = { at: NOW, reason: 'compromised' } as const;

describe('rotation', () => {
  it('makes a key that signs, keeps only the public part of the one before, in other processes too', async () => {
    const keys = await openKeys(directory);
    const other = await openKeys(directory);
    const before = keys.signer.kid;
    const { kid } = (await keys.directory?.rotate(NOW)) ?? { kid: '' };
    expect(keys.signer.kid).toBe(kid);
    expect(kid).not.toBe(before);
    expect(readdirSync(directory).sort()).toEqual(['retired-1.jwk', 'signing-2.jwk']);
    expect(readFileSync(join(directory, 'retired-1.jwk'), 'utf8')).not.toContain('"d"');
    expect(other.signer.kid).toBe(before);
    await other.refresh();
    expect(other.signer.kid).toBe(kid);
    expect(await other.find(before)).toMatchObject({ retiredAt: NOW, revocation: null });
    expect(other.jwks().keys).toContainEqual(expect.objectContaining({ kid: before, retired_at: NOW }));
    const restarted = await openKeys(directory);
    expect(restarted.signer.kid).toBe(kid);
    expect(
      restarted
        .all()
        .map((key) => key.kid)
        .sort(),
    ).toEqual([before, kid].sort());
  });

  it('by several at once leaves one key that all agree on', async () => {
    const all = await Promise.all(Array.from({ length: 4 }, () => openKeys(directory)));
    await Promise.all(all.map((keys) => keys.directory?.rotate(NOW)));
    for (const keys of all) await keys.refresh();
    expect(new Set(all.map(({ signer }) => signer.kid)).size).toBe(1);
    expect(readdirSync(directory).filter((name) => name.startsWith('signing-'))).toHaveLength(1);
  });
});

describe('revocation', () => {
  it('destroys the private part, replaces the key that signs, and is known to every process', async () => {
    const keys = await openKeys(directory);
    const other = await openKeys(directory);
    const stolen = keys.signer.kid;
    await keys.directory?.revoke(stolen, COMPROMISED, NOW + 5);
    expect(readdirSync(directory).sort()).toEqual(['revoked-1.jwk', 'signing-2.jwk']);
    expect(readFileSync(join(directory, 'revoked-1.jwk'), 'utf8')).not.toContain('"d"');
    expect(keys.signer.kid).not.toBe(stolen);
    await other.refresh();
    for (const one of [keys, other, await openKeys(directory)]) {
      expect(await one.find(stolen)).toMatchObject({ revocation: COMPROMISED });
      expect(one.jwks().keys.map(({ kid }) => kid)).not.toContain(stolen);
      expect(one.jwks().revoked).toEqual([
        expect.objectContaining({ kid: stolen, revoked: { revoked_at: NOW, reason: 'compromised' } }),
      ]);
    }
  });

  it('holds although the private key is put back, and although the file that says so does not', async () => {
    const keys = await openKeys(directory);
    const stolen = keys.signer.kid;
    const text = readFileSync(firstKey());
    await keys.directory?.revoke(stolen, COMPROMISED, NOW);
    writeFileSync(firstKey(), text, { mode: 0o600 });
    expect(await (await openKeys(directory)).find(stolen)).toMatchObject({ revocation: COMPROMISED });
    rmSync(join(directory, 'revoked-1.jwk'));
    await keys.refresh();
    expect(await keys.find(stolen)).toMatchObject({ revocation: COMPROMISED });
    expect(keys.signer.kid).not.toBe(stolen);
  });

  it('of the only key leaves nothing that signs, where no new one can be made', async () => {
    const keys = await keysFrom(newPrivateKeyText(NOW), []);
    const { kid } = keys.signer;
    keys.distrust(kid, COMPROMISED);
    expect(() => keys.signer).toThrow(expect.objectContaining({ code: 'key_revoked' }));
  });

  it('is not forgotten for a later one, nor made harmless', async () => {
    const keys = await openKeys(directory);
    const { kid } = keys.signer;
    keys.distrust(kid, COMPROMISED);
    keys.distrust(kid, { at: NOW + 100, reason: 'superseded' });
    expect((await keys.find(kid))?.revocation).toEqual(COMPROMISED);
  });

  it('is refused as a file that does not say what it should', async () => {
    const keys = await openKeys(directory);
    writeFileSync(join(directory, 'revoked-7.jwk'), JSON.stringify(keys.signer.publicJwk), { mode: 0o600 });
    await expect(openKeys(directory)).rejects.toMatchObject({ code: 'key_file_invalid' });
  });
});

describe('a key from a secret', () => {
  it('is a JWK or PEM, signs, and has public keys beside it', async () => {
    const old = await openKeys(directory);
    const { privateKey } = generateKeyPairSync('ed25519');
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    for (const text of [newPrivateKeyText(NOW), pem]) {
      const keys = await keysFrom(text, old.jwks().keys);
      expect(await keys.find(old.signer.kid)).not.toBeNull();
      expect(keys.jwks().keys).toHaveLength(2);
      expect(keys.directory).toBeNull();
    }
  });

  it('is not quoted when it is no key', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const rsa = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    for (const text of ['top-secret', '{"d":"top-secret"}', rsa]) {
      const refused = keysFrom(text, []);
      await expect(refused).rejects.toMatchObject({ code: 'key_text_invalid' });
      await expect(refused).rejects.not.toThrow(/top-secret|BEGIN PRIVATE/);
    }
  });

  it('is revoked where the set beside it says so', async () => {
    const text = newPrivateKeyText(NOW);
    const { publicJwk } = (await keysFrom(text, [])).signer;
    const keys = await keysFrom(text, [{ ...publicJwk, revoked: {} }]);
    expect(() => keys.signer).toThrow(expect.objectContaining({ code: 'key_revoked' }));
  });
});

describe('a directory that others', () => {
  it.each([0o750, 0o755, 0o711])('can list (%o) is taken: no key in it can be read', async (mode) => {
    await openKeys(directory);
    chmodSync(directory, mode);
    expect((await openKeys(directory)).all()).toHaveLength(1);
  });

  it.each([0o770, 0o702, 0o720])('can change (%o) is refused', async (mode) => {
    const keys = await openKeys(directory);
    chmodSync(directory, mode);
    await expect(openKeys(directory)).rejects.toMatchObject({ code: 'key_directory' });
    await expect(keys.refresh()).rejects.toMatchObject({ code: 'key_directory' });
  });
});
