import { createPublicKey, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AuditDatabase, createAuditDatabase } from './support.ts';

type Vector = {
  readonly name: string;
  readonly valid: boolean;
  readonly key: string;
  readonly message: string;
  readonly signature: string;
  readonly stricter?: string;
};

let database: AuditDatabase;
beforeAll(async () => {
  database = await createAuditDatabase();
});
afterAll(() => database?.dropAll());

const hex = (text: string) => Buffer.from(text, 'hex');

/** By what SQL says of them. */
async function verified(
  algorithm: 'p256' | 'ed25519',
  cases: readonly Omit<Vector, 'name' | 'valid'>[],
): Promise<boolean[]> {
  const { rows } = await database.query(
    `SELECT audit.${algorithm}_verify(decode(key, 'hex'), decode(message, 'hex'), decode(signature, 'hex')) AS ok
       FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY c (key, message, signature, place)
      ORDER BY place`,
    [cases.map((c) => c.key), cases.map((c) => c.message), cases.map((c) => c.signature)],
  );
  return rows.map(({ ok }) => ok);
}

/** The same of Ed25519 where SQL computes many at once. */
async function verifiedTogether(cases: readonly Omit<Vector, 'name' | 'valid'>[]): Promise<boolean[]> {
  const { rows } = await database.query('SELECT audit.ed25519_verify_many($1, $2, $3) AS good', [
    cases.map((c) => hex(c.key)),
    cases.map((c) => hex(c.message)),
    cases.map((c) => hex(c.signature)),
  ]);
  return rows[0]?.good;
}

/** OpenSSL's answer, by way of Node; keys as a JWK has them, so a P-256 key that is not 4, x, y is none. */
function nodeSays(algorithm: 'p256' | 'ed25519', c: Omit<Vector, 'name' | 'valid'>): boolean {
  const [key, message, signature] = [hex(c.key), hex(c.message), hex(c.signature)];
  try {
    if (algorithm === 'ed25519') {
      const jwk = { kty: 'OKP', crv: 'Ed25519', x: key.toString('base64url') };
      return verify(null, message, createPublicKey({ key: jwk, format: 'jwk' }), signature);
    }
    if (key.length !== 65 || key[0] !== 4) return false;
    const [x, y] = [key.subarray(1, 33), key.subarray(33)].map((half) => half.toString('base64url'));
    const jwk = { kty: 'EC', crv: 'P-256', x: x ?? '', y: y ?? '' };
    const of = { key: createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'der' } as const;
    return verify('sha256', message, of, signature);
  } catch {
    return false;
  }
}

describe.each(['p256', 'ed25519'] as const)('signatures at the edges, %s', (algorithm) => {
  const file = new URL(`../../fixtures/audit/${algorithm}-vectors.json`, import.meta.url);
  const { vectors } = JSON.parse(readFileSync(file, 'utf8')) as { vectors: readonly Vector[] };

  it('are as the fixture says, in SQL and in OpenSSL', async () => {
    const sql = await verified(algorithm, vectors);
    const of = (say: (vector: Vector, i: number) => boolean | undefined) =>
      vectors.map((vector, i) => `${vector.name}: ${say(vector, i)}`);
    expect(of((_, i) => sql[i])).toEqual(of(({ valid }) => valid));
    expect(of((vector) => nodeSays(algorithm, vector))).toEqual(
      of(({ valid, stricter }) => valid || stricter !== undefined),
    );
    expect(vectors.filter(({ valid }) => valid).length).toBeGreaterThan(5);
    expect(new Set(vectors.map(({ name }) => name)).size).toBe(vectors.length);
  });
});

describe('Ed25519 in SQL, many at once', () => {
  const file = new URL('../../fixtures/audit/ed25519-vectors.json', import.meta.url);
  const { vectors } = JSON.parse(readFileSync(file, 'utf8')) as { vectors: readonly Vector[] };
  const said = (list: readonly Vector[], verdicts: readonly unknown[]) =>
    list.map(({ name }, i) => `${name}: ${verdicts[i]}`);

  it('says of each vector what it says alone, as they stand, by key, and where each key has four of it', async () => {
    expect(vectors.length).toBe(170);
    const byKey = vectors.toSorted((a, b) => a.key.localeCompare(b.key));
    const fourfold = byKey.flatMap((vector) => [vector, vector, vector, vector]);
    for (const list of [vectors, byKey, fourfold])
      expect(said(list, await verifiedTogether(list))).toEqual(
        said(
          list,
          list.map(({ valid }) => valid),
        ),
      );
  });

  it('says what OpenSSL says of 600 of one key and 50 of another, every second with one bit changed', async () => {
    const cases = [600, 50].flatMap((count) => {
      const { publicKey, privateKey } = generateKeyPairSync('ed25519');
      const key = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url').toString('hex');
      return Array.from({ length: count }, (_, i) => {
        const message = randomBytes(i);
        const signature = sign(null, message, privateKey);
        if (i % 2 === 1) {
          const at = i % 64;
          signature.writeUInt8(signature.readUInt8(at) ^ (1 << (i % 8)), at);
        }
        return { key, message: message.toString('hex'), signature: signature.toString('hex') };
      });
    });
    const together = await verifiedTogether(cases);
    expect(together).toEqual(cases.map((c) => nodeSays('ed25519', c)));
    expect(together).toEqual(cases.map((_, i) => i % 2 === 0));
  });

  it('takes nothing for good that is null, and as many of each as there are', async () => {
    const good = vectors.find(({ valid }) => valid);
    const [k, m, s] = [good?.key, good?.message, good?.signature].map((bytes) => `decode('${bytes}', 'hex')`);
    const { rows } = await database.query(
      `SELECT audit.ed25519_verify_many(ARRAY[${k}, NULL, ${k}, ${k}, ${k}, ${k}, ${k}, ${k}],
         ARRAY[${m}, ${m}, NULL, ${m}, ${m}, ${m}, NULL, ${m}],
         ARRAY[${s}, ${s}, ${s}, NULL, ${s}, '\\x', ${s}, ${s}]) AS good,
         audit.ed25519_verify_many('{}', '{}', '{}') AS none`,
    );
    expect(rows).toEqual([{ good: [true, false, false, false, true, false, false, true], none: [] }]);
    await expect(
      database.query(`SELECT audit.ed25519_verify_many(ARRAY[${k}], ARRAY[${m}], ARRAY[${s}, ${s}])`),
    ).rejects.toMatchObject({ code: '22023' });
  });
});

