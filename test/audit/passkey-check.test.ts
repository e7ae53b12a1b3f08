import { generateKeyPairSync, sign } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { passkeyProblem } from '../../src/audit/verify/passkey-check.ts';
import { passkeysIn, thumbprintOf } from '../../src/audit/verify/passkey-keys.ts';
import { approver, type Changes, makeDevice, newDigest, SITE } from './passkey-maker.ts';
import { type AuditDatabase, createAuditDatabase } from './support.ts';

const { privateKey } = generateKeyPairSync('ed25519');
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Signed, but whose signature it has is another check's question. */
function receipt(claims: unknown): string {
  const text = `${part({ alg: 'EdDSA', typ: 'countersign-receipt+jws', kid: 'x' })}.${part(claims)}`;
  return `${text}.${sign(null, Buffer.from(text), privateKey).toString('base64url')}`;
}

const device = makeDevice();
const second = makeDevice();
const shared = makeDevice();
const lost = makeDevice();
const stranger = makeDevice();
const digest = newDigest();
/** Revoked: a device that was lost before the row's time, and one after it. */
const AT = new Date('2026-03-02T12:00:00Z');
const late = makeDevice();
const jwks = {
  keys: [
    device.of('ada'),
    second.of('ben'),
    shared.of('ada'),
    shared.of('ben'),
    { ...stranger.jwk },
    { kty: 'OKP', crv: 'Ed25519', x: 'A'.repeat(43), countersign_person: 'ada' },
  ],
  revoked: [
    { ...lost.of('ada'), revoked: { revoked_at: AT.getTime() / 1000 } },
    { ...late.of('ada'), revoked: { revoked_at: AT.getTime() / 1000 + 1 } },
  ],
};
const revokedThen = (kid: string) => kid === lost.kid;
const passkeys = passkeysIn([...jwks.keys, ...jwks.revoked]);

const of = (changes: Changes = {}, by = device, who = 'ada') =>
  receipt({ digest, approvers: [approver(who, by.sign(digest, changes))] });
const client = (members: Readonly<Record<string, unknown>>) => of({ client: members });
const claimed = (...approvers: unknown[]) => receipt({ digest, approvers });

const MISSING = 'assurance 3 of ada is claimed without an assertion of a passkey';
const ada = (problem: string) => `the passkey of ada: ${problem}`;
const MALFORMED = ada('it is no assertion of a passkey');
const TYPE = ada('it was made for something else than signing');
const OTHER_REQUEST = ada('it signs another request');
const ON_OTHER = ada('it was made on another site');
const FOR_OTHER = ada('it was made for another site');
const UNFIT = ada('the signature does not fit the passkey');
const signed = device.sign(digest);
const without = (name: string) => claimed(approver('ada', { ...signed, [name]: undefined }));
const changed = (name: string, value: unknown) => claimed(approver('ada', { ...signed, [name]: value }));

