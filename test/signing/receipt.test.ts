import { createHmac, createPublicKey, verify } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CompactSign, exportJWK, generateKeyPair } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endorsementBytes } from '../../src/audit/chain/chain.ts';
import { type Keys, keySetFromJwks, openKeys } from '../../src/signing/keys.ts';
import {
  type ReceiptClaims,
  readReceipt,
  requireSameFacts,
  signReceipt,
  verifyReceipt,
} from '../../src/signing/receipt.ts';
import { newSealing } from '../../src/signing/sealing.ts';

const base = mkdtempSync(join(tmpdir(), 'cs-receipt-'));
let keys: Keys;
let stranger: Keys;
let receipt: string;
beforeAll(async () => {
  keys = await openKeys(join(base, 'ours'));
  stranger = await openKeys(join(base, 'theirs'));
  receipt = await signReceipt(CLAIMS, keys.signer);
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

const hex = (digit: string) => digit.repeat(64);
const CLAIMS: ReceiptClaims = {
  iss: 'countersign',
  request: 'req_0123456789012345678901',
  digest: hex('a'),
  sqlSha256: hex('b'),
  parametersSha256: hex('c'),
  agent: 'shop-agent',
  approvers: [
    {
      person: 'reviewer',
      channel: 'slack',
      ids: ['slack:T1/UDAN'],
      assurance: 1,
      at: 1_000,
      reason: 'ok',
      facts: {},
    },
  ],
  policyDigest: 'p',
  limits: { rows: null, bytes: null },
  nonce: 'n',
  iat: 1_000,
  exp: 2_000,
};

function header(token: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString('utf8')) as Record<
    string,
    unknown
  >;
}

/** A token with this header and these claims, signed by our own key: what only a fault in our own signer could make. */
function signed(protectedHeader: Record<string, unknown>, claims: unknown = CLAIMS): Promise<string> {
  return new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({
      alg: 'EdDSA',
      typ: 'countersign-receipt+jws',
      kid: keys.signer.kid,
      ...protectedHeader,
    })
    .sign(keys.signer.privateKey);
}

describe('a receipt', () => {
  it('says what was signed', async () => {
    expect(await verifyReceipt(receipt, keys, 1_999)).toEqual(CLAIMS);
    expect(header(receipt)).toEqual({ alg: 'EdDSA', typ: 'countersign-receipt+jws', kid: keys.signer.kid });
  });

  it('verifies offline, years later, with public keys and plain Ed25519', async () => {
    const set = await keySetFromJwks(JSON.parse(JSON.stringify(keys.jwks())));
    expect((await verifyReceipt(receipt, set, null)).approvers[0]?.person).toBe('reviewer');
    const [head, payload, signature] = receipt.split('.');
    const key = createPublicKey({ key: { ...keys.signer.publicJwk }, format: 'jwk' });
    expect(
      verify(null, Buffer.from(`${head}.${payload}`), key, Buffer.from(signature ?? '', 'base64url')),
    ).toBe(true);
  });

  it('is over at its expiry', async () => {
    await expect(verifyReceipt(receipt, keys, 2_000)).rejects.toMatchObject({ code: 'receipt_expired' });
  });

  it('is refused with any byte changed', async () => {
    for (let at = 0; at < receipt.length; at += 7) {
      const other = receipt[at] === 'A' ? 'B' : 'A';
      const changed = receipt.slice(0, at) + other + receipt.slice(at + 1);
      await expect(verifyReceipt(changed, keys, 1_500)).rejects.toMatchObject({ name: 'ReceiptError' });
    }
  });

  it.each([
    ['request', { request: 'req_other' }],
    ['digest', { digest: hex('d') }],
    ['sqlSha256', { sqlSha256: hex('d') }],
    ['parametersSha256', { parametersSha256: hex('d') }],
    ['agent', { agent: 'other-agent' }],
    ['policyDigest', { policyDigest: 'q' }],
    ['nonce', { nonce: 'm' }],
  ])('is about this %s only', (name, other) => {
    expect(() => requireSameFacts(CLAIMS, CLAIMS)).not.toThrow();
    expect(() => requireSameFacts(CLAIMS, { ...CLAIMS, ...other })).toThrow(`${name} differs`);
  });
});

describe('the verifier takes nothing from the token', () => {
  it('refuses a key of somebody else, under its name and under ours', async () => {
    const theirs = await signReceipt(CLAIMS, stranger.signer);
    await expect(verifyReceipt(theirs, keys, null)).rejects.toMatchObject({ code: 'receipt_unknown_key' });
    const posing = await signReceipt(CLAIMS, { ...stranger.signer, kid: keys.signer.kid });
    await expect(verifyReceipt(posing, keys, null)).rejects.toMatchObject({ code: 'receipt_signature' });
  });

  it.each(['jwk', 'jku', 'x5u', 'x5c'])('refuses a token that brings %s', async (name) => {
    const value =
      name === 'jwk' ? { ...stranger.signer.publicJwk } : name === 'x5c' ? ['AA=='] : 'https://evil.example';
    await expect(verifyReceipt(await signed({ [name]: value }), keys, null)).rejects.toMatchObject({
      code: 'receipt_malformed',
    });
  });

  it('refuses other algorithms: none, a MAC with the public key, another curve', async () => {
    const payload = receipt.split('.')[1];
    const b64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const none = `${b64({ alg: 'none', typ: 'countersign-receipt+jws', kid: keys.signer.kid })}.${payload}.`;
    const macHead = b64({ alg: 'HS256', typ: 'countersign-receipt+jws', kid: keys.signer.kid });
    const mac = createHmac('sha256', Buffer.from(keys.signer.publicJwk.x, 'base64url'))
      .update(`${macHead}.${payload}`)
      .digest('base64url');
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    const es = await new CompactSign(Buffer.from(JSON.stringify(CLAIMS)))
      .setProtectedHeader({
        alg: 'ES256',
        typ: 'countersign-receipt+jws',
        kid: keys.signer.kid,
        jwk: await exportJWK(publicKey),
      })
      .sign(privateKey);
    for (const token of [none, `${macHead}.${payload}.${mac}`, es]) {
      await expect(verifyReceipt(token, keys, null)).rejects.toMatchObject({ code: 'receipt_algorithm' });
    }
  });

  it.each([
    ['crit', { crit: ['b64'], b64: true }],
    ['b64 alone', { b64: true }],
  ])('refuses extensions: %s', async (_, extensions) => {
    await expect(verifyReceipt(await signed(extensions), keys, null)).rejects.toMatchObject({
      code: 'receipt_malformed',
    });
  });

  it('refuses an unencoded payload (b64=false), a detached one, and JSON serialization', async () => {
    const b64 = (text: string) => Buffer.from(text).toString('base64url');
    const head = b64(
      JSON.stringify({
        alg: 'EdDSA',
        typ: 'countersign-receipt+jws',
        kid: keys.signer.kid,
        b64: false,
        crit: ['b64'],
      }),
    );
    const text = JSON.stringify(CLAIMS).replaceAll('.', '');
    const signature = keys.signer.sign(Buffer.from(`${head}.${text}`)).toString('base64url');
    const [ownHead = '', payload = '', own = ''] = receipt.split('.');
    for (const token of [
      `${head}.${text}.${signature}`,
      `${ownHead}..${own}`,
      JSON.stringify({ protected: ownHead, payload, signature: own }),
      JSON.stringify({ payload, signatures: [{ protected: ownHead, signature: own }] }),
    ])
      await expect(verifyReceipt(token, keys, null)).rejects.toMatchObject({ name: 'ReceiptError' });
  });

  it('takes a kid for a name, not a path, a list or an address', async () => {
    for (const kid of ['../signing-1', '', ['x'], { a: 1 }, 'https://evil.example/jwks.json', 7, null]) {
      const b64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
      const head = `${b64({ alg: 'EdDSA', typ: 'countersign-receipt+jws', kid })}.${b64(CLAIMS)}`;
      const token = `${head}.${keys.signer.sign(Buffer.from(head)).toString('base64url')}`;
      await expect(verifyReceipt(token, keys, null)).rejects.toMatchObject({ code: 'receipt_unknown_key' });
    }
  });

  it('refuses what is signed by our own key and is something else: a token, a passkey, an endorsement', async () => {
    const claims = { sub: 'shop-agent', exp: 9_999_999_999 };
    for (const typ of ['JWT', 'at+jwt', 'passkey+jws', undefined])
      await expect(verifyReceipt(await signed({ typ }, claims), keys, null)).rejects.toMatchObject({
        code: 'receipt_algorithm',
      });
    await expect(verifyReceipt(await signed({}, claims), keys, null)).rejects.toMatchObject({
      code: 'receipt_malformed',
    });
    // What is signed for streams and for sealed messages never begins like the input of a JWS.
    const stream = endorsementBytes('stream', keys.signer.kid);
    const sealing = newSealing(keys).announce(1);
    for (const bytes of [stream, Buffer.from('countersign cancel instance 1\n')])
      expect(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(bytes.toString('latin1'))).toBe(false);
    const [head, payload] = receipt.split('.');
    for (const signature of [keys.signer.sign(stream), sealing.signature])
      await expect(
        verifyReceipt(`${head}.${payload}.${signature.toString('base64url')}`, keys, null),
      ).rejects.toMatchObject({ code: 'receipt_signature' });
  });

  it('refuses another type of token by our own key, and claims that are not a receipt', async () => {
    await expect(verifyReceipt(await signed({ typ: 'JWT' }), keys, null)).rejects.toMatchObject({
      code: 'receipt_algorithm',
    });
    for (const claims of [
      {},
      { ...CLAIMS, approvers: [] },
      { ...CLAIMS, extra: 1 },
      { ...CLAIMS, digest: 'short' },
    ]) {
      await expect(verifyReceipt(await signed({}, claims), keys, null)).rejects.toMatchObject({
        code: 'receipt_malformed',
      });
    }
    for (const text of ['', 'a.b', 'a.b.c', '{}', `${receipt}.x`]) {
      await expect(verifyReceipt(text, keys, null)).rejects.toMatchObject({ name: 'ReceiptError' });
    }
  });
});

describe('a receipt and the life of its key', () => {
  const lifetime = 3_600;
  const rotated = async (name: string, at: number) => {
    const mine = await openKeys(join(base, name));
    const { signer } = mine;
    await mine.directory?.rotate(at);
    return { mine, signer };
  };

  it('is good by a key that was replaced after it, for as long as receipts live', async () => {
    const { mine, signer } = await rotated('retired', 1_500);
    const token = await signReceipt({ ...CLAIMS, iat: 1_000, exp: 4_600 }, signer);
    expect(await verifyReceipt(token, mine, 1_600, lifetime)).toMatchObject({ iat: 1_000 });
    // Somebody found the old key and writes whatever times he likes.
    const late = await signReceipt({ ...CLAIMS, iat: 2_000, exp: 9_000 }, signer);
    await expect(verifyReceipt(late, mine, 2_001, lifetime)).rejects.toMatchObject({
      code: 'receipt_key_retired',
    });
    const backdated = await signReceipt({ ...CLAIMS, iat: 1_000, exp: 999_999 }, signer);
    await expect(verifyReceipt(backdated, mine, 6_000, lifetime)).rejects.toMatchObject({
      code: 'receipt_key_retired',
    });
    // As a record it stays good.
    expect(await verifyReceipt(token, mine, null)).toMatchObject({ iat: 1_000 });
  });

  it('is refused by a revoked key whatever time it claims, and can still be read', async () => {
    const mine = await openKeys(join(base, 'revoked'));
    const { signer } = mine;
    const token = await signReceipt(CLAIMS, signer);
    await mine.directory?.revoke(signer.kid, { at: 1_500, reason: 'compromised' }, 1_500);
    for (const now of [null, 1_200, 1_600])
      await expect(verifyReceipt(token, mine, now)).rejects.toMatchObject({ code: 'receipt_key_revoked' });
    const read = await readReceipt(token, await keySetFromJwks(JSON.parse(JSON.stringify(mine.jwks()))));
    expect(read).toMatchObject({ claims: { iat: 1_000 }, key: { revocation: { at: 1_500 } } });
    // Whoever does not know of revocation finds no such key.
    const plain = await keySetFromJwks({ keys: mine.jwks().keys });
    await expect(readReceipt(token, plain)).rejects.toMatchObject({ code: 'receipt_unknown_key' });
  });
});
