import { generateKeyPairSync, sign } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Entry } from '../../src/audit/entry.ts';
import type { LogSigner } from '../../src/audit/port.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { keyEntry } from '../../src/audit/shipping/stream-key.ts';
import { thumbprintOf } from '../../src/audit/verify/passkey-keys.ts';
import type { Jwks } from '../../src/audit/verify/trusted-keys.ts';
import { verifySnapshot } from '../../src/audit/verify/verify-database.ts';
import { approver, type Device, makeDevice, newDigest } from './passkey-maker.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, event, makeSigner } from './support.ts';

const signer = makeSigner();
const ada = makeDevice();
const ben = makeDevice();
/** What an auditor kept. */
const kept: Jwks = { keys: [signer.publicJwk, ada.of('ada'), ben.of('ben')] };
let database: AuditDatabase;
let admin: pg.Client;

beforeAll(async () => {
  database = await createAuditDatabase();
  admin = new pg.Client(database.url);
  await admin.connect();
});
afterAll(async () => {
  await admin?.end();
  await database?.dropAll();
});

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

function receipt(request: string, digest: string, approvers: readonly unknown[], by = signer): string {
  const header = part({ alg: 'EdDSA', typ: 'countersign-receipt+jws', kid: by.kid });
  const text = `${header}.${part({ iss: 'countersign', request, digest, approvers })}`;
  return `${text}.${by.sign(Buffer.from(text)).toString('base64url')}`;
}

const opened = (requestId: string, digest: string) =>
  event('request_opened', { requestId, detail: { digest } });
const approved = (requestId: string, token: string, at?: bigint) =>
  event('request_approved', { requestId, receipt: token, ...(at === undefined ? {} : { at }) });

/** The entry that brings a device's key into the log. */
function keyOf(device: Device, person: string): Entry {
  return keyEntry(device.kid, device.of(person), 'passkey', BigInt(Date.now()) * 1000n);
}

const revoked = (kid: string, at: string) =>
  event('key', {
    detail: {
      purpose: 'installation',
      event: 'revoked',
      kid,
      revoked_at: at,
      reason: 'compromised',
      by: 'x',
    },
  });

/** `check row: detail` of what both verifiers find of a stream with these entries (the first is row 3). */
async function found(
  entries: readonly Entry[],
  keys: Jwks | null = kept,
  by: LogSigner = signer,
  tamper: string | null = null,
): Promise<{ readonly sql: readonly string[]; readonly cli: readonly string[] }> {
  const made = makeStream(by);
  await admin.query('BEGIN');
  try {
    await admin.query(appendCall('audit', made.start()));
    await admin.query(appendCall('audit', made.batch(entries)));
    if (tamper !== null) await admin.query(`ALTER TABLE audit.entry DISABLE TRIGGER ALL; ${tamper}`);
    const { rows } = await admin.query(
      `SELECT "check", seq, detail FROM audit.verify(keys => $1, "full" => true) WHERE NOT ok AND seq IS NOT NULL`,
      [keys === null ? null : JSON.stringify(keys)],
    );
    const { findings } = await verifySnapshot(admin, 'audit', keys ?? undefined);
    const words = (all: readonly { check: string; seq: unknown; detail: string }[]) =>
      all.map(({ check, seq, detail }) => `${check} ${seq}: ${detail}`).sort();
    return { sql: words(rows), cli: words(findings) };
  } finally {
    await admin.query('ROLLBACK');
  }
}

const both = (...lines: string[]) => ({ sql: [...lines].sort(), cli: [...lines].sort() });
const digest = newDigest();
const good = receipt('req_1', digest, [approver('ada', ada.sign(digest)), approver('ben', ben.sign(digest))]);
const MISSING = 'assurance 3 of ada is claimed without an assertion of a passkey';

