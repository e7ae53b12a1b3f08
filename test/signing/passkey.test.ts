import { createHash, createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { CompactSign } from 'jose';
import { describe, expect, it } from 'vitest';
import {
  type AssertionFault,
  assertionFault,
  recordedAssertion,
  withoutAssertion,
} from '../../src/signing/assertion.ts';
import { libraryAccepts } from '../../src/signing/ceremony.ts';
import { keySetFromJwks } from '../../src/signing/keys.ts';
import {
  passkeyFault,
  passkeySetFromJwks,
  passkeyThumbprint,
  publishedPasskeys,
  publishedRetired,
  relyingPartyOf,
} from '../../src/signing/passkey.ts';
import { readReceipt } from '../../src/signing/receipt.ts';
import { type Changes, device, PRESENT, VERIFIED } from '../support/authenticator.ts';

const ORIGIN = 'https://countersign.example.com';
const PARTY = { id: 'countersign.example.com', origin: ORIGIN };
const digestOf = (sql: string) => createHash('sha256').update(sql).digest('hex');
const DIGEST = digestOf('DROP TABLE orders');
const own = device();

describe('an assertion', () => {
  it('is good for the very request that was signed', async () => {
    const assertion = own.assertion(DIGEST, ORIGIN);
    expect(assertionFault(assertion, own.passkey.key, DIGEST, PARTY)).toBeNull();
    expect(assertionFault(assertion, own.passkey.key, DIGEST, null)).toBeNull();
    expect(await libraryAccepts(assertion, own.passkey, DIGEST, PARTY)).toBe(true);
  });

  it('may count, be backed up, and have extensions', async () => {
    // An empty CBOR map.
    const flags = PRESENT | VERIFIED | 0x08 | 0x10 | 0x80;
    const assertion = own.assertion(DIGEST, ORIGIN, { flags, counter: 7, more: Buffer.from([0xa0]) });
    expect(assertionFault(assertion, own.passkey.key, DIGEST, PARTY)).toBeNull();
    expect(await libraryAccepts(assertion, own.passkey, DIGEST, PARTY)).toBe(true);
  });

  const forged: readonly (readonly [string, Changes, AssertionFault])[] = [
    ['signs another request', { challenge: Buffer.alloc(32).toString('base64url') }, 'challenge'],
    ['signs the digest as hex', { challenge: DIGEST }, 'challenge'],
    ['comes from another site', { origin: 'https://evil.example.com' }, 'origin'],
    ['comes from another port', { origin: `${ORIGIN}:8443` }, 'origin'],
    ['comes without TLS', { origin: 'http://countersign.example.com' }, 'origin'],
    ['comes from a page within another', { client: { crossOrigin: true } }, 'origin'],
    ['names the page around it', { client: { topOrigin: 'https://evil.example.com' } }, 'origin'],
    ['is for another site', { rpId: 'example.com' }, 'relying_party'],
    ['was made when the passkey was', { type: 'webauthn.create' }, 'type'],
    ['is for a payment', { type: 'payment.get' }, 'type'],
    ['has no user', { flags: VERIFIED }, 'presence'],
    ['has an unverified user', { flags: PRESENT }, 'verification'],
    ['brings a key of its own', { flags: PRESENT | VERIFIED | 0x40, more: Buffer.alloc(20) }, 'malformed'],
    ['has bytes that nothing announces', { more: Buffer.from([1]) }, 'malformed'],
  ];
  it.each(forged)('that %s is not', async (_what, changes, fault) => {
    const assertion = own.assertion(DIGEST, ORIGIN, changes);
    expect(assertionFault(assertion, own.passkey.key, DIGEST, PARTY)).toBe(fault);
  });

  it('is for one statement: a replay for an altered one, or by another key, is not', () => {
    const assertion = own.assertion(DIGEST, ORIGIN);
    const { key } = own.passkey;
    expect(assertionFault(assertion, key, digestOf('DROP TABLE orders '), PARTY)).toBe('challenge');
    expect(assertionFault(assertion, device().passkey.key, DIGEST, PARTY)).toBe('signature');
  });

  it('loses its signature with any byte of it changed', () => {
    const good = own.assertion(DIGEST, ORIGIN);
    const { key } = own.passkey;
    const flipped = (text: string, at: number) => {
      const bytes = Buffer.from(text, 'base64url');
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      return bytes.toString('base64url');
    };
    // The counter's last byte; the signature's last.
    const data = flipped(good.authenticatorData, 36);
    expect(assertionFault({ ...good, authenticatorData: data }, key, DIGEST, PARTY)).toBe('signature');
    const signature = flipped(good.signature, Buffer.from(good.signature, 'base64url').length - 1);
    expect(assertionFault({ ...good, signature }, key, DIGEST, PARTY)).toBe('signature');
    // Another form of the same JSON.
    const client = Buffer.from(`${Buffer.from(good.clientDataJSON, 'base64url')} `).toString('base64url');
    expect(assertionFault({ ...good, clientDataJSON: client }, key, DIGEST, PARTY)).toBe('signature');
  });

  it.each([
    ['authenticatorData', ''],
    ['authenticatorData', 'AAAA'],
    ['authenticatorData', 'A'.repeat(10_000)],
    ['clientDataJSON', 'e30='],
    ['clientDataJSON', 'W10'],
    ['clientDataJSON', '_w'],
    ['signature', ''],
    ['signature', '+/=='],
  ])('with %s %j is malformed', (member, text) => {
    const assertion = { ...own.assertion(DIGEST, ORIGIN), [member]: text };
    expect(assertionFault(assertion, own.passkey.key, DIGEST, PARTY)).toBe('malformed');
  });

  it('is told by its site where the verifier does not know it, which must be the one that signed', () => {
    const { key } = own.passkey;
    const other = own.assertion(DIGEST, ORIGIN, { rpId: 'example.com' });
    expect(assertionFault(other, key, DIGEST, null)).toBe('relying_party');
    const odd = own.assertion(DIGEST, ORIGIN, { origin: 'android:apk-key-hash:abc' });
    expect(assertionFault(odd, key, DIGEST, null)).toBe('origin');
  });

  it('is in a verdict’s facts whole, or not at all; a channel states none', () => {
    const { id: _id, ...assertion } = own.assertion(DIGEST, ORIGIN);
    const facts = { key: 'k', passkey: 't', ...assertion };
    expect(recordedAssertion(facts)).toEqual({ passkey: 't', ...assertion });
    const { signature: _signature, ...part } = facts;
    expect(recordedAssertion(part)).toBeNull();
    expect(withoutAssertion(facts)).toEqual({ key: 'k' });
  });
});

describe('a relying party', () => {
  it.each([
    ['https://countersign.example.com', 'countersign.example.com', 'https://countersign.example.com'],
    [
      'https://countersign.example.com:8443/at',
      'countersign.example.com',
      'https://countersign.example.com:8443',
    ],
    ['http://localhost:8432', 'localhost', 'http://localhost:8432'],
    ['http://db.localhost:8432', 'db.localhost', 'http://db.localhost:8432'],
  ])('of %s is %s', (url, id, origin) => {
    expect(relyingPartyOf(url)).toEqual({ id, origin });
  });
  it.each([
    'http://127.0.0.1:8432',
    'https://[::1]:8432',
    'https://10.0.0.1',
    'http://countersign.example.com',
  ])('is not at %s', (url) => {
    expect(relyingPartyOf(url)).toBeNull();
  });
});

describe('public keys of passkeys', () => {
  it('have the thumbprint of RFC 7638', () => {
    // RFC 7517's example key; the digest by hand of its members in their order.
    const { x, y } = {
      x: 'MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4',
      y: '4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM',
    };
    const members = `{"crv":"P-256","kty":"EC","x":"${x}","y":"${y}"}`;
    expect(passkeyThumbprint({ kty: 'EC', crv: 'P-256', x, y })).toBe(
      createHash('sha256').update(members).digest('base64url'),
    );
    expect(passkeyFault({ kty: 'EC', crv: 'P-256', x, y })).toBeNull();
  });

  it('must be points of the curve, written in one way', () => {
    const { key } = own.passkey;
    const zeros = Buffer.alloc(32).toString('base64url');
    expect(passkeyFault({ ...key, x: zeros })).toBe('it is no point of P-256');
    expect(passkeyFault({ ...key, x: zeros.slice(1) })).toMatch(/32 bytes/);
    // The last of 43 characters has two bits of nothing.
    expect(passkeyFault({ ...key, x: `${zeros.slice(0, 42)}B` })).toMatch(/32 bytes/);
  });

  it('are published with the person, and found by their own thumbprint only', () => {
    const published = publishedPasskeys([{ id: 'approver', passkeys: [own.passkey] }, { id: 'owner' }]);
    const thumbprint = passkeyThumbprint(own.passkey.key);
    expect(published).toEqual([
      { ...own.passkey.key, kid: thumbprint, use: 'sig', alg: 'ES256', countersign_person: 'approver' },
    ]);
    expect(passkeySetFromJwks({ keys: published }).find(thumbprint)).toEqual({
      person: 'approver',
      key: own.passkey.key,
      retiredAt: null,
    });
    const renamed = published.map((jwk) => ({ ...jwk, kid: 'another' }));
    expect(passkeySetFromJwks({ keys: renamed }).find('another')).toBeNull();
    const shared = [...published, ...published.map((jwk) => ({ ...jwk, countersign_person: 'owner' }))];
    expect(passkeySetFromJwks({ keys: shared }).find(thumbprint)).toBeNull();
    const nobodys = published.map(({ countersign_person: _, ...jwk }) => jwk);
    expect(passkeySetFromJwks({ keys: nobodys }).find(thumbprint)).toBeNull();
  });

  it('are published as revoked where they are retired, and count until then', () => {
    const { key } = own.passkey;
    const thumbprint = passkeyThumbprint(key);
    const revoked = publishedRetired([{ person: 'approver', key, retiredAt: 1_000 }]);
    expect(revoked).toEqual([
      {
        ...{ ...key, kid: thumbprint, use: 'sig', alg: 'ES256', countersign_person: 'approver' },
        revoked: { revoked_at: 1_000, reason: 'superseded' },
      },
    ]);
    const until = (set: object) => passkeySetFromJwks(set).find(thumbprint)?.retiredAt;
    expect(until({ keys: [], revoked })).toBe(1_000);
    const published = publishedPasskeys([{ id: 'approver', passkeys: [own.passkey] }]);
    // Whichever list it stands in first, the stricter one counts.
    expect(until({ keys: published, revoked })).toBe(1_000);
    expect(until({ keys: revoked })).toBe(1_000);
    expect(until({ keys: [], revoked: published })).toBe(Number.NEGATIVE_INFINITY);
    const owners = published.map((jwk) => ({ ...jwk, countersign_person: 'owner' }));
    expect(passkeySetFromJwks({ keys: owners, revoked }).find(thumbprint)).toBeNull();
  });

  it('never verify a receipt, whatever algorithm it names', async () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const { x = '', y = '' } = pair.publicKey.export({ format: 'jwk' });
    const key = { kty: 'EC', crv: 'P-256', x, y } as const;
    const [published] = publishedPasskeys([{ id: 'approver', passkeys: [{ id: 'AAAAAAAA', key }] }]);
    const keys = await keySetFromJwks({ keys: [published, { ...published, alg: 'EdDSA' }] });
    const kid = passkeyThumbprint(key);
    expect(await keys.find(kid)).toBeNull();
    const typ = 'countersign-receipt+jws';
    const es256 = await new CompactSign(Buffer.from('{}'))
      .setProtectedHeader({ alg: 'ES256', typ, kid })
      .sign(createPrivateKey(pair.privateKey.export({ format: 'pem', type: 'pkcs8' })));
    await expect(readReceipt(es256, keys)).rejects.toMatchObject({ code: 'receipt_algorithm' });
    const [, body, signature] = es256.split('.');
    const header = Buffer.from(JSON.stringify({ alg: 'EdDSA', typ, kid })).toString('base64url');
    await expect(readReceipt(`${header}.${body}.${signature}`, keys)).rejects.toMatchObject({
      code: 'receipt_unknown_key',
    });
  });
});
