import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ByteWriter } from '../../src/audit/chain/bytes.ts';
import { columnsOf } from '../../src/audit/chain/canonical.ts';
import { contentHash, rowHash } from '../../src/audit/chain/chain.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { COPIED_SQL, CopiedRows } from '../../src/audit/verify/copied-rows.ts';
import { copyOut } from '../../src/audit/verify/copy-out.ts';
import type { Linked, StoredRow } from '../../src/audit/verify/verify.ts';
import { verifySnapshot } from '../../src/audit/verify/verify-database.ts';
import { makeStream } from './stream-maker.ts';
import {
  type AuditDatabase,
  createAuditDatabase,
  event,
  intent,
  makeSigner,
  outcome,
  SESSION,
} from './support.ts';

const signer = makeSigner();
const keys = { keys: [signer.publicJwk] };
let database: AuditDatabase;
let admin: pg.Client;

const ENTRIES = [
  intent(1, { parameters: ['a', null, '', 'é\n"\\{}'], sql: `SELECT 'ü𝄞' -- {a,"b"}`, relations: [] }),
  outcome(1, { approvers: ['owner', 'approver'] }),
  intent(2, {
    sql: '',
    reasons: ['one', 'two'],
    session: { ...SESSION, tls: true, runVerified: true },
  }),
  outcome(2, { tag: null, sqlstate: '42501', rows: -1n, bytes: 2n ** 62n }),
  event('verdict', {
    requestId: 'req_1',
    people: ['approver'],
    receipt: 'a.b.c',
    detail: { reason: 'ticket' },
  }),
  intent(3, {
    sql: 'x'.repeat(200_000),
    parameters: [],
    requestId: 'req_1',
    session: { ...SESSION, onBehalfOf: 'deputy' },
  }),
];

beforeAll(async () => {
  database = await createAuditDatabase();
  admin = new pg.Client(database.url);
  await admin.connect();
  const made = makeStream(signer);
  for (const batch of [made.start(), made.batch(ENTRIES)]) await admin.query(appendCall('audit', batch));
  await admin.query('ALTER TABLE audit.entry DISABLE TRIGGER ALL');
});
afterAll(async () => {
  await admin.end();
  await database.dropAll();
});

const COPY = `COPY (SELECT ${COPIED_SQL} FROM audit.entries ORDER BY seq) TO STDOUT (FORMAT binary)`;

async function copied(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  await copyOut(admin, COPY, (chunk) => chunks.push(Buffer.from(chunk)));
  return Buffer.concat(chunks);
}

function read(pieces: Iterable<Buffer>) {
  const sound: Linked[] = [];
  const rows: StoredRow[] = [];
  const reader = new CopiedRows({ sound: (row) => sound.push(row), row: (row) => rows.push(row) });
  for (const piece of pieces) reader.take(piece);
  reader.end();
  return { sound, rows, count: reader.count };
}

async function altered(sql: string): Promise<string[]> {
  await admin.query('BEGIN');
  try {
    await admin.query(sql);
    const { findings } = await verifySnapshot(admin, 'audit', keys);
    const { rows } = await admin.query(
      `SELECT "check", seq FROM audit.verify(keys => $1) WHERE NOT ok AND seq IS NOT NULL`,
      [JSON.stringify(keys)],
    );
    const inSql = new Set(rows.map(({ check, seq }) => `${check} ${seq}`));
    return findings.map(({ check, seq }) => `${check} ${seq}`).filter((one) => inSql.has(one));
  } finally {
    await admin.query('ROLLBACK');
  }
}

