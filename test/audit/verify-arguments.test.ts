import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { parseCheckpoint } from '../../src/audit/checkpoints/checkpoint.ts';
import { verifySnapshot } from '../../src/audit/verify/verify-database.ts';
import { verifyCommand } from '../../src/cli/verify.ts';
import { type AuditDatabase, createAuditDatabase } from './support.ts';
import { NEW, OLD, STREAMS } from './tampering/base-log.ts';
import { fixedKey, noteOf } from './tampering/log-model.ts';
import { FIXTURE, type Fixture } from './tampering/make.ts';

const fixture: Fixture = JSON.parse(readFileSync(FIXTURE, 'utf8'));
const { keys, checkpoint: note } = fixture;
const kept = parseCheckpoint(note);
const STRANGER = fixedKey('a stranger');
const directory = mkdtempSync(join(tmpdir(), 'cs-arguments-'));

let database: AuditDatabase;
let admin: pg.Client;

beforeAll(async () => {
  database = await createAuditDatabase();
  admin = new pg.Client(database.url);
  await admin.connect();
  await admin.query(`SELECT audit.ensure_day('2026-03-01'), audit.ensure_day('2026-03-02')`);
  for (const table of ['entry', 'batch', 'stream', 'signing_key', 'leaf', 'checkpoint'])
    await admin.query(`ALTER TABLE audit.${table} DISABLE TRIGGER ALL`);
  await admin.query(fixture.log.join(';'));
});
afterAll(async () => {
  await admin?.end();
  await database?.dropAll();
  rmSync(directory, { recursive: true, force: true });
});

type Given = {
  readonly from?: string | null;
  readonly to?: string | null;
  readonly checkpoint?: string | null;
  readonly keys?: unknown;
  readonly full?: boolean | null;
};

/** What is not ok; `keys` left out: the right ones. Rejects with SQL's error. */
async function bySql(given: Given): Promise<string[]> {
  const { from = null, to = null, checkpoint = null, full = true } = given;
  const jwks = given.keys === undefined ? keys : given.keys;
  const { rows } = await admin.query(
    `SELECT stream, seq, "check" FROM audit.verify($1, $2, $3, $4, $5) WHERE ok IS NOT TRUE AND seq IS NOT NULL`,
    [from, to, checkpoint, jwks === null ? null : JSON.stringify(jwks), full],
  );
  return rows.map(({ stream, seq, check }) => `${check} ${stream} ${seq}`).sort();
}

/** `countersign verify`: its exit code, and what it printed or why it did not check. */
async function byProgram(
  options: Readonly<Record<string, string>>,
): Promise<{ code: number; output: string }> {
  const program = new Command().exitOverride();
  verifyCommand(program);
  let output = '';
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    output += String(text);
    return true;
  });
  try {
    const words = Object.entries({ url: database.auditorUrl, ...options }).map(([k, v]) => [`--${k}`, v]);
    await program.parseAsync(['node', 'countersign', 'verify', ...words.flat()]);
    return { code: Number(process.exitCode ?? 0), output };
  } catch (error) {
    return { code: Number(Reflect.get(Object(error), 'exitCode')), output: String(error) };
  } finally {
    write.mockRestore();
    process.exitCode = undefined;
  }
}

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}
const withKeys = (jwks: unknown) => byProgram({ keys: file('jwks.json', JSON.stringify(jwks)) });
const withNote = (text: string) =>
  byProgram({ keys: file('jwks.json', JSON.stringify(keys)), checkpoint: file('kept.note', text) });

async function undone(sql: readonly string[], look: () => Promise<void>): Promise<void> {
  await admin.query('BEGIN');
  try {
    for (const statement of sql) await admin.query(statement);
    await look();
  } finally {
    await admin.query('ROLLBACK');
  }
}

/** Rows 4 and 5 of `main`, in the middle of a batch from 3 to 7. */
const MIDDLE = { from: '2026-03-01 23:58:11+00', to: '2026-03-01 23:58:12+00' } as const;
const main = STREAMS.main;
const row = (seq: number) => `stream = '${main}' AND seq = ${seq}`;