describe('a log with passkeys', () => {
  it('is whole where each device signed, with keys that were kept and with its own', async () => {
    const entries = [keyOf(ada, 'ada'), keyOf(ben, 'ben'), opened('req_1', digest), approved('req_1', good)];
    expect(await found(entries)).toEqual(both());
    expect(await found(entries, null)).toEqual(both());
  });

  it('says how many it looked at, and whose keys it took', async () => {
    const said = async (given: Jwks | null, full: boolean) => {
      const { rows } = await admin.query(
        `SELECT "check", ok, detail FROM audit.verify(keys => $1, "full" => $2) WHERE "check" IN ('passkey', 'revocation') AND seq IS NULL`,
        [given === null ? null : JSON.stringify(given), full],
      );
      return rows;
    };
    const made = makeStream(signer);
    await admin.query('BEGIN');
    try {
      await admin.query(appendCall('audit', made.start()));
      const many = Array.from({ length: 45 }, () => approved('req_1', good));
      const plain = approved('req_2', receipt('req_2', newDigest(), [approver('ada', {}, 1)]));
      await admin.query(appendCall('audit', made.batch([...many, plain])));
      expect(await said(kept, false)).toEqual([
        {
          check: 'passkey',
          ok: true,
          detail: "40 of 45 receipts with passkeys against what people's devices signed",
        },
        { check: 'revocation', ok: true, detail: '0 revoked keys against the times of what they signed' },
      ]);
      expect(await said(kept, true)).toMatchObject([
        { ok: true, detail: expect.stringMatching(/^45 of 45 /) },
        { ok: true },
      ]);
      expect(await said(null, false)).toEqual([
        {
          check: 'passkey',
          // The log has no key for them.
          ok: false,
          detail: expect.stringMatching(
            /^40 of 45 .*, with keys from the log itself: give those that you kept$/,
          ),
        },
        { check: 'revocation', ok: true, detail: expect.stringContaining(', as the log itself has them') },
      ]);
    } finally {
      await admin.query('ROLLBACK');
    }
  });

  it.each<[string, unknown, string]>([
    ['the assertion is left out', {}, MISSING],
    ['it is over another request', ada.sign(newDigest()), 'the passkey of ada: it signs another request'],
    ['it is another person’s', ben.sign(digest), `the passkey of ada is another person's, ben: ${ben.kid}`],
    [
      'its user was not verified',
      ada.sign(digest, { flags: 1 }),
      'the passkey of ada: the device did not verify its user (PIN, fingerprint or face)',
    ],
    [
      'its signature is another one',
      { ...ada.sign(digest), signature: ada.sign(newDigest())['signature'] },
      'the passkey of ada: the signature does not fit the passkey',
    ],
  ])(
    'is not where the installation’s key signed and the device did not: %s',
    async (_what, facts, problem) => {
      const token = receipt('req_1', digest, [approver('ada', facts), approver('ben', ben.sign(digest))]);
      expect(await found([opened('req_1', digest), approved('req_1', token)])).toEqual(
        both(`passkey 4: ${problem}`),
      );
    },
  );
});

describe('whoever has the database and the installation’s key', () => {
  const mine = makeDevice();

  it('cannot approve in another’s name with a device of his own, as far as keys were kept', async () => {
    const token = receipt('req_1', digest, [approver('ada', mine.sign(digest))]);
    const entries = [keyOf(mine, 'ada'), opened('req_1', digest), approved('req_1', token)];
    expect(await found(entries)).toEqual(
      both(`passkey 5: the passkey of ada is not among the trusted ones: ${mine.kid}`),
    );
    // What a log proves with its own keys alone, and what it says of itself.
    expect(await found(entries, null)).toEqual(both());
  });

  it('cannot take another’s key for himself: the first entry that brings a key counts', async () => {
    const token = receipt('req_1', digest, [approver('mallory', ada.sign(digest))]);
    const entries = [
      keyOf(ada, 'ada'),
      keyOf(ada, 'mallory'),
      opened('req_1', digest),
      approved('req_1', token),
    ];
    const finding = `passkey 6: the passkey of mallory is another person's, ada: ${ada.kid}`;
    expect(await found(entries)).toEqual(both(finding));
    expect(await found(entries, null)).toEqual(both(finding));
  });

  it('cannot use for one request what was signed for another', async () => {
    const token = receipt('req_2', digest, [approver('ada', ada.sign(digest))]);
    const first = receipt('req_1', digest, [approver('ada', ada.sign(digest))]);
    const honest = [opened('req_1', digest), approved('req_1', first)];
    expect(await found([...honest, opened('req_2', newDigest()), approved('req_2', token)])).toEqual(
      both('receipt 6: the request was opened with another digest than the receipt has'),
    );
    expect(await found([...honest, opened('req_2', digest), approved('req_2', token)])).toEqual(
      both(
        'receipt 4: another request was opened with the digest of the receipt: req_2',
        'receipt 6: another request was opened with the digest of the receipt: req_1',
      ),
    );
    expect(await found([...honest, approved('req_2', token)])).toEqual(
      both('receipt 5: another request was opened with the digest of the receipt: req_1'),
    );
  });

  it('cannot put a passkey where the installation’s keys are', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const jwk = { ...publicKey.export({ format: 'jwk' }), countersign_person: 'mallory' };
    const forger = {
      ...makeSigner(),
      publicJwk: jwk,
      sign: (bytes: Uint8Array) => sign(null, bytes, privateKey),
    };
    const made = { ...forger, kid: makeKid(jwk.x ?? '') };
    const { sql, cli } = await found([opened('req_1', digest)], { keys: [...kept.keys, jwk] }, made);
    expect(sql).toEqual([
      `endorsement 1: the stream's key is endorsed by ${made.kid}, which is not among the trusted keys`,
    ]);
    expect(cli).toEqual(sql);
  });
});

