import { generateKeyPairSync } from 'node:crypto';
import { exportJWK, generateKeyPair, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { JwtAuth } from '../../src/config/config.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { claimedBy, TokenRefused, tokenCheck } from '../../src/signing/agent-token.ts';
import { KeysUnavailable } from '../../src/signing/issuer-keys.ts';
import { publicKeyFault } from '../../src/signing/public-jwk.ts';
import { AUDIENCE, ISSUER, type Issuer, startIssuer } from '../support/issuer.ts';

const ALGORITHMS = ['ES256', 'RS256', 'EdDSA'];
const SKEW = DEFAULT_LIMITS.tokenClockSkewMs / 1000;
const seconds = (after: number) => Math.floor(Date.now() / 1000) + after;

let issuer: Issuer;
beforeAll(async () => {
  issuer = await startIssuer();
});
afterAll(() => issuer.close());

function check(overrides: Partial<JwtAuth> = {}, limits: Partial<typeof DEFAULT_LIMITS> = {}) {
  const auth: JwtAuth = {
    kind: 'jwt',
    issuer: ISSUER,
    audience: AUDIENCE,
    algorithms: ALGORITHMS,
    keys: { kind: 'set', keys: issuer.keySet().keys as readonly Record<string, unknown>[] },
    ...overrides,
  };
  return tokenCheck(auth, { ...DEFAULT_LIMITS, ...limits });
}
const remote = (limits: Record<string, number> = {}) =>
  check({ keys: { kind: 'url', url: issuer.url } }, limits as Partial<typeof DEFAULT_LIMITS>);

describe('a token', () => {
  it('that is good says who, for whom, in which run, and until when', async () => {
    const exp = seconds(100);
    expect(await check()(await issuer.token({ exp, run: 'run-7', on_behalf_of: 'ann@example.com' }))).toEqual(
      {
        subject: 'agent',
        onBehalfOf: 'ann@example.com',
        run: 'run-7',
        until: exp * 1000 + DEFAULT_LIMITS.tokenClockSkewMs,
      },
    );
    expect(await check()(await issuer.token({ act: { sub: 'ann' }, aud: ['x', AUDIENCE] }))).toMatchObject({
      onBehalfOf: 'ann',
      run: null,
    });
    expect(await check()(await issuer.token({ act: { sub: 'ann' }, on_behalf_of: 'ann' }))).toMatchObject({
      onBehalfOf: 'ann',
    });
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['of another issuer', { iss: `${ISSUER}/` }, /iss/],
    ['without an issuer', { iss: undefined }, /no iss/],
    ['for another audience', { aud: 'other' }, /aud/],
    ['without an audience', { aud: undefined }, /no aud/],
    ['without a subject', { sub: undefined }, /no sub/],
    ['with a subject that is no text', { sub: 7 }, /sub|verified/],
    ['without an end', { exp: undefined }, /no exp/],
    ['whose end is no number', { exp: 'tomorrow' }, /exp|verified/],
    ['that has ended', { exp: seconds(-SKEW - 5) }, /expired/],
    ['that has not begun', { nbf: seconds(SKEW + 60) }, /not valid yet/],
    ['whose actor has no name', { act: {} }, /act/],
    ['whose actor is no object', { act: 'ann' }, /act/],
    ['whose actor has an empty name', { act: { sub: ' ' } }, /act\.sub/],
    ['with a chain of actors', { act: { sub: 'ann', act: { sub: 'bob' } } }, /chain/],
    ['for a list of people', { on_behalf_of: ['ann'] }, /on_behalf_of/],
    ['for a control character', { on_behalf_of: 'ann\u0000' }, /on_behalf_of/],
    ['for two people', { act: { sub: 'ann' }, on_behalf_of: 'bob' }, /two people/],
    ['in a run that is no text', { run: 7 }, /run/],
    ['in a run without end', { run: 'x'.repeat(10_000) }, /run/],
  ])('%s is refused', async (_what, claims, says) => {
    const refused = check()(await issuer.token(claims));
    await expect(refused).rejects.toThrow(TokenRefused);
    await expect(refused).rejects.toThrow(says);
  });

  it('within the skew of the clocks is taken', async () => {
    const within = await issuer.token({ exp: seconds(-SKEW + 15), nbf: seconds(SKEW - 15) });
    expect(await check()(within)).toMatchObject({ subject: 'agent' });
  });

  it('signed by anything else is refused: none, HMAC over the public key, another key, another algorithm', async () => {
    const [jwk] = issuer.keySet().keys;
    const none = new UnsecuredJWT({ sub: 'agent' })
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setExpirationTime('5m')
      .encode();
    const hmac = await issuer.token({}, { alg: 'HS256', key: Buffer.from(JSON.stringify(jwk)) });
    const { privateKey } = await generateKeyPair('ES256');
    const other = await issuer.token({}, { key: privateKey });
    for (const token of [none, hmac, other]) await expect(check()(token)).rejects.toThrow(TokenRefused);
    await expect(check({ algorithms: ['RS256'] })(await issuer.token())).rejects.toThrow(/algorithm/);
    const good = await issuer.token();
    expect(await check()(good)).toMatchObject({ subject: 'agent' });
    const [header, payload, signature] = good.split('.');
    const forged = Buffer.from(JSON.stringify({ ...JSON.parse(atob(payload ?? '')), sub: 'root' }));
    await expect(check()(`${header}.${forged.toString('base64url')}.${signature}`)).rejects.toThrow(
      /signature/,
    );
  });

  it.each(['', '.', '..', 'a.b.c', 'x'.repeat(60_000), 'eyJhbGciOiJFUzI1NiJ9..', '{}', 'ä.ö.ü'])(
    'that is none is refused: %#',
    async (text) => {
      const refused = check()(text);
      await expect(refused).rejects.toThrow(TokenRefused);
      if (text.length > 5) await expect(refused).rejects.not.toThrow(text);
    },
  );

  it('tells whose it claims to be, for those that refuse it', async () => {
    expect(claimedBy(await issuer.token())).toEqual({ issuer: ISSUER, parties: ['agent'] });
    const through = { sub: 'ann', azp: 'tool', client_id: 'tool-2', act: { sub: 'agent' } };
    expect(claimedBy(await issuer.token(through))?.parties).toEqual(['ann', 'tool', 'tool-2', 'agent']);
    for (const text of ['', 'a.b.c']) expect(claimedBy(text)).toBeNull();
  });
});

describe("an issuer's keys", () => {
  it('are fetched once, and at once when a token shows a new key', async () => {
    const verify = remote({ jwksCooldownMs: 1 });
    const before = issuer.fetches();
    for (let i = 0; i < 5; i++) await verify(await issuer.token());
    expect(issuer.fetches()).toBe(before + 1);
    const old = await issuer.token();
    await issuer.rotate();
    await new Promise((done) => setTimeout(done, 10));
    expect(await verify(await issuer.token())).toMatchObject({ subject: 'agent' });
    expect(issuer.fetches()).toBe(before + 2);
    await new Promise((done) => setTimeout(done, 10));
    await expect(verify(old)).rejects.toThrow(/no such key/);
  });

  it('are not fetched again and again for keys that nobody has', async () => {
    const verify = remote();
    await verify(await issuer.token());
    const before = issuer.fetches();
    for (let i = 0; i < 20; i++)
      await expect(verify(await issuer.token({}, { kid: `ghost-${i}` }))).rejects.toThrow(TokenRefused);
    expect(issuer.fetches()).toBe(before);
  });

  it.each<[string, number | 'silence' | Buffer]>([
    ['an error', 500],
    ['a redirect', 302],
    ['no answer', 'silence'],
    ['no JSON', Buffer.from('<html>')],
    ['no set', Buffer.from('{"keys":7}')],
    ['no end', Buffer.alloc(400 * 1024, ' ')],
  ])('are not believed, and nobody is let in, after %s', async (_what, answer) => {
    const verify = remote({ jwksFetchMs: 300, jwksRetryMs: 1 });
    issuer.answer(answer);
    await expect(verify(await issuer.token())).rejects.toThrow(KeysUnavailable);
    issuer.answer(null);
    await new Promise((done) => setTimeout(done, 10));
    expect(await verify(await issuer.token())).toMatchObject({ subject: 'agent' });
  });

  it('that are away are not asked for by everybody at once', async () => {
    const verify = remote({ jwksRetryMs: 60_000 });
    issuer.answer(500);
    const before = issuer.fetches();
    for (let i = 0; i < 10; i++) await expect(verify(await issuer.token())).rejects.toThrow(KeysUnavailable);
    expect(issuer.fetches()).toBe(before + 1);
    issuer.answer(null);
  });

  it('count no longer than their age allows', async () => {
    const verify = remote({ jwksMaxAgeMs: 50, jwksRetryMs: 1 });
    await verify(await issuer.token());
    issuer.answer(500);
    await new Promise((done) => setTimeout(done, 100));
    await expect(verify(await issuer.token())).rejects.toThrow(KeysUnavailable);
    issuer.answer(null);
  });
});

describe('a key of a set', () => {
  it('is public, asymmetric and long enough', async () => {
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    expect(publicKeyFault({ ...(await exportJWK(publicKey)) })).toBeNull();
    expect(publicKeyFault({ ...(await exportJWK(privateKey)) })).toMatchObject({ secret: true });
    expect(publicKeyFault({ kty: 'oct', k: 'c2VjcmV0' })).toMatchObject({ secret: true });
    expect(publicKeyFault({ kty: 'RSA' })).toMatchObject({ secret: false });
    const short = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
    expect(publicKeyFault({ ...short })).toMatchObject({ problem: expect.stringContaining('1024 bits') });
  });
});
