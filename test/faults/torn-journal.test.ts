/** Every byte at which the last block of a journal can be cut off, or be something else: it is lost, and only it. */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Journal } from '../../src/audit/journal/journal.ts';
import { scanJournal } from '../../src/audit/journal/scan.ts';
import { intent, outcome } from '../audit/support.ts';
import { printCounts } from './counts.ts';

const STREAM = '20260101T000000Z-00000000000000aa';
const BLOCKS = 4;
let directory: string;
let whole: Buffer;
let path: string;
/** Where the last block begins and ends. */
let from: number;
let to: number;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cs-torn-'));
  const journal = new Journal({ directory, stream: STREAM, limitBytes: 1e6 });
  let ends: number[] = [];
  for (let no = 1; no <= BLOCKS; no += 1) {
    journal.append(intent(no));
    if (no > 1) journal.append(outcome(no - 1));
    journal.write();
    ends = [...ends, journal.segments[0]?.end ?? 0];
  }
  path = journal.segments[0]?.path ?? '';
  await journal.close();
  [from = 0, to = 0] = ends.slice(-2);
  whole = readFileSync(path);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Intents up to the block before the last, outcomes up to one less. */
const KEPT = BigInt(2 * (BLOCKS - 1) - 1);

async function keptOf(bytes: Buffer): Promise<bigint | undefined> {
  writeFileSync(path, bytes);
  return (await scanJournal(directory, STREAM, undefined))?.end.seq;
}

it('whole, all of it is there', async () => {
  expect(await keptOf(whole)).toBe(KEPT + 2n);
});

it('cut off at any byte, with zeros or nothing behind', async () => {
  for (let at = from; at < to; at += 1) {
    const zeroed = Buffer.from(whole);
    zeroed.fill(0, at);
    // The last bytes may have been zeros anyway.
    expect([at, await keptOf(zeroed)]).toEqual([at, zeroed.equals(whole) ? KEPT + 2n : KEPT]);
    truncateSync(path, at);
    expect([at, (await scanJournal(directory, STREAM, undefined))?.end.seq]).toEqual([at, KEPT]);
  }
}, 120_000);

it('with any byte altered', async () => {
  printCounts(`the last block of a journal was cut off, and altered, at each of its ${to - from} bytes`);
  for (let at = from; at < to; at += 1) {
    const altered = Buffer.from(whole);
    altered[at] = (altered[at] ?? 0) ^ 0x41;
    expect([at, await keptOf(altered)]).toEqual([at, KEPT]);
  }
}, 120_000);