function makeKid(x: string): string {
  return thumbprintOf({ kty: 'OKP', crv: 'Ed25519', x }) ?? '';
}

describe('whoever has the database alone', () => {
  it('cannot take an assertion out of a receipt', async () => {
    const bare = receipt('req_1', digest, [approver('ada')]).split('.')[1];
    const tamper = `UPDATE audit.entry SET receipt = split_part(receipt, '.', 1) || '.${bare}.' || split_part(receipt, '.', 3)
      WHERE receipt IS NOT NULL`;
    const { sql, cli } = await found(
      [opened('req_1', digest), approved('req_1', good)],
      kept,
      signer,
      tamper,
    );
    const wanted = [`passkey 4: ${MISSING}`, 'receipt 4: the signature does not fit the receipt'];
    expect(sql).toEqual(expect.arrayContaining(wanted));
    expect(cli).toEqual(sql);
  });
});

describe('revocation', () => {
  const other = makeSigner();
  const seconds = (iso: string) => Date.parse(iso) / 1000;
  const micros = (iso: string) => BigInt(Date.parse(iso)) * 1000n;
  const at = (moment: string, key: Readonly<Record<string, unknown>>): Jwks => ({
    keys: kept.keys,
    revoked: [{ ...key, revoked: { revoked_at: seconds(moment), reason: 'compromised' } }],
  });
  const DAY = new Date().toISOString().slice(0, 10);
  const plain = receipt('req_1', digest, [approver('ada', {}, 1)], other);
  const late = `receipt 3: the receipt is signed with a key that was revoked by then: ${other.kid}`;

  it.each<[string, string, string, readonly string[]]>([
    ['before', '00:00:09.999', '00:00:10', []],
    ['at', '00:00:10.000', '00:00:10', [late]],
    ['after', '00:00:11.000', '00:00:10', [late]],
  ])('of the key of a receipt: a row from %s it', async (_what, row, moment, wanted) => {
    const entries = [approved('req_1', plain, micros(`${DAY}T${row}Z`))];
    expect(await found(entries, at(`${DAY}T${moment}Z`, other.publicJwk))).toEqual(both(...wanted));
  });

  it('that does not say since when: the key never counted', async () => {
    const entries = [approved('req_1', plain, micros(`${DAY}T00:00:01Z`))];
    expect(await found(entries, { keys: kept.keys, revoked: [other.publicJwk] })).toEqual(both(late));
    const within = { keys: [...kept.keys, { ...other.publicJwk, revoked: {} }] };
    expect(await found(entries, within)).toEqual(both(late));
  });

  it('that the log has: what is older stays good, what is younger is found', async () => {
    const brings = event('key', {
      detail: { kid: other.kid, public_jwk: JSON.stringify(other.publicJwk), purpose: 'installation' },
    });
    const entries = (moment: string) => [
      brings,
      revoked(other.kid, `${DAY}T00:00:10Z`),
      approved('req_1', plain, micros(`${DAY}T${moment}Z`)),
    ];
    expect(await found(entries('00:00:09'), null)).toEqual(both());
    expect(await found(entries('00:00:10'), null)).toEqual(both(late.replace('3', '5')));
  });

  it('of the key that endorsed a stream, before the stream began', async () => {
    const line = `endorsement 1: the stream's key is endorsed by ${other.kid}, which was revoked before the stream began`;
    const entries = [opened('req_1', digest)];
    expect(await found(entries, at('2026-01-01T00:00:00Z', other.publicJwk), other)).toEqual(both(line));
    const tomorrow = new Date(Date.now() + 86_400_000).toISOString();
    expect(await found(entries, at(tomorrow, other.publicJwk), other)).toEqual(both());
  });

  it('of a passkey: what its device signed before stays good', async () => {
    const token = receipt('req_1', digest, [approver('ada', ada.sign(digest))]);
    const set = { ...at(`${DAY}T00:00:10Z`, ada.of('ada')), keys: [signer.publicJwk] };
    const of = (moment: string) => [approved('req_1', token, micros(`${DAY}T${moment}Z`))];
    expect(await found(of('00:00:09'), set)).toEqual(both());
    expect(await found(of('00:00:10'), set)).toEqual(
      both(`passkey 3: the passkey of ada was revoked by then: ${ada.kid}`),
    );
    const logged = [keyOf(ada, 'ada'), revoked(ada.kid, `${DAY}T00:00:10Z`), ...of('00:00:10')];
    expect(await found(logged, null)).toEqual(
      both(`passkey 5: the passkey of ada was revoked by then: ${ada.kid}`),
    );
  });
});