const CASES: readonly (readonly [string, string, string | null])[] = [
  ['a good one', of(), null],
  ['on localhost', of({ client: { origin: 'http://localhost:8432' }, rpId: 'localhost' }), null],
  ['with a port', client({ origin: `${SITE.origin}:8443` }), null],
  ['crossOrigin left out', client({ crossOrigin: undefined }), null],
  ['with more flags (backed up)', of({ flags: 0x1d }), null],
  ['with extensions', of({ flags: 0x85, more: Buffer.of(0xa0) }), null],
  ['a key that is revoked later', of({}, late), null],
  ['nobody of assurance 3', claimed(approver('ada', {}, 1), approver('ben', {}, 2)), null],
  ['no approvers', receipt({ digest }), null],
  ['approvers are no list', receipt({ digest, approvers: 'ada' }), null],
  ['two people, a device each', claimed(approver('ada', signed), approver('ben', second.sign(digest))), null],

  ['assurance 3 without an assertion', claimed(approver('ada')), MISSING],
  ['assurance "3"', claimed(approver('ada', {}, '3')), MISSING],
  ['assurance 4', claimed(approver('ada', {}, 4)), MISSING],
  ['no assurance', claimed(approver('ada', {}, undefined)), MISSING],
  ['facts that are a text', claimed(approver('ada', 'x')), MISSING],
  ['an approver that is a text', claimed('ada'), MISSING.replace('ada ', ' ')],
  ['without the key', without('passkey'), MISSING],
  ['without authenticatorData', without('authenticatorData'), MISSING],
  ['without clientDataJSON', without('clientDataJSON'), MISSING],
  ['without a signature', without('signature'), MISSING],
  ['a signature that is a number', changed('signature', 3), MISSING],

  [
    'of a key that nobody named',
    of({}, makeDeviceNamed('x')),
    'the passkey of ada is not among the trusted ones: x',
  ],
  [
    'of a key without a person',
    of({}, stranger),
    `the passkey of ada is not among the trusted ones: ${stranger.kid}`,
  ],
  [
    'of a key that two people have',
    of({}, shared),
    `the passkey of ada is not among the trusted ones: ${shared.kid}`,
  ],
  ['of another person', of({}, second), `the passkey of ada is another person's, ben: ${second.kid}`],
  [
    'two people with one device',
    claimed(approver('ada', signed), approver('ben', signed)),
    `the passkey of ben is another person's, ada: ${device.kid}`,
  ],
  [
    'of a person who is a number',
    receipt({ digest, approvers: [{ assurance: 3, person: 7, facts: signed }] }),
    `the passkey of  is another person's, ada: ${device.kid}`,
  ],
  ['of a key that was revoked by then', of({}, lost), `the passkey of ada was revoked by then: ${lost.kid}`],
  ['the name of another key over this signature', changed('passkey', late.kid), UNFIT],

  [
    'over another digest',
    receipt({ digest: newDigest(), approvers: [approver('ada', signed)] }),
    OTHER_REQUEST,
  ],
  ['no digest', receipt({ approvers: [approver('ada', signed)] }), OTHER_REQUEST],
  [
    'a digest in capitals',
    receipt({ digest: digest.toUpperCase(), approvers: [approver('ada', signed)] }),
    OTHER_REQUEST,
  ],
  ['a digest that is a number', receipt({ digest: 7, approvers: [approver('ada', signed)] }), OTHER_REQUEST],
  ['another challenge', client({ challenge: 'x' }), OTHER_REQUEST],
  ['no challenge', client({ challenge: undefined }), OTHER_REQUEST],
  ['the challenge in hex', client({ challenge: digest }), OTHER_REQUEST],
  [
    'the challenge with padding',
    client({ challenge: `${Buffer.from(digest, 'hex').toString('base64url')}=` }),
    OTHER_REQUEST,
  ],
  [
    'the challenge in a list',
    client({ challenge: [Buffer.from(digest, 'hex').toString('base64url')] }),
    OTHER_REQUEST,
  ],
  ['for making a key', client({ type: 'webauthn.create' }), TYPE],
  ['of no type', client({ type: undefined }), TYPE],
  ['in a page of another site', client({ crossOrigin: true }), ON_OTHER],
  ['crossOrigin is a text', client({ crossOrigin: 'false' }), ON_OTHER],
  ['with a topOrigin', client({ topOrigin: SITE.origin }), ON_OTHER],
  ['with a topOrigin of null', client({ topOrigin: null }), ON_OTHER],
  ['on a page below', client({ origin: 'https://evil.countersign.example.com' }), FOR_OTHER],
  ['on another site', client({ origin: 'https://evil.example' }), FOR_OTHER],
  ['for another site', of({ rpId: 'example.com' }), FOR_OTHER],
  ['without an origin', client({ origin: undefined }), ON_OTHER],
  ['an origin with a path', client({ origin: `${SITE.origin}/` }), ON_OTHER],
  ['an origin with a user', client({ origin: `https://x@${SITE.rpId}` }), ON_OTHER],
  ['an origin in capitals', client({ origin: SITE.origin.toUpperCase() }), ON_OTHER],
  ['an origin with a line end', client({ origin: `${SITE.origin}\n` }), ON_OTHER],
  ['an app', client({ origin: 'android:apk-key-hash:abc' }), ON_OTHER],
  ['nobody present', of({ flags: 0x04 }), ada('nobody touched the device')],
  [
    'nobody verified',
    of({ flags: 0x01 }),
    ada('the device did not verify its user (PIN, fingerprint or face)'),
  ],
  ['no flag', of({ flags: 0 }), ada('nobody touched the device')],
  ['a flag for a key that is not there', of({ flags: 0x45 }), MALFORMED],
  ['a flag for extensions that are not there', of({ flags: 0x85 }), MALFORMED],
  ['extensions without a flag', of({ more: Buffer.of(0xa0) }), MALFORMED],
  ['authenticatorData of 36 bytes', of({ data: Buffer.alloc(36, 5) }), MALFORMED],
  ['authenticatorData too long', of({ flags: 0x85, more: Buffer.alloc(2_100) }), MALFORMED],
  ['authenticatorData in base64', changed('authenticatorData', `${'+'.repeat(50)}`), MALFORMED],
  [
    'authenticatorData with padding',
    changed('authenticatorData', `${signed['authenticatorData']}=`),
    MALFORMED,
  ],
  ['bits after the signature', changed('signature', loose(String(signed['signature']))), MALFORMED],
  ['an empty signature', changed('signature', ''), MALFORMED],
  ['a signature too long', of({ signature: (good) => Buffer.concat([good, Buffer.alloc(40)]) }), MALFORMED],
  ['clientDataJSON that is none', of({ clientBytes: Buffer.from('{') }), MALFORMED],
  ['clientDataJSON that is a list', of({ clientBytes: Buffer.from('[]') }), MALFORMED],
  ['clientDataJSON that is null', of({ clientBytes: Buffer.from('null') }), MALFORMED],
  ['clientDataJSON that is not UTF-8', of({ clientBytes: Buffer.from([0x22, 0xff, 0x22]) }), MALFORMED],
  ['clientDataJSON with a mark in front', of({ clientBytes: Buffer.from('\ufeff{}') }), MALFORMED],
  ['clientDataJSON too long', of({ client: { more: 'x'.repeat(5_000) } }), MALFORMED],
  ['clientDataJSON of lists in lists', of({ clientBytes: Buffer.from('['.repeat(4_000)) }), MALFORMED],
  ['another signature', changed('signature', device.sign(newDigest())['signature']), UNFIT],
  ['a signature of another device', changed('signature', second.sign(digest)['signature']), UNFIT],
  [
    'a signature in BER',
    of({ signature: (good) => Buffer.concat([good.subarray(0, 1), Buffer.of(0x81), good.subarray(1)]) }),
    UNFIT,
  ],
  [
    'a signature with a byte after it',
    of({ signature: (good) => Buffer.concat([good, Buffer.of(0)]) }),
    UNFIT,
  ],
  [
    'clientDataJSON with a space more',
    changed('clientDataJSON', spaced(String(signed['clientDataJSON']))),
    UNFIT,
  ],
  [
    'authenticatorData with another counter',
    changed('authenticatorData', counted(String(signed['authenticatorData']))),
    UNFIT,
  ],
];

