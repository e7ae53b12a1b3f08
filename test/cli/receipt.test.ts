import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PasskeyAssertion } from '../../src/approval/guard.ts';
import { type Keys, openKeys } from '../../src/signing/keys.ts';
import { passkeyThumbprint, publishedPasskeys, publishedRetired } from '../../src/signing/passkey.ts';
import { type ReceiptClaims, signReceipt } from '../../src/signing/receipt.ts';
import { device, PRESENT } from '../support/authenticator.ts';
import { cli } from './in-process.ts';

const SQL = 'DROP TABLE orders';
const IAT = 1_800_000_000;
const CLAIMS: ReceiptClaims = {
  iss: 'countersign',
  request: 'req_0123456789012345678901',
  digest: 'a'.repeat(64),
  sqlSha256: createHash('sha256').update(SQL).digest('hex'),
  parametersSha256: 'c'.repeat(64),
  agent: 'shop-agent',
  approvers: [
    {
      person: 'reviewer',
      channel: 'slack',
      ids: ['slack:T1/U1'],
      assurance: 1,
      at: IAT,
      reason: 'fine \u001b[2J\u202e',
      facts: {},
    },
  ],
  policyDigest: 'p',
  limits: { rows: 1000, bytes: null },
  nonce: 'n',
  iat: IAT,
  exp: IAT + 3_600,
};

