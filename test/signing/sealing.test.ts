import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Keys, openKeys } from '../../src/signing/keys.ts';
import { newSealing, type SealedPeer, type Sealing } from '../../src/signing/sealing.ts';

const base = mkdtempSync(join(tmpdir(), 'cs-sealing-'));
let keys: Keys;
let stranger: Keys;
beforeAll(async () => {
  keys = await openKeys(join(base, 'ours'));
  stranger = await openKeys(join(base, 'theirs'));
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

/** What `from` sends to `to`, and how `to` reads it. */
async function line(from: Sealing, to: Sealing): Promise<readonly [SealedPeer, SealedPeer]> {
  const out = await from.peer(to.announce(2));
  const into = await to.peer(from.announce(1));
  if (out === null || into === null) throw new Error('not believed');
  return [out, into];
}

const WORD = Buffer.from('a key of four bytes: \x01\x02\x03\x04');

describe('a sealed message', () => {
  it('is read by the one it is for, once, and by nobody else', async () => {
    const [a, b, c] = [newSealing(keys), newSealing(keys), newSealing(keys)];
    const [out, into] = await line(a, b);
    const sealed = out.seal(WORD);
    expect(sealed.includes(WORD.subarray(4))).toBe(false);
    expect((await c.peer(a.announce(1)))?.open(sealed)).toBeNull();
    expect((await a.peer(a.announce(1)))?.open(sealed)).toBeNull();
    // Not back to its sender either: each direction has a key of its own.
    expect(out.open(sealed)).toBeNull();
    expect(into.open(sealed)).toEqual(WORD);
    expect(into.open(sealed)).toBeNull();
    expect((await b.peer(a.announce(1)))?.open(sealed)).toBeNull();
  });

  it('that is older than one that was read is not read any more', async () => {
    const [out, into] = await line(newSealing(keys), newSealing(keys));
    const [first, second] = [out.seal(WORD), out.seal(WORD)];
    expect(first.equals(second)).toBe(false);
    expect(into.open(second)).toEqual(WORD);
    expect(into.open(first)).toBeNull();
  });

  it('that was altered anywhere, or cut, is not read, and does no harm', async () => {
    const [out, into] = await line(newSealing(keys), newSealing(keys));
    const sealed = out.seal(WORD);
    for (let at = 0; at < sealed.length; at++) {
      expect(into.open(Buffer.from(sealed.map((byte, i) => (i === at ? byte ^ 1 : byte))))).toBeNull();
      expect(into.open(sealed.subarray(0, at))).toBeNull();
    }
    expect(into.open(sealed)).toEqual(WORD);
  });

  it('never has a nonce twice, even where the peer is met again', async () => {
    const [a, b] = [newSealing(keys), newSealing(keys)];
    const heads = new Set<string>();
    for (let i = 0; i < 50; i++)
      heads.add((await a.peer(b.announce(2)))?.seal(WORD).toString('hex', 0, 8) ?? '');
    expect(heads.size).toBe(50);
  });
});

describe('an announcement', () => {
  it('counts only with the signature of the installation, over its number and key', async () => {
    const [a, b] = [newSealing(keys), newSealing(keys)];
    const real = b.announce(2);
    expect(await a.peer(real)).not.toBeNull();
    expect(await a.peer({ ...real, number: 3 })).toBeNull();
    expect(await a.peer({ ...real, publicKey: newSealing(keys).publicKey })).toBeNull();
    expect(await a.peer({ ...real, signature: Buffer.alloc(64) })).toBeNull();
    expect(await a.peer(newSealing(stranger).announce(2))).toBeNull();
    expect(await a.peer({ ...newSealing(stranger).announce(2), kid: real.kid })).toBeNull();
  });
});
