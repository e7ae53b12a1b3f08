import { createHash, generateKeyPairSync, sign, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jwkThumbprint } from '../../src/audit/chain/thumbprint.ts';
import { receiptProblem } from '../../src/audit/verify/receipt-check.ts';
import { type AuditDatabase, createAuditDatabase } from './support.ts';

const { publicKey, privateKey } = generateKeyPairSync('ed25519');
const jwk = publicKey.export({ format: 'jwk' });
const kid = jwkThumbprint(jwk);
const REQUEST = 'req_0123456789abcdefghij';
const HEADER = { alg: 'EdDSA', typ: 'countersign-receipt+jws', kid };

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

function receipt(header: unknown = HEADER, claims: unknown = { request: REQUEST }, key = privateKey): string {
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${sign(null, Buffer.from(text), key).toString('base64url')}`;
}

const whole = receipt();
const [head = '', body = '', signature = ''] = whole.split('.');
const other = generateKeyPairSync('ed25519').privateKey;
const NONE = 'the receipt is none';
const UNFIT = 'the signature does not fit the receipt';

const CASES: readonly (readonly [string, string, string | null])[] = [
  ['a good one', whole, null],
  ['for another request', receipt(HEADER, { request: 'req_x' }), 'the receipt is for another request: req_x'],
  ['signed with another key under this name', receipt(HEADER, { request: REQUEST }, other), UNFIT],
  [
    'signed with a key that nobody trusts',
    receipt({ ...HEADER, kid: 'unknown' }),
    'the receipt is signed with a key that is not among the trusted ones: unknown',
  ],
  ['claims exchanged', `${head}.${part({ request: REQUEST, agent: 'x' })}.${signature}`, UNFIT],
  ['its signature cut', `${head}.${body}.${signature.slice(0, -4)}`, UNFIT],
  ['no signature', `${head}.${body}.`, UNFIT],
  ['its algorithm none', receipt({ ...HEADER, alg: 'none' }), NONE],
  ['of another type', receipt({ ...HEADER, typ: 'JWT' }), NONE],
  ['two parts', `${head}.${body}`, NONE],
  ['four parts', `${whole}.x`, NONE],
  ['not base64url', `${head}=.${body}.${signature}`, NONE],
  ['not JSON', `${Buffer.from('{').toString('base64url')}.${body}.${signature}`, NONE],
  ['not UTF-8', `${Buffer.from([0x22, 0xff, 0x22]).toString('base64url')}.${body}.${signature}`, NONE],
  ['a text', 'x', NONE],
  ['empty', '', NONE],
];

function trusted(id: string, bytes: Uint8Array, presented: Buffer): boolean | null {
  return id === kid ? verify(null, bytes, publicKey, presented) : null;
}

describe('the receipt of a row', () => {
  let database: AuditDatabase;
  beforeAll(async () => {
    database = await createAuditDatabase();
  });
  afterAll(() => database?.dropAll());

  it.each(CASES)('%s', async (_what, token, problem) => {
    expect(receiptProblem(token, REQUEST, trusted)).toBe(problem);
    const { rows } = await database.query('SELECT audit.receipt_problem($1, $2, $3) AS problem', [
      token,
      REQUEST,
      JSON.stringify({ keys: [jwk] }),
    ]);
    expect(rows).toEqual([{ problem }]);
  });

  it('counts a key under its own thumbprint only', async () => {
    const rows = await database.query('SELECT kid, public_key FROM audit.ed25519_keys($1)', [
      JSON.stringify({
        keys: [
          { ...jwk, kid: 'another name' },
          { kty: 'RSA', n: 'x', e: 'AQAB' },
          { ...jwk, x: `${jwk.x}"` },
        ],
      }),
    ]);
    expect(rows.rows).toEqual([{ kid, public_key: Buffer.from(jwk.x ?? '', 'base64url') }]);
    expect(
      createHash('sha256').update(`{"crv":"Ed25519","kty":"OKP","x":"${jwk.x}"}`).digest('base64url'),
    ).toBe(kid);
  });
});