describe('a time', () => {
  it('that is none is an error', async () => {
    const { from, to } = MIDDLE;
    for (const none of [
      { from: to, to: from },
      { from: 'infinity', to: '-infinity' },
      { from: '2026-03-03 00:00:00+00', to: '2026-03-01 00:00:00+00' },
    ])
      await expect(bySql(none), JSON.stringify(none)).rejects.toMatchObject({
        code: '22023',
        message: expect.stringMatching(/^no time lies between "from" and "to"/),
      });
  });

  it('left open, without end or a single moment is one', async () => {
    const { from, to } = MIDDLE;
    for (const given of [
      { from: null, to: null },
      { from: '-infinity', to: 'infinity' },
      { from },
      { to },
      { from, to: from },
      { full: null },
    ])
      expect(await bySql(given), JSON.stringify(given)).toEqual([]);
    expect(await bySql({ keys: null, checkpoint: null, full: null })).toEqual([]);
  });

  it('of no rows is said to be of none', async () => {
    const { rows } = await admin.query(
      `SELECT "check", ok, detail FROM audit.verify('2020-01-01', '2020-01-02') WHERE "check" IN ('row_hash', 'batch_signature')`,
    );
    expect(rows).toEqual([
      { check: 'row_hash', ok: true, detail: '0 rows, hashed again from their columns' },
      { check: 'batch_signature', ok: true, detail: '0 of 0 batches against their signatures' },
    ]);
  });

  const edit = (seq: number) => `UPDATE audit.entry SET agent = 'x' WHERE ${row(seq)}`;
  const flip = `UPDATE audit.batch SET signature = set_byte(signature, 9, get_byte(signature, 9) # 1)
                 WHERE stream = '${main}' AND from_seq = 3`;
  it.each<[string, string, string[]]>([
    ['a row of it edited', edit(5), [`row_hash ${main} 5`]],
    ['a row after it edited', edit(7), []],
    ['the signature of its batch', flip, [`batch_signature ${main} 3`]],
    ['its last row deleted', `DELETE FROM audit.entry WHERE ${row(5)}`, [`gap ${main} 6`]],
    ['its first row deleted', `DELETE FROM audit.entry WHERE ${row(4)}`, [`gap ${main} 5`]],
    [
      'all of its rows deleted',
      `DELETE FROM audit.entry WHERE stream = '${main}' AND seq IN (4, 5)`,
      [`gap ${main} 6`],
    ],
    [
      'its last row written anew, with its hash',
      `${edit(5)}; UPDATE audit.entry e SET hash = audit.entry_hash(e) WHERE ${row(5)}`,
      [`link ${main} 6`],
    ],
  ])('in the middle of a batch: %s', async (_what, sql, finds) => {
    await undone([sql], async () => {
      expect((await bySql(MIDDLE)).filter((line) => !line.startsWith('key '))).toEqual(finds);
      const { rows } = await admin.query(
        `SELECT "check" FROM audit.verify($1, $2, keys => $3, "full" => true) WHERE NOT ok AND seq IS NULL`,
        [MIDDLE.from, MIDDLE.to, JSON.stringify(keys)],
      );
      // The line of the check that found it says so, too.
      const checks = finds.map((line) => line.split(' ')[0]?.replace('gap', 'link'));
      expect(rows.map(({ check }) => check)).toEqual(checks);
    });
  });
});

