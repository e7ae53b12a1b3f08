import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { ByteReader, ByteWriter } from '../../src/audit/chain/bytes.ts';
import type { Entry } from '../../src/audit/entry.ts';
import { Journal } from '../../src/audit/journal/journal.ts';
import { JournalAltered, JournalReader } from '../../src/audit/journal/journal-reader.ts';
import { readRecord, writeRecord } from '../../src/audit/journal/record.ts';
import { scanJournal } from '../../src/audit/journal/scan.ts';
import { event, intent, outcome, SESSION, temporaryDirectory } from './support.ts';

const directories: string[] = [];
const STREAM = '20260101T000000Z-00';

afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function directory(): string {
  const made = temporaryDirectory();
  directories.push(made);
  return made;
}

/** A journal of so many blocks of two entries, closed; statement 1 has no outcome. */
async function journalOf(blocks: number, limitBytes = 8 * 1024 * 1024) {
  const where = directory();
  const journal = new Journal({ directory: where, stream: STREAM, limitBytes });
  const ends: number[] = [];
  journal.append(intent(1));
  for (let no = 2; no <= blocks + 1; no += 1) {
    journal.append(intent(no));
    journal.append(outcome(no));
    journal.write();
    ends.push(journal.segments.at(-1)?.end ?? 0);
  }
  await journal.close();
  return { where, ends, first: join(where, '00000001.segment') };
}

describe('records', () => {
  const text = fc.string({ unit: 'binary', maxLength: 80 });
  const entries: fc.Arbitrary<Entry> = fc.oneof(
    fc
      .record({
        sql: text,
        rule: text,
        reasons: fc.array(text),
        parameters: fc.option(fc.array(fc.option(text))),
      })
      .map((change) => intent(7, change)),
    fc
      .record({
        tag: fc.option(text),
        rows: fc.bigInt({ min: 0n, max: 2n ** 62n }),
        approvers: fc.array(text),
      })
      .map((change) => outcome(7, change)),
    fc
      .record({ receipt: fc.option(text), people: fc.array(text), session: fc.option(fc.constant(SESSION)) })
      .map((change) => event('verdict', { ...change, detail: { a: 'ü', b: '' } })),
  );
  test('are read back as they were written', () => {
    fc.assert(
      fc.property(entries, (entry) => {
        const writer = new ByteWriter(16);
        writeRecord(writer, 9n, entry);
        expect(readRecord(new ByteReader(writer.written()))).toEqual({ seq: 9n, entry });
      }),
    );
  });
  test('cut short anywhere are an error, never another entry', () => {
    const writer = new ByteWriter();
    writeRecord(writer, 1n, intent(1));
    for (let end = 0; end < writer.length; end += 1) {
      expect(() => readRecord(new ByteReader(writer.written().subarray(0, end)))).toThrow(RangeError);
    }
  });
});

describe('a torn tail', () => {
  test.each([6, 20, 57, 200])('of %i bytes costs the last block and nothing else', async (missing) => {
    const { where, ends, first } = await journalOf(5);
    const size = readFileSync(first).length;
    truncateSync(first, (ends.at(-1) ?? 0) - missing);
    truncateSync(first, size);
    const scanned = await scanJournal(where, STREAM, undefined);
    expect(scanned?.end.seq).toBe(9n);
    expect(scanned?.open.list().map(({ statementNo }) => statementNo)).toEqual([1]);
  });
  test('is written over when the journal goes on', async () => {
    const { where, ends, first } = await journalOf(5);
    const bytes = readFileSync(first);
    bytes.fill(0xff, (ends[3] ?? 0) + 70, (ends[4] ?? 0) - 3);
    writeFileSync(first, bytes);
    const scanned = await scanJournal(where, STREAM, undefined);
    if (scanned === null) throw new Error('nothing was found');
    const journal = new Journal({ directory: where, stream: STREAM, limitBytes: 1e9, resume: scanned.end });
    expect(journal.append(outcome(1))).toBe(10n);
    await journal.close();
    const again = await scanJournal(where, STREAM, undefined);
    expect(again?.end.seq).toBe(10n);
    expect(again?.open.size).toBe(0);
  });
});

test('a whole journal of many segments is read to its end', async () => {
  const { where } = await journalOf(2_000, 2 * 1024 * 1024);
  expect(readdirSync(where).length).toBeGreaterThan(4);
  expect((await scanJournal(where, STREAM, undefined))?.end.seq).toBe(4_001n);
});

test('a block that was replaced after it was written is found before its successor is shipped', async () => {
  const { first, ends } = await journalOf(5);
  const other = await journalOf(5);
  const bytes = readFileSync(first);
  const foreign = readFileSync(other.first);
  const [, from = 0, to = 0] = ends;
  foreign.copy(bytes, from, from, to);
  writeFileSync(first, bytes);
  const reader = new JournalReader(() => [{ number: 1, path: first, end: ends.at(-1) ?? 0 }]);
  await expect(reader.take(1_000, 1e9)).rejects.toThrow(JournalAltered);
  await reader.close();
});

test('many callers of sync share a few forces, and each sees its entries on disk', async () => {
  const where = directory();
  const journal = new Journal({ directory: where, stream: STREAM, limitBytes: 1e8 });
  const waits: Promise<void>[] = [];
  for (let no = 1; no <= 200; no += 1) {
    journal.append(intent(no));
    waits.push(journal.sync());
  }
  expect(new Set(waits).size).toBeLessThan(5);
  await Promise.all(waits);
  expect(journal.writtenSeq).toBe(200n);
  await journal.close();
});
