import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../src/audit/chain/bytes.ts';
import { GENESIS_HASH, rowHash } from '../../src/audit/chain/chain.ts';
import type { Entry, IntentEntry } from '../../src/audit/entry.ts';
import { SALT_BYTES, saltsOf } from '../../src/audit/journal/block.ts';
import type { RawRecord } from '../../src/audit/journal/journal-reader.ts';
import { KIND_NUMBERS, readRecord, writeRecord } from '../../src/audit/journal/record.ts';
import { appendText, signBatch } from '../../src/audit/shipping/batch.ts';
import { BatchEncoder } from '../../src/audit/shipping/batch-encoder.ts';
import { entryRow } from '../../src/audit/shipping/row.ts';
import { createStreamKey, keyEntry, streamStart } from '../../src/audit/shipping/stream-key.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  event,
  intent,
  makeSigner,
  now,
  outcome,
  SESSION,
} from './support.ts';

let database: AuditDatabase;
let writer: pg.Client;
const signer = makeSigner();
const key = createStreamKey();
const secret = randomBytes(32);

beforeAll(async () => {
  database = await createAuditDatabase();
  writer = new pg.Client(database.writerUrl);
  await writer.connect();
});
afterAll(async () => {
  await writer.end();
  await database.dropAll();
});

function raw(entries: readonly Entry[]): RawRecord[] {
  return entries.map((entry, i) => {
    const bytes = new ByteWriter(16);
    const seq = BigInt(i) + 1n;
    writeRecord(bytes, seq, entry);
    return { seq, kind: KIND_NUMBERS[entry.kind], record: Buffer.from(bytes.written()), segment: 1 };
  });
}

const head = { seq: 0n, hash: GENESIS_HASH };
const text = fc.string({ unit: 'binary', maxLength: 90 });
/** As `factsText` makes them: what is no JSON, or what jsonb cannot hold, is refused by the database. */
const name = text.map((any) => any.replaceAll('\0', ''));
const facts = fc
  .record({ v: fc.constant(1), command: name, tags: fc.array(name) })
  .map((told) => JSON.stringify(told));
const session = fc
  .record({ agent: text, owner: fc.option(text), runVerified: fc.boolean(), tls: fc.boolean() })
  .map((change) => ({ ...SESSION, ...change }));
const entries: fc.Arbitrary<Entry[]> = fc.array(
  fc.oneof(
    fc
      .record({
        session,
        sql: text,
        rule: text,
        reasons: fc.array(text),
        relations: fc.array(text),
        requestId: fc.option(text),
        parameters: fc.option(fc.array(fc.option(text))),
        observed: fc.option(fc.record({ rule: text, decision: fc.constantFrom('allow', 'hold', 'deny') }), {
          nil: undefined,
        }),
        facts: fc.option(facts, { nil: undefined }),
        fingerprint: fc.option(text, { nil: undefined }),
      })
      .map(({ observed, facts, fingerprint, ...change }) =>
        intent(7, {
          ...change,
          ...(observed === undefined ? {} : { observed }),
          ...(facts === undefined ? {} : { facts }),
          ...(fingerprint === undefined ? {} : { fingerprint }),
        }),
      ),
    fc
      .record({
        session,
        tag: fc.option(text),
        sqlstate: fc.option(text),
        requestId: fc.option(text),
        rows: fc.bigInt({ min: 0n, max: 2n ** 62n }),
        approvers: fc.array(text),
        rest: fc.option(
          fc.record({
            class: fc.constantFrom('export', 'opaque'),
            rule: text,
            reasons: fc.array(text),
            refusedBy: fc.constantFrom('policy' as const, 'limit' as const, null),
          }),
          { nil: undefined },
        ),
        transactionStatus: fc.option(fc.constantFrom('I' as const, 'T' as const, 'E' as const), {
          nil: undefined,
        }),
      })
      .map(({ rest, transactionStatus, ...change }) =>
        outcome(2 ** 40, {
          ...change,
          ...(rest === undefined ? {} : { rest }),
          ...(transactionStatus === undefined ? {} : { transactionStatus }),
        }),
      ),
    fc
      .record({ receipt: fc.option(text), people: fc.array(text), session: fc.option(session) })
      .map((change) => event('verdict', { ...change, detail: { a: 'ü\0', b: '' } })),
  ),
  { minLength: 1, maxLength: 20 },
);