describe('rows of a binary COPY', () => {
  test('those of statements are found right from their bytes, others are decoded', async () => {
    const { sound, rows, count } = read([await copied()]);
    expect(count).toBe(8);
    expect(sound.map(({ row }) => row.seq)).toEqual([3n, 4n, 5n, 6n, 8n]);
    expect(rows.map(({ row }) => row.kind)).toEqual(['log_start', 'key', 'verdict']);
    for (const { row, content, prevHash, hash } of rows) {
      expect(rowHash(prevHash, row)).toEqual(hash);
      expect(row.content).toEqual(content === null ? null : contentHash(content));
    }
  });

  test('however the bytes come in pieces', async () => {
    const bytes = await copied();
    const whole = read([bytes]);
    const inOnes = function* () {
      // The long text in larger pieces: each piece of an open row copies what there is of it.
      for (let at = 0; at < bytes.length; ) {
        const size = at > 8_000 && at < bytes.length - 300 ? 50_000 : 1;
        yield bytes.subarray(at, at + size);
        at += size;
      }
    };
    expect(read(inOnes())).toEqual(whole);
    expect(() => read([bytes.subarray(0, -1)])).toThrow(RangeError);
    expect(() => read([bytes.subarray(0, 200)])).toThrow(RangeError);
    expect(() => read([Buffer.from('PGCOPX\n'.padEnd(40))])).toThrow(RangeError);
  });

  test('an error of the server, or of who takes the bytes, leaves the connection usable', async () => {
    await expect(copyOut(admin, 'COPY nothing TO STDOUT', () => {})).rejects.toThrow('nothing');
    const fails = () => {
      throw new RangeError('not these');
    };
    await expect(copyOut(admin, COPY, fails)).rejects.toThrow('not these');
    expect((await admin.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  });
});

describe('a change of any column of a statement', () => {
  const other: Readonly<Record<string, string>> = {
    integer: '777',
    boolean: 'true',
    time: `at + interval '1 microsecond'`,
    text: `'zzz'`,
    bytes: `sha256('x')`,
    texts: `'{zzz}'`,
  };
  const columns = (columnsOf(1n) ?? []).filter(({ name }) => !['stream', 'seq', 'version'].includes(name));

  test.each(columns.map(({ name, type }) => [name, other[type] ?? '']))('%s', async (name, value) => {
    for (const seq of [3, 4])
      expect(await altered(`UPDATE audit.entry SET ${name} = ${value} WHERE seq = ${seq}`)).toContain(
        `row_hash ${seq}`,
      );
  });

  test.each([
    ['sql', `sql || ' '`],
    ['sql_sha256', `sha256('x')`],
    ['parameters', `'{a}'`],
    ['salt', 'NULL'],
    ['salt', `'\\x00'`],
  ])('beside the chain: %s', async (name, value) => {
    expect(await altered(`UPDATE audit.entry SET ${name} = ${value} WHERE seq = 3`)).toContain('content 3');
  });

  test('what is beside the chain, put where there was nothing', async () => {
    expect(await altered(`UPDATE audit.entry SET sql = 'SELECT 1' WHERE seq = 4`)).toContain('content 4');
  });

  test.each([
    ['nested', `'{{one,two}}'`],
    ['counted from another number', `'[0:1]={one,two}'`],
    ['with nothing in it for nothing', `NULL`],
  ])('a list %s', async (_what, value) => {
    expect(await altered(`UPDATE audit.entry SET reasons = ${value} WHERE seq = 5`)).toContain('row_hash 5');
  });

  test('a row before the first', async () => {
    const fake = `INSERT INTO audit.entry (version, stream, seq, at, kind, sql, prev_hash, hash)
      SELECT version, stream, -5, at, kind, sql, prev_hash, hash FROM audit.entry WHERE seq = 3`;
    const unchecked = `ALTER TABLE audit.entry DROP CONSTRAINT entry_seq_check`;
    expect(await altered(`${unchecked}; ${fake}`)).toContain('gap -5');
  });
});

test.each(['', '\\', '\\x41', '\\101', 'end\\', '\\\\', 'é𝄞\\', '\'"{}', 'NULL', '\u0001'])(
  'the bytes of a text in SQL: %j',
  async (text) => {
    const { rows } = await admin.query(
      `SELECT audit.field($1::text) AS one, audit.field(ARRAY[$1::text]) AS list, audit.field(ARRAY[$1::text, NULL]) AS two`,
      [text],
    );
    const writer = new ByteWriter();
    const bytes = (write: () => void) => {
      writer.seek(0);
      write();
      return Buffer.from(writer.written());
    };
    expect(rows[0].one).toEqual(bytes(() => writer.textField(text)));
    expect(rows[0].list).toEqual(bytes(() => writer.textsField([text])));
    expect(rows[0].two).toEqual(bytes(() => writer.textsField([text, null])));
  },
);