describe('a column emptied that is never empty', () => {
  const nulls = (table: string, column: string) => `ALTER TABLE audit.${table} ALTER ${column} DROP NOT NULL`;
  it.each<[string, string[], string]>([
    [
      'a row put in without a number, with its hash',
      [
        'ALTER TABLE audit.entry DROP CONSTRAINT entry_pkey',
        nulls('entry', 'seq'),
        `INSERT INTO audit.entry SELECT (jsonb_populate_record(e, '{"seq": null}')).* FROM audit.entry e WHERE ${row(4)}`,
        'UPDATE audit.entry e SET hash = audit.entry_hash(e) WHERE seq IS NULL',
      ],
      `row_hash ${main} 0`,
    ],
    [
      'a row put in without a time, with its hash',
      [
        'ALTER TABLE audit.entry DROP CONSTRAINT entry_pkey',
        nulls('entry', 'at'),
        'CREATE TABLE audit.entry_any PARTITION OF audit.entry DEFAULT',
        `INSERT INTO audit.entry SELECT (jsonb_populate_record(e, '{"at": null}')).* FROM audit.entry e WHERE ${row(4)}`,
        'UPDATE audit.entry e SET hash = audit.entry_hash(e) WHERE at IS NULL',
      ],
      `row_hash ${main} 4`,
    ],
    [
      'when a stream began, which says whether its key was revoked by then',
      [nulls('stream', 'started_at'), `UPDATE audit.stream SET started_at = NULL WHERE stream = '${main}'`],
      `head ${main} 12`,
    ],
    [
      'the head of a stream',
      [nulls('stream', 'head_hash'), `UPDATE audit.stream SET head_hash = NULL WHERE stream = '${main}'`],
      `head ${main} 12`,
    ],
    [
      'a leaf',
      [nulls('leaf', 'hash'), `UPDATE audit.leaf SET hash = NULL WHERE index = 0`],
      `tree ${main} 1`,
    ],
  ])('%s', async (_what, sql, finding) => {
    await undone(sql, async () => {
      expect(await bySql({})).toContain(finding);
      expect(await bySql({ full: false })).toContain(finding);
      const { findings, whole, altered } = await verifySnapshot(admin, 'audit', keys);
      expect(findings.map(({ check, stream, seq }) => `${check} ${stream} ${seq}`)).toContain(finding);
      expect({ whole, altered }).toEqual({ whole: false, altered: true });
    });
  });
});

describe('keys that are none', () => {
  const ed25519 = OLD.publicJwk;
  const RSA = { kty: 'RSA', n: 'AQAB', e: 'AQAB' };
  const EC = keys.keys[2];
  const NONE: readonly unknown[] = [
    'text',
    1,
    [],
    [ed25519],
    {},
    { keys: null },
    { keys: {} },
    { keys: 'x' },
    { keys: [] },
    { keys: [null, 1, 'x', [], {}] },
    { keys: [RSA] },
    { keys: [EC] },
    { keys: [{ ...ed25519, countersign_person: 'reviewer' }] },
    { keys: [{ ...ed25519, x: ed25519.x.slice(1) }] },
    { keys: [{ ...ed25519, x: `${ed25519.x}=` }] },
    { keys: [{ ...ed25519, crv: 'X25519' }] },
    { keys: [{ ...ed25519, kty: 'okp' }] },
    { key: [ed25519] },
  ];
  it.each(NONE.map((jwks) => [JSON.stringify(jwks), jwks]))('%s', async (_text, jwks) => {
    await expect(bySql({ keys: jwks })).rejects.toMatchObject({
      code: '22023',
      message: expect.stringContaining('keys is no JWK set with an Ed25519 key in it'),
    });
    expect(await withKeys(jwks)).toMatchObject({
      code: 2,
      output: expect.stringMatching(/is not a JWK set|has no Ed25519 key of an installation in it/),
    });
  });

  it('JSON’s null, and what is no JSON', async () => {
    await expect(admin.query(`SELECT * FROM audit.verify(keys => 'null')`)).rejects.toMatchObject({
      code: '22023',
    });
    await expect(admin.query(`SELECT * FROM audit.verify(keys => '{"keys"')`)).rejects.toMatchObject({
      code: '22P02',
    });
    expect((await withKeys(null)).code).toBe(2);
    expect((await byProgram({ keys: file('jwks.json', '{"keys"') })).code).toBe(2);
  });

  it.each(['d', 'k', 'p', 'q', 'dp', 'dq', 'qi', 'oth'])(
    'a private one (%s), whose secret no message repeats',
    async (member) => {
      const secret = 'c2VjcmV0IHNlY3JldA';
      for (const jwks of [
        { keys: [ed25519, { ...ed25519, [member]: secret }] },
        { keys: [ed25519], revoked: [{ ...RSA, [member]: secret }] },
      ]) {
        const error: unknown = await bySql({ keys: jwks }).catch((reason: unknown) => reason);
        expect(error).toMatchObject({
          code: '22023',
          message: expect.stringContaining('private or secret key'),
        });
        expect(JSON.stringify(error) + String(error)).not.toContain(secret);
        const { code, output } = await withKeys(jwks);
        expect({ code, output }).toEqual({
          code: 2,
          output: expect.stringContaining('has a private or secret key in it'),
        });
        expect(output).not.toContain(secret);
      }
    },
  );
});

