import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseCsv } from '../../src/audit/evidence/csv.ts';
import { verifyEvidence } from '../../src/audit/evidence/verify-folder.ts';
import { writeEvidence } from '../../src/audit/evidence/write-folder.ts';
import { appendCall } from '../../src/audit/shipping/batch.ts';
import { addHold, releaseHold } from '../../src/audit/upkeep/legal-hold.ts';
import { redactStatements } from '../../src/audit/upkeep/redaction.ts';
import { dropOldDays } from '../../src/audit/upkeep/retention.ts';
import { ago, fillOldLog, type OldLog } from './old-log.ts';
import { makeStream } from './stream-maker.ts';
import { type AuditDatabase, createAuditDatabase, event, makeSigner } from './support.ts';

/** Evidence of a log out of which rows were dropped and texts erased, of periods before, across and after that. */
const signer = makeSigner();
const keys = { keys: [signer.publicJwk] };
const root = mkdtempSync(join(tmpdir(), 'cs-evidence-upkeep-'));
let database: AuditDatabase;
let log: OldLog;
let number = 0;

beforeAll(async () => {
  database = await createAuditDatabase();
  log = await fillOldLog(database.writerUrl, signer);
}, 120_000);
afterAll(async () => {
  await database.dropAll();
  rmSync(root, { recursive: true, force: true });
});

const upkeep = () => ({ url: database.url, schema: 'audit', signer, by: 'owner (on the machine)' });
const drop = (keepDays: number) =>
  dropOldDays({ ...upkeep(), keepDays, reason: 'retention period', dryRun: false });
const day = (days: number) => new Date(Number(ago(days, 0) / 1000n));

async function made(from: Date, to: Date) {
  number += 1;
  const out = join(root, String(number));
  const period = { from, to };
  const evidence = await writeEvidence({
    ...{ url: database.auditorUrl, schema: 'audit', period, out, keys, version: '1' },
  });
  return { ...evidence, out, checked: await verifyEvidence({ directory: out, keys }) };
}

/** From, to: days ago. */
const PERIODS: readonly (readonly [string, number, number])[] = [
  ['before the log began', 600, 550],
  ['of days of which all was dropped', 460, 440],
  ['that begins in the middle of them', 450, 300],
  ['of a batch across midnight, half of which was dropped', 402, 399],
  ['that ends where they end', 500, 400],
  ['after them', 399, 200],
  ['of today', 0, -1],
  ['of everything', 600, -1],
];

describe('whole before anything is taken out', () => {
  test.each(PERIODS)(
    '%s',
    async (_name, from, to) => {
      const { checked } = await made(day(from), day(to));
      expect(checked).toMatchObject({ findings: [], whole: true, gone: { dropped: 0, redacted: 0 } });
    },
    120_000,
  );
});