const directory = mkdtempSync(join(tmpdir(), 'cs-receipt-cli-'));
const file = (name: string, text: string) => {
  writeFileSync(join(directory, name), text);
  return join(directory, name);
};
let keys: Keys;
let receipt: string;
let jwks: string;
beforeAll(async () => {
  keys = await openKeys(join(directory, 'keys'));
  receipt = file('receipt', `${await signReceipt(CLAIMS, keys.signer)}\n`);
  // Made before these receipts: the clock of the test is not theirs.
  const { keys: published } = keys.jwks();
  jwks = file('jwks.json', JSON.stringify({ keys: published }));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const verify = (...args: string[]) => cli(['receipt', 'verify', ...args], { NO_COLOR: '1' });
const iso = (seconds: number) => new Date(seconds * 1000).toISOString();

describe('countersign receipt verify', () => {
  it('says offline who approved what, when, by which channel, within which limits, until when', async () => {
    const { code, stdout } = await verify(receipt, '--jwks', jwks);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^GOOD: /);
    for (const text of [
      `reviewer at ${iso(IAT)} by slack (assurance 1; slack:T1/U1): fine ‹U+001B›[2J‹U+202E›`,
      'at most 1,000 rows',
      CLAIMS.sqlSha256,
      CLAIMS.request,
      iso(CLAIMS.exp),
      keys.signer.kid,
    ])
      expect(stdout).toContain(text);
    expect(stdout).not.toMatch(/[\u001b\u202e]/);
  });

  it('for programs in one line', async () => {
    const { stdout } = await verify(receipt, '--jwks', jwks, '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      verdict: 'good',
      findings: [{ code: 'release_until' }],
      claims: { agent: 'shop-agent', approvers: [{ person: 'reviewer' }] },
      key: { kid: keys.signer.kid, revocation: null },
    });
  });

  it.each([
    ['the same bytes', SQL, 0, 'exactly these 17 bytes'],
    ['with a line end', `${SQL}\n`, 0, 'without the line end'],
    ['with a line end of another system', `${SQL}\r\n`, 0, 'without the line end'],
    ['with two line ends', `${SQL}\n\n`, 1, 'another statement'],
    ['in other case', SQL.toLowerCase(), 1, 'another statement'],
    ['nothing', '', 1, 'another statement'],
  ])('compares the statement: %s', async (_, text, code, says) => {
    const result = await verify(receipt, '--jwks', jwks, '--statement', file('sql', text));
    expect(result).toMatchObject({ code, stdout: expect.stringContaining(says) });
  });

  it.each([
    [iso(IAT), 0, 'in force'],
    [iso(IAT - 1), 1, 'not yet'],
    [iso(IAT + 3_599), 0, 'in force'],
    [iso(IAT + 3_600), 1, 'expired'],
  ])('at %s', async (at, code, says) => {
    expect(await verify(receipt, '--jwks', jwks, '--at', at)).toMatchObject({
      code,
      stdout: expect.stringContaining(says),
    });
  });

  describe('with a passkey', () => {
    const DIGEST = CLAIMS.digest;
    const ORIGIN = 'https://countersign.example.com';
    const [own, other] = [device(), device()];
    const thumbprint = passkeyThumbprint(own.passkey.key);
    const [approver] = CLAIMS.approvers;
    const people = [
      { id: 'reviewer', passkeys: [own.passkey] },
      { id: 'deputy', passkeys: [other.passkey] },
    ];
    /** Verifies a receipt with these facts for assurance 3, with the keys of the installation and of these people. */
    async function judged(
      facts: Record<string, string>,
      published = publishedPasskeys(people),
      revoked: readonly object[] = [],
    ) {
      const approvers = approver === undefined ? [] : [{ ...approver, assurance: 3 as const, facts }];
      const path = file('signed', await signReceipt({ ...CLAIMS, approvers }, keys.signer));
      const all = [...keys.jwks().keys, ...published];
      return verify(path, '--jwks', file('all.json', JSON.stringify({ keys: all, revoked })), '--json');
    }
    const factsOf = ({ id: _, ...assertion }: PasskeyAssertion, passkey = thumbprint) => ({
      passkey,
      ...assertion,
    });
    const good = factsOf(own.assertion(DIGEST, ORIGIN));

    it('says whose device signed it, and where', async () => {
      const { code, stdout } = await judged(good);
      expect(code).toBe(0);
      expect(JSON.parse(stdout).findings).toContainEqual({
        code: 'passkey_good',
        text: `reviewer has signed it with passkey ${thumbprint}, at ${ORIGIN}`,
      });
    });

    it.each([
      ['nothing was signed', {}, 'passkey_missing'],
      ['another request was signed', factsOf(own.assertion('b'.repeat(64), ORIGIN)), 'passkey_refused'],
      ['nobody was verified', factsOf(own.assertion(DIGEST, ORIGIN, { flags: PRESENT })), 'passkey_refused'],
      ['another passkey signed', factsOf(other.assertion(DIGEST, ORIGIN)), 'passkey_refused'],
      [
        'the passkey is somebody else’s',
        factsOf(other.assertion(DIGEST, ORIGIN), passkeyThumbprint(other.passkey.key)),
        'passkey_other_person',
      ],
    ])('is 1 where %s', async (_, facts, finding) => {
      const { code, stdout } = await judged(facts);
      expect([code, JSON.parse(stdout).findings[0].code]).toEqual([1, finding]);
    });

    it.each([
      ['good where it was retired later', 1, 0, 'passkey_good'],
      ['1 where it was retired before', 0, 1, 'passkey_retired'],
    ] as const)('is %s', async (_, later, code, finding) => {
      const { key } = own.passkey;
      const retiredAt = (approver?.at ?? 0) + later;
      const retired = publishedRetired([{ person: 'reviewer', key, retiredAt }]);
      const result = await judged(good, [], retired);
      expect(result.code).toBe(code);
      expect(JSON.parse(result.stdout).findings).toContainEqual(expect.objectContaining({ code: finding }));
    });

    it('is 2 with a key set that does not have it', async () => {
      const { code, stdout } = await judged(good, []);
      expect([code, JSON.parse(stdout).findings[0].code]).toEqual([2, 'passkey_unknown']);
      const odd = await judged({ ...good, passkey: 'x\u001b[2J' }, []);
      expect([odd.code, odd.stdout.includes('\u001b')]).toEqual([2, false]);
    });
  });

  it('is 1 for what is no receipt of these keys', async () => {
    const stranger = await openKeys(join(directory, 'stranger'));
    const theirs = file('theirs', await signReceipt(CLAIMS, stranger.signer));
    const cut = file('cut', (await signReceipt(CLAIMS, keys.signer)).slice(0, -4));
    for (const [path, text] of [
      [theirs, 'receipt_unknown_key'],
      [cut, 'receipt_signature'],
      [file('text', 'hello'), 'receipt_malformed'],
    ] as const) {
      expect(await verify(path, '--jwks', jwks)).toMatchObject({
        code: 1,
        stdout: expect.stringContaining(text),
      });
      expect(JSON.parse((await verify(path, '--jwks', jwks, '--json')).stdout)).toMatchObject({
        verdict: 'not_good',
        findings: [{ code: text }],
      });
    }
  });

  it('is 2 when it could not be checked', async () => {
    for (const args of [
      [join(directory, 'nosuch'), '--jwks', jwks],
      [receipt, '--jwks', join(directory, 'nosuch')],
      [receipt, '--jwks', receipt],
      [receipt],
      [receipt, '--jwks', jwks, '--at', 'soon'],
      [receipt, '--jwks', jwks, '--statement', join(directory, 'nosuch')],
    ])
      expect((await verify(...args)).code, args.join(' ')).toBe(2);
  });

  it('tells what a revoked key signed after its revocation from what it says it signed before', async () => {
    const { kid } = keys.signer;
    const set = (revoked: object) =>
      file('revoked.json', JSON.stringify({ keys: [], revoked: [{ ...keys.signer.publicJwk, revoked }] }));
    const at = (seconds: number, reason?: string) => set({ revoked_at: seconds, reason });
    expect(await verify(receipt, '--jwks', at(IAT, 'compromised'))).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('signed after that'),
    });
    const before = await verify(receipt, '--jwks', at(IAT + 1, 'compromised'));
    expect(before).toMatchObject({
      code: 2,
      stdout: expect.stringMatching(/^NOT SURE: .*could write any time.*request_approved/),
    });
    expect(await verify(receipt, '--jwks', at(IAT + 1, 'superseded'))).toMatchObject({ code: 0 });
    // Who does not say since when, or not why, is not taken at the better word.
    expect(await verify(receipt, '--jwks', at(IAT + 1))).toMatchObject({ code: 2 });
    expect(await verify(receipt, '--jwks', set({}))).toMatchObject({ code: 1 });
    const both = { keys: [keys.signer.publicJwk], revoked: [{ ...keys.signer.publicJwk }] };
    expect((await verify(receipt, '--jwks', file('both.json', JSON.stringify(both)))).code).toBe(1);
    expect(kid).toBe(keys.signer.kid);
  });

  it('sees a date before the key was made, or after it was replaced', async () => {
    const { publicJwk } = keys.signer;
    const with_ = (times: object) =>
      file('times.json', JSON.stringify({ keys: [{ ...publicJwk, ...times }] }));
    expect((await verify(receipt, '--jwks', with_({ nbf: IAT + 1_000 }))).stdout).toContain('key was made');
    expect((await verify(receipt, '--jwks', with_({ retired_at: IAT - 1_000 }))).stdout).toContain(
      'was replaced',
    );
    expect((await verify(receipt, '--jwks', with_({ nbf: IAT - 9, retired_at: IAT + 9 }))).code).toBe(0);
  });
});