describe('keys', () => {
  const [first, second, passkey] = keys.keys;
  const revokedAt = (revoked_at: unknown) => [{ ...NEW.publicJwk, revoked: { revoked_at } }];
  const whole: readonly (readonly [string, unknown])[] = [
    ['twice', { keys: [first, first, second, second, passkey, passkey] }],
    [
      'under names that are not theirs',
      { keys: [{ ...first, kid: NEW.kid }, { ...second, kid: OLD.kid }, passkey] },
    ],
    [
      'beside others of their name',
      { keys: [{ ...STRANGER.publicJwk, kid: OLD.kid }, first, second, passkey] },
    ],
    [
      'beside kinds that nobody knows',
      { keys: [{ kty: 'LMS' }, { kty: 7 }, null, first, second, passkey].filter(Boolean) },
    ],
    ['revoked at the end of all days', { keys: [first, passkey], revoked: revokedAt(1e308) }],
  ];
  it.each(whole)('%s are good', async (_what, jwks) => {
    expect(await bySql({ keys: jwks })).toEqual([]);
    expect(await withKeys(jwks)).toMatchObject({ code: 0, output: expect.stringMatching(/^whole: 35 rows/) });
  });

  const notWhole: readonly (readonly [string, unknown])[] = [
    ['another’s alone', { keys: [STRANGER.publicJwk, passkey] }],
    ['another’s under the right name', { keys: [{ ...STRANGER.publicJwk, kid: NEW.kid }, first, passkey] }],
    ['one of two', { keys: [first, passkey] }],
    ['revoked before all days', { keys: [first, passkey], revoked: revokedAt(-1e308) }],
    ['revoked in 1970', { keys: [first, passkey], revoked: revokedAt(0) }],
    ['revoked, nobody knows when', { keys: [first, passkey], revoked: revokedAt('never') }],
    ['current and revoked', { keys: [first, second, passkey], revoked: revokedAt(0) }],
  ];
  it.each(notWhole)('%s are not', async (_what, jwks) => {
    expect(await bySql({ keys: jwks })).toContain(`endorsement ${STREAMS.next} 1`);
    expect(await withKeys(jwks)).toMatchObject({
      code: 1,
      output: expect.stringContaining(`stream ${STREAMS.next} row 1: endorsement`),
    });
  });
});