describe('whole after a retention, a redaction and a hold', () => {
  beforeAll(async () => {
    const hold = await addHold({ ...upkeep(), scope: { agent: 'reporter' }, reason: 'inquiry 7' });
    await releaseHold({ ...upkeep(), hold, reason: 'closed' });
    await drop(450);
    await drop(400);
    await redactStatements({
      ...upkeep(),
      scope: { statements: [{ stream: log.long, seq: 12n }] },
      reason: 'asked for by the person',
      dryRun: false,
    });
  }, 120_000);

  test.each(PERIODS)(
    '%s',
    async (_name, from, to) => {
      const { checked, verification } = await made(day(from), day(to));
      expect(verification.whole).toBe(true);
      expect(checked).toMatchObject({ findings: [], whole: true, altered: false, gone: { dropped: 10 } });
    },
    120_000,
  );

  test('and says what is gone, by whom and why', async () => {
    const { checked, out } = await made(day(600), day(-1));
    expect(checked.gone).toEqual({ dropped: 10, redacted: 1 });
    const csv = (name: string) => {
      const [head = [], ...rows] = parseCsv(readFileSync(join(out, `views/${name}.csv`), 'utf8'));
      return rows.map((row) => Object.fromEntries(head.map((column, i) => [column, row[i]])));
    };
    const dropped = csv('gaps').filter(({ gap }) => gap === 'dropped');
    expect(dropped.map(({ stream, from_seq, to_seq }) => [stream, from_seq, to_seq])).toEqual(
      expect.arrayContaining([
        [log.long, '4', '9'],
        [log.short, '4', '7'],
      ]),
    );
    expect(csv('retentions').map(({ by, reason }) => [by, reason])).toEqual(
      expect.arrayContaining([['owner (on the machine)', 'retention period']]),
    );
    expect(csv('redactions').map(({ reason }) => reason)).toEqual(['asked for by the person']);
    expect(csv('legal_holds').map(({ reason }) => reason)).toEqual(['inquiry 7']);
    expect(csv('statements').filter(({ sql }) => sql === null)).toHaveLength(1);
  }, 120_000);

  type Line = Record<string, unknown> & {
    readonly stream: string;
    readonly seq: string;
    readonly kind: string;
  };
  /** A folder of days long over, whose entries were changed, with sums that fit. */
  async function changed(change: (lines: Line[]) => Line[]): Promise<readonly string[]> {
    const { out } = await made(day(460), day(300));
    const directory = `${out}-changed`;
    cpSync(out, directory, { recursive: true });
    const file = join(directory, 'log/entries.jsonl');
    const before = readFileSync(file, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line): Line => JSON.parse(line));
    const after = change(before).map((line) => `${JSON.stringify(line)}\n`);
    writeFileSync(file, after.join(''));
    const sum = createHash('sha256').update(after.join('')).digest('hex');
    const sums = join(directory, 'SHA256SUMS');
    const text = readFileSync(sums, 'utf8').replace(/[0-9a-f]{64}(?= {2}log\/entries\.jsonl)/, sum);
    writeFileSync(sums, text);
    const { findings, altered } = await verifyEvidence({ directory, keys });
    expect(altered).toBe(true);
    return findings.map(({ check, stream, seq }) => `${check} ${stream} ${seq}`);
  }

  test('an entry of retention taken out of the folder: what it accounted for is missing', async () => {
    const found = await changed((lines) => lines.filter(({ kind }) => kind !== 'retention'));
    expect(found).toEqual(expect.arrayContaining([`gap ${log.long} 10`]));
  }, 120_000);

  test('an entry of retention with a longer range', async () => {
    const found = await changed((lines) =>
      lines.map((line) =>
        line.kind === 'retention' ? JSON.parse(JSON.stringify(line).replace('8-9 ', '8-11 ')) : line,
      ),
    );
    expect(found.some((one) => one.startsWith('row_hash'))).toBe(true);
    expect(found).toContain(`retention ${log.long} 8`);
  }, 120_000);

  test('rows beside those that were dropped taken out, too', async () => {
    const found = await changed((lines) =>
      lines.filter(({ stream, seq }) => stream !== log.long || (seq !== '10' && seq !== '11')),
    );
    expect(found).toContain(`range ${log.long} 8`);
  }, 120_000);

  test('an entry of redaction taken out: the text was removed', async () => {
    const { out } = await made(day(460), day(200));
    expect((await verifyEvidence({ directory: out, keys })).whole).toBe(true);
    const found = await changed((lines) => lines.filter(({ kind }) => kind !== 'redaction'));
    expect(found).toContain(`content ${log.long} 12`);
  }, 120_000);

  describe('an entry that lies, signed by the installation', () => {
    /** Rows of a stream deleted, and an entry for them; what the folder and the database's verifier find. */
    async function claimed(
      stream: string,
      from: number,
      to: number,
      told: { before?: string; hash?: string },
    ) {
      const admin = new pg.Client(database.url);
      await admin.connect();
      const { rows } = await admin.query(
        `SELECT encode(a.prev_hash, 'hex') AS prev, encode(b.hash, 'hex') AS hash FROM audit.entry a, audit.entry b
          WHERE a.stream = $1 AND a.seq = $2 AND b.stream = $1 AND b.seq = $3`,
        [stream, from, to],
      );
      const lie = makeStream(signer, { purpose: 'upkeep' });
      const before = told.before ?? new Date(Number(ago(100, 0) / 1000n)).toISOString();
      const ranges = `${from}-${to} ${rows[0].prev} ${told.hash ?? rows[0].hash}`;
      const detail = { retention: 'r', reason: 'x', by: 'x', before, stream, rows: '1', ranges };
      await admin.query(appendCall('audit', lie.start()));
      await admin.query(appendCall('audit', lie.batch([event('retention', { detail })])));
      await admin.query('ALTER TABLE audit.entry DISABLE TRIGGER ALL');
      await admin.query('DELETE FROM audit.entry WHERE stream = $1 AND seq BETWEEN $2 AND $3', [
        stream,
        from,
        to,
      ]);
      await admin.end();
      const { checked, verification } = await made(day(600), day(-1));
      const words = (found: readonly { check: string; stream: string | null; seq: bigint | null }[]) =>
        found
          .map(({ check, stream: of, seq }) => `${check} ${of} ${seq}`)
          .filter((one) => !one.startsWith('log '));
      return {
        entry: `retention ${lie.stream} 3`,
        folder: words(checked.findings),
        log: words(verification.findings),
      };
    }

    test('about days that were not over, of a stream of today; then about hashes', async () => {
      const early = await claimed(log.busy, 4, 5, {
        before: new Date(Date.now() + 86_400_000).toISOString(),
      });
      expect(early.log).toEqual([early.entry]);
      expect(early.folder).toEqual([early.entry]);
      const wrong = await claimed(log.long, 14, 15, { hash: 'a'.repeat(64) });
      expect(wrong.log).toContain(`retention ${log.long} 14`);
      expect(wrong.folder).toContain(`retention ${log.long} 14`);
    }, 120_000);
  });
});