test('a batch copied from the journal has the hashes of the rows that its entries are', () => {
  const encoder = new BatchEncoder({ stream: 's', saltSecret: secret, key });
  fc.assert(
    fc.property(entries, (some) => {
      const salts = saltsOf(secret, 1n, some.length);
      const rows = some.map((entry, i) =>
        entryRow(entry, 's', BigInt(i) + 1n, salts.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES)),
      );
      const plain = signBatch(head, 's', rows, key);
      const encoded = encoder.encode(head, raw(some));
      expect(encoded.facts).toEqual(plain.facts);
      expect(encoded.values[4]).toEqual(plain.signature);
      expect(encoded.statements.length).toBe(some.filter(({ kind }) => kind !== 'verdict').length);
    }),
  );
});

test('the database reads from it what was hashed, whatever texts the agents chose', async () => {
  let no = 0;
  await fc.assert(
    fc.asyncProperty(entries, async (some) => {
      no += 1;
      const stream = `20260101T000000Z-${String(no).padStart(4, '0')}`;
      const all = [
        streamStart(stream, key, signer, now(), { purpose: 'test' }),
        keyEntry(signer.kid, signer.publicJwk, 'audit', now()),
        ...some,
      ];
      const { values, facts } = new BatchEncoder({ stream, saltSecret: secret, key }).encode(head, raw(all));
      const { rows } = await writer.query(appendText('audit'), [...values]);
      expect(rows[0]).toEqual({ head_seq: String(all.length), head_hash: facts.hash });
    }),
    { numRuns: 40 },
  );
  // The receipts are made up.
  const bad = `SELECT * FROM audit.verify() WHERE NOT ok AND "check" <> 'receipt'`;
  expect((await database.query(bad)).rows).toEqual([]);
}, 60_000);

test('what a record has is read back, and records of before facts were recorded still are', () => {
  const observed = { rule: 'trial', decision: 'hold' } as const;
  for (const more of [{}, { observed }, { facts: '{"v":1}' }, { observed, facts: '{"v":1}' }]) {
    const entry = intent(1, more);
    const [record] = raw([entry]);
    expect(readRecord(new ByteReader(record?.record ?? Buffer.alloc(0))).entry).toEqual(entry);
  }
  // As they were written then: rule and decision at the end, or nothing.
  const [plain] = raw([intent(1, { at: 5n })]);
  const before = new ByteWriter(16);
  before.raw(plain?.record ?? Buffer.alloc(0));
  before.textsField(['trial', 'hold']);
  before.int32At(0, before.length - 4);
  const [now] = raw([intent(1, { at: 5n, observed })]);
  expect(Buffer.from(before.written())).toEqual(now?.record);
});

test('a row without facts has the hash that it always had', () => {
  const salt = Buffer.alloc(SALT_BYTES, 1);
  const hashOf = (more: Partial<IntentEntry>) =>
    rowHash(GENESIS_HASH, entryRow(intent(1, { at: 5n, ...more }), 's', 1n, salt).row).toString('hex');
  expect(hashOf({})).toBe('bca8107950ca976ce750de70c3c227cdfedc838af446380d451e9e0a2dd3db56');
  expect(hashOf({ observed: { rule: 'trial', decision: 'hold' } })).toBe(
    'a5bbb5179f76d649c31bcb2cdd3996338f48b8d5ab5850820e7eb1dfdac98f29',
  );
  expect(hashOf({ facts: '{"v":1}' })).not.toBe(hashOf({}));
});

test('salts depend on the secret and the number alone, and every entry has its own', () => {
  const salts = saltsOf(secret, 5n, 100);
  expect(saltsOf(secret, 7n, 1)).toEqual(salts.subarray(2 * SALT_BYTES, 3 * SALT_BYTES));
  const each = Array.from({ length: 100 }, (_, i) =>
    salts.toString('hex', i * SALT_BYTES, (i + 1) * SALT_BYTES),
  );
  expect(new Set(each).size).toBe(100);
  expect(saltsOf(randomBytes(32), 5n, 1)).not.toEqual(salts.subarray(0, SALT_BYTES));
});