describe('P-256 in SQL', () => {
  /** RFC 6979, A.2.5: message, digest that was signed with, r and s. */
  const KEY =
    '04' +
    '60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6' +
    '7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299';
  const RFC: readonly (readonly [string, string, string])[] = [
    [
      'sample',
      'efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716',
      'f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8',
    ],
    [
      'test',
      'f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367',
      '019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083',
    ],
  ];

  it.each(RFC)('takes the signature of RFC 6979, A.2.5, "%s" with SHA-256', async (text, r, s) => {
    const number = (n: string) => (n < '80' ? `0220${n}` : `022100${n}`);
    const body = number(r) + number(s);
    const signature = `30${(body.length / 2).toString(16)}${body}`;
    const message = Buffer.from(text).toString('hex');
    const cases = [
      { key: KEY, message, signature },
      { key: KEY, message: `${message}00`, signature },
    ];
    expect(await verified('p256', cases)).toEqual([true, false]);
    expect(cases.map((c) => nodeSays('p256', c))).toEqual([true, false]);
  });

  it('says what OpenSSL says of 300 fresh signatures, whole and with one bit changed', async () => {
    const cases = Array.from({ length: 300 }, (_, i) => {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
      const parts = {
        key: Buffer.concat([Buffer.of(4), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]),
        message: randomBytes(i),
        signature: Buffer.alloc(0),
      };
      parts.signature = sign('sha256', parts.message, privateKey);
      // A third whole, a third with a bit of the signature changed, the rest with one of the key.
      const changed = i % 3 === 0 ? null : i % 3 === 1 ? parts.signature : parts.key;
      if (changed !== null) {
        const at = i % changed.length;
        changed.writeUInt8(changed.readUInt8(at) ^ (1 << (i % 8)), at);
      }
      const { key, message, signature } = parts;
      return {
        key: key.toString('hex'),
        message: message.toString('hex'),
        signature: signature.toString('hex'),
      };
    });
    const sql = await verified('p256', cases);
    expect(sql).toEqual(cases.map((c) => nodeSays('p256', c)));
    expect(sql.filter((_, i) => i % 3 === 0)).toEqual(Array(100).fill(true));
    expect(sql.filter((_, i) => i % 3 !== 0)).toEqual(Array(200).fill(false));
  });

  it('answers null for what is null', async () => {
    const { rows } = await database.query(`SELECT audit.p256_verify(NULL, '\\x00', '\\x00') AS ok`);
    expect(rows).toEqual([{ ok: null }]);
  });

  it('is the same for whoever puts functions and operators of his own in front', async () => {
    const { key, message, signature } = first();
    const { rows } = await database
      .query(`
      CREATE SCHEMA hostile;
      CREATE FUNCTION hostile.mod(numeric, numeric) RETURNS numeric LANGUAGE sql RETURN 0;
      CREATE FUNCTION hostile.sha256(bytea) RETURNS bytea LANGUAGE sql RETURN '\\x00'::bytea;
      CREATE FUNCTION hostile.differs(numeric, numeric) RETURNS boolean LANGUAGE sql RETURN false;
      CREATE OPERATOR hostile.<> (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = hostile.differs);
      CREATE OPERATOR hostile.= (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = hostile.differs);
      SET search_path = hostile, pg_catalog;
      SELECT audit.p256_verify('\\x${key}', '\\x${message}', '\\x${signature}') AS good,
             audit.p256_verify('\\x${key}', '\\x${message}00', '\\x${signature}') AS bad;
      `)
      .then((results) => (Array.isArray(results) ? results.at(-1) : results));
    expect(rows).toEqual([{ good: true, bad: false }]);
    await database.query('DROP SCHEMA hostile CASCADE');
  });

  it('is the auditor’s to call, and the arithmetic is nobody’s', async () => {
    const { rows } = await database.query(
      `SELECT p.proname, has_function_privilege($1, p.oid, 'EXECUTE') AS auditor,
              has_function_privilege($2, p.oid, 'EXECUTE') AS writer
         FROM pg_proc p WHERE p.proname LIKE 'p256%' OR p.proname = 'from_big_endian' ORDER BY 1`,
      [database.roles.auditor.name, database.roles.writer.name],
    );
    expect(rows).toEqual([
      { proname: 'from_big_endian', auditor: false, writer: false },
      { proname: 'p256_add', auditor: false, writer: false },
      { proname: 'p256_signature', auditor: false, writer: false },
      { proname: 'p256_verify', auditor: true, writer: false },
    ]);
  });
});

function first() {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const key = `04${Buffer.from(x, 'base64url').toString('hex')}${Buffer.from(y, 'base64url').toString('hex')}`;
  const message = '0102';
  return { key, message, signature: sign('sha256', hex(message), privateKey).toString('hex') };
}
