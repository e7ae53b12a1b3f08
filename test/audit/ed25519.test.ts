import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AuditDatabase, createAuditDatabase } from './support.ts';

let database: AuditDatabase;
beforeAll(async () => {
  database = await createAuditDatabase();
});
afterAll(() => database?.dropAll());

async function verified(key: Buffer, message: Buffer, signature: Buffer): Promise<boolean> {
  const { rows } = await database.query('SELECT audit.ed25519_verify($1, $2, $3) AS ok', [
    key,
    message,
    signature,
  ]);
  return (rows[0] as { ok: boolean }).ok;
}

/** Node's own answer, for comparison. */
function nodeSays(key: Buffer, message: Buffer, signature: Buffer): boolean {
  const jwk = { kty: 'OKP', crv: 'Ed25519', x: key.toString('base64url') };
  return verify(null, message, createPublicKey({ key: jwk, format: 'jwk' }), signature);
}

const hex = (text: string) => Buffer.from(text, 'hex');
const P = 2n ** 255n - 19n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;

function littleEndian(n: bigint): Buffer {
  return Buffer.from(n.toString(16).padStart(64, '0'), 'hex').reverse();
}

function numberOf(bytes: Buffer): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
}

/** RFC 8032, section 7.1: secret key, message. */
const VECTORS: readonly [string, string, string][] = [
  ['TEST 1', '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', ''],
  ['TEST 2', '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb', '72'],
  ['TEST 3', 'c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7', 'af82'],
];

/** What the RFC prints for them. */
const PRINTED: Readonly<Record<string, readonly [string, string]>> = {
  'TEST 1': [
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  'TEST 2': [
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
  'TEST 3': [
    'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
    '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
  ],
};

function secretKey(seed: Buffer) {
  const prefix = hex('302e020100300506032b657004220420');
  return createPrivateKey({ key: Buffer.concat([prefix, seed]), format: 'der', type: 'pkcs8' });
}

describe('Ed25519 in SQL', () => {
  it.each(VECTORS)('takes the signature of RFC 8032, %s', async (name, seed, message) => {
    const [key = '', signature = ''] = PRINTED[name] ?? [];
    expect(sign(null, hex(message), secretKey(hex(seed))).toString('hex')).toBe(signature);
    expect(await verified(hex(key), hex(message), hex(signature))).toBe(true);
    expect(await verified(hex(key), Buffer.concat([hex(message), hex('00')]), hex(signature))).toBe(false);
  });

  it('says what Node says of fresh signatures, whole and with any byte changed', async () => {
    for (let round = 0; round < 8; round += 1) {
      const { publicKey, privateKey } = generateKeyPairSync('ed25519');
      const key = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
      const message = Buffer.alloc(round * 97, round);
      const signature = sign(null, message, privateKey);
      expect(await verified(key, message, signature)).toBe(true);
      for (const [what, at] of [
        ['signature', round],
        ['signature', 32 + round],
        ['key', round],
      ] as const) {
        const bytes = { key: Buffer.from(key), signature: Buffer.from(signature) };
        bytes[what].writeUInt8(bytes[what].readUInt8(at) ^ (1 << (round % 8)), at);
        expect([what, at, await verified(bytes.key, message, bytes.signature)]).toEqual([
          what,
          at,
          nodeSays(bytes.key, message, bytes.signature),
        ]);
      }
    }
  });

  describe('refuses', () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const key = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
    const message = Buffer.from('a batch');
    const signature = sign(null, message, privateKey);
    const r = signature.subarray(0, 32);
    const s = signature.subarray(32);
    /** The neutral element, as a key and as R: with S = 0 it would sign everything. */
    const one = littleEndian(1n);

    it.each<[string, Buffer, Buffer]>([
      ['S plus the order of the group', key, Buffer.concat([r, littleEndian(numberOf(s) + ORDER)])],
      ['S that is the order', key, Buffer.concat([r, littleEndian(ORDER)])],
      ['a signature of zeros', key, Buffer.alloc(64)],
      ['a short signature', key, signature.subarray(0, 63)],
      ['a long signature', key, Buffer.concat([signature, Buffer.alloc(1)])],
      ['a short key', key.subarray(0, 31), signature],
      ['a key that is no point', littleEndian(2n), signature],
      ['a key that is the prime', littleEndian(P), signature],
      ['a key above the prime', littleEndian(P + 1n), signature],
      ['a key of zeros', Buffer.alloc(32), signature],
      ['R above the prime', one, Buffer.concat([littleEndian(P + 1n), Buffer.alloc(32)])],
      [
        'the neutral element with a sign',
        littleEndian(1n + 2n ** 255n),
        Buffer.concat([one, Buffer.alloc(32)]),
      ],
    ])('%s', async (_what, withKey, withSignature) => {
      expect(await verified(withKey, message, withSignature)).toBe(false);
    });
  });

  it('is the auditor’s to call, and the arithmetic is nobody’s', async () => {
    const { rows } = await database.query(
      `SELECT p.proname, has_function_privilege($1, p.oid, 'EXECUTE') AS auditor,
              has_function_privilege($2, p.oid, 'EXECUTE') AS writer
         FROM pg_proc p WHERE p.proname IN ('ed25519_verify', 'ed25519_x', 'inverse', 'from_little_endian')
        ORDER BY 1`,
      [database.roles.auditor.name, database.roles.writer.name],
    );
    expect(rows).toEqual([
      { proname: 'ed25519_verify', auditor: true, writer: false },
      { proname: 'ed25519_x', auditor: false, writer: false },
      { proname: 'from_little_endian', auditor: false, writer: false },
      { proname: 'inverse', auditor: false, writer: false },
    ]);
  });
});