describe('a checkpoint', () => {
  const { size = 0n, root = Buffer.alloc(0) } = kept ?? {};
  const empty = createHash('sha256').digest();
  const witness = `— witness.example.com/w ${Buffer.alloc(68, 7).toString('base64')}\n`;
  const own = note.slice(note.indexOf('\n\n') + 2);

  it.each([
    ['as it was kept', note],
    ['with a witness before and after', note.replace('\n\n', `\n\n${witness}`) + witness],
    ['with its own signature twice', note + own],
    ['of the log’s key at an earlier time, which signed nothing', noteOf(0n, empty, NEW)],
  ])('%s is good', async (_what, text) => {
    expect(await bySql({ checkpoint: text })).toEqual([]);
    expect(await withNote(text)).toMatchObject({ code: 0 });
  });

  it.each([
    ['empty', ''],
    ['a text', 'whole'],
    ['with other line ends', note.replaceAll('\n', '\r\n')],
    ['without its last line feed', note.slice(0, -1)],
    ['without its signature', note.slice(0, note.indexOf('\n\n') + 2)],
    ['cut in its signature', `${note.slice(0, -12)}\n`],
    ['cut in its root', note.slice(0, 40)],
    ['with a size that is none', note.replace(`\n${size}\n`, '\n-1\n')],
    ['with a size of zeros in front', note.replace(`\n${size}\n`, `\n0${size}\n`)],
    ['as JSON', JSON.stringify({ note: 1 })],
  ])('that is none is an error: %s', async (_what, text) => {
    const sql = bySql({ checkpoint: text });
    // A signature that was cut may still be base64: then it is none of a trusted key.
    if (_what === 'cut in its signature') {
      const found = await sql.catch((error: unknown) => Reflect.get(Object(error), 'code'));
      expect([['checkpoint null 14'], '22023']).toContainEqual(found);
    } else
      await expect(sql).rejects.toMatchObject({
        code: '22023',
        message: expect.stringMatching(/^checkpoint is/),
      });
    expect((await withNote(text)).code).toBeGreaterThan(0);
  });

  it.each<[string, string, bigint]>([
    ['of a log with another key', noteOf(size, root, STRANGER), size],
    [
      'of another origin, with its signature',
      note.replace('countersign/fixture', 'countersign/another'),
      size,
    ],
    ['of another log under the same key', noteOf(3n, Buffer.alloc(32, 3), NEW), 3n],
    ['of the same size with another root', noteOf(size, Buffer.alloc(32, 3), NEW), size],
    ['of nothing, with a root', noteOf(0n, Buffer.alloc(32, 3), NEW), 0n],
    ['larger than the log', noteOf(size + 5n, root, NEW), size + 5n],
    ['far larger than the log', noteOf(10n ** 17n, root, NEW), 10n ** 17n],
    ['with another size than was signed', note.replace(`\n${size}\n`, '\n2\n'), 2n],
    ['with two notes in one', note + note, size],
  ])('%s is found', async (_what, text, at) => {
    const finding = `checkpoint null ${at}`;
    const sql = bySql({ checkpoint: text }).catch((error: unknown) => Reflect.get(Object(error), 'code'));
    expect([[finding], '22023']).toContainEqual(await sql);
    const { code, output } = await withNote(text);
    expect(code).toBeGreaterThan(0);
    if (code === 1) expect(output).toContain('ALTERED: log: checkpoint: ');
  });

  it('of a witness alone is not the log’s', async () => {
    const text = note.slice(0, note.indexOf('\n\n') + 2) + witness;
    await expect(bySql({ checkpoint: text })).rejects.toMatchObject({ code: '22023' });
    expect(await withNote(text)).toMatchObject({ code: 1 });
  });
});

describe('what cannot be checked', () => {
  it('is a log in which there is nothing', async () => {
    const empty = await createAuditDatabase();
    try {
      expect(await byProgram({ url: empty.auditorUrl })).toMatchObject({
        code: 2,
        output: expect.stringContaining('NOT CHECKED COMPLETELY: 0 rows in 0 streams'),
      });
    } finally {
      await empty.dropAll();
    }
  });

  it('is no result of the program: time limits, locks, an address that is none', async () => {
    const limited = `${database.auditorUrl}?options=${encodeURIComponent('-c statement_timeout=1')}`;
    expect(await byProgram({ url: limited })).toMatchObject({
      code: 2,
      output: expect.stringContaining('the audit log could not be read'),
    });
    expect(await byProgram({ url: 'postgres://nobody@127.0.0.1:1/none' })).toMatchObject({ code: 2 });
    expect(await byProgram({ schema: 'nowhere' })).toMatchObject({ code: 2 });
    expect(await byProgram({ checkpoint: join(directory, 'missing.note') })).toMatchObject({ code: 2 });
  });
});