function makeDeviceNamed(kid: string) {
  const made = makeDevice();
  return {
    ...made,
    sign: (of: string, changes: Changes = {}) => ({ ...made.sign(of, changes), passkey: kid }),
  };
}

/** Another text for the same bytes. */
function loose(text: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  // So that there are bits left over.
  const cut = text.length % 4 === 0 ? text.slice(0, -1) : text;
  const last = alphabet.indexOf(cut.at(-1) ?? '');
  return `${cut.slice(0, -1)}${alphabet[(last & ~3) | 1]}`;
}

function spaced(text: string): string {
  return Buffer.concat([Buffer.from(text, 'base64url'), Buffer.from(' ')]).toString('base64url');
}

function counted(text: string): string {
  const bytes = Buffer.from(text, 'base64url');
  bytes.writeUInt8(9, 36);
  return bytes.toString('base64url');
}

describe('the passkeys of a receipt', () => {
  let database: AuditDatabase;
  beforeAll(async () => {
    database = await createAuditDatabase();
  });
  afterAll(() => database?.dropAll());

  const inSql = async (token: string) => {
    const { rows } = await database.query('SELECT audit.passkey_problem($1, $2, $3) AS problem', [
      token,
      AT,
      JSON.stringify(jwks),
    ]);
    return rows;
  };

  it.each(CASES)('%s', async (_what, token, problem) => {
    expect(passkeyProblem(token, passkeys, revokedThen)).toBe(problem);
    expect(await inSql(token)).toEqual([{ problem }]);
  });

  it('are not looked for in what is no receipt', async () => {
    for (const token of ['', 'x', 'a.b', `${claimed(approver('ada'))}.x`, `x.${part('{')}.x`]) {
      expect(passkeyProblem(token, passkeys)).toBeNull();
      expect(await inSql(token)).toEqual([{ problem: null }]);
    }
  });

  it('are found in a set under their own thumbprint, by SQL as here', async () => {
    const odd = [
      { ...device.jwk, kid: 'another name', countersign_person: 'ada' },
      { ...second.jwk, countersign_person: '' },
      { ...stranger.jwk, countersign_person: 7 },
      { ...late.jwk, x: `${late.jwk['x']}=`, countersign_person: 'ada' },
      { ...late.jwk, x: looseCoordinate(late.jwk['x'] ?? ''), countersign_person: 'ada' },
      { ...lost.jwk, crv: 'P-384', countersign_person: 'ada' },
    ];
    const { rows } = await database.query('SELECT kid, person, public_key FROM audit.passkey_keys($1)', [
      JSON.stringify({ keys: [...odd, 'x', null, ['x'], 7] }),
    ]);
    const { x = '', y = '' } = device.jwk;
    const key = Buffer.concat([Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
    expect(rows).toEqual([{ kid: device.kid, person: 'ada', public_key: key }]);
    const found = passkeysIn(odd);
    const kids = [device, second, stranger, late, lost].map(({ kid }) => found(kid)?.person ?? null);
    expect(kids).toEqual(['ada', null, null, null, null]);
    expect(thumbprintOf(device.of('ada'))).toBe(device.kid);
  });

  it('are none of the installation’s keys, whatever kind they say they are', async () => {
    const { rows } = await database.query('SELECT kid FROM audit.ed25519_keys($1)', [JSON.stringify(jwks)]);
    expect(rows).toEqual([]);
  });
});

function looseCoordinate(x: string): string {
  return `${x.slice(0, -1)}B`;
}
