import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { createSecondParser, type SecondParser } from '../../src/analyser/second-parser.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';
import { type Analysis, higherClass } from '../../src/statement/analysis.ts';
import { MISREADINGS } from '../../src/statement/misreadings.ts';
import { disagreement, UNREAD, withSecondOpinion } from '../../src/statement/second-opinion.ts';
import { generated } from './generated-statements.ts';

const read = (name: string) =>
  readFileSync(new URL(`../../fixtures/statements/${name}`, import.meta.url), 'utf8');
const lines = <T>(name: string): T[] =>
  read(name)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

/** Each is a reviewed disagreement: who is right, and why. */
type Verdict = {
  readonly sql: string;
  readonly disagreement: string;
  readonly verdict: 'ours' | 'theirs';
  readonly why: string;
};

const CORPUS = lines<{ sql: string }>('public-corpus.jsonl').map(({ sql }) => sql);
const SEEDS = [1, 2, 3];
const GENERATED = SEEDS.flatMap((seed) => generated(seed, 300));
const SCOPE = { searchPath: ['public'], tempPossible: false };

let analyser: Analyser;
let second: SecondParser;
beforeAll(async () => {
  analyser = await loadAnalyser(DEFAULT_LIMITS);
  second = createSecondParser({ ...DEFAULT_LIMITS, secondOpinionMs: 30_000, secondOpinions: 10_000 });
});
afterAll(async () => {
  await analyser.close();
  await second.close();
});

async function judge(sql: string): Promise<Analysis> {
  const bytes = Buffer.from(sql);
  const parse = analyser.needsWorker(bytes) ? await analyser.parseLater(bytes) : analyser.parse(bytes);
  return analyse(parse, null, SCOPE, DEFAULT_LIMITS);
}

async function difference(sql: string): Promise<string | null> {
  const bytes = Buffer.from(sql);
  return disagreement(await judge(sql), await second.read(bytes), bytes);
}

describe('the second parser', () => {
  it('disagrees only where somebody has looked, over the corpus and generated statements', async () => {
    const found = new Map<string, string>();
    let readable = 0;
    for (const sql of [...CORPUS, ...GENERATED]) {
      if ((await second.read(Buffer.from(sql))).kind === 'read') readable++;
      const said = await difference(sql);
      if (said !== null) found.set(sql, said);
    }
    const reviewed = lines<Verdict>('second-opinion.jsonl');
    expect(Object.fromEntries(found)).toEqual(
      Object.fromEntries(reviewed.map(({ sql, disagreement: said }) => [sql, said])),
    );
    expect(reviewed.every(({ why }) => why.length > 10)).toBe(true);
    // What it cannot read is no disagreement: without a share that it reads all of this would say nothing.
    expect(readable / (CORPUS.length + GENERATED.length)).toBeGreaterThan(0.5);
  }, 300_000);

  it.each(MISREADINGS)('misreads, as the reviewed list says: $name', async ({ example, applies }) => {
    const reading = await second.read(Buffer.from(example));
    // A text without the mark that the rule looks for, so that only the two readings are compared.
    expect(disagreement(await judge(example), reading, Buffer.from('SELECT 1'))).not.toBeNull();
    expect(applies(Buffer.from(example))).toBe(true);
    expect(await difference(example)).toBeNull();
  });

  it.each([
    ['SELECT 1; DELETE FROM payments', 'SELECT 1', /reads select, delete where this is select/],
    ['SELECT * FROM secrets', 'SELECT * FROM products', /other tables: also secrets; not products/],
    ['SELECT * FROM a.t', 'SELECT * FROM b.t', /other tables: also a\.t/],
    ['SELECT * FROM t', 'SELECT * FROM t, u', /other tables: not u/],
  ])('that reads %s where we read %s is heard', async (theirs, ours, expected) => {
    const reading = await second.read(Buffer.from(theirs));
    const analysis = await judge(ours);
    expect(disagreement(analysis, reading, Buffer.from(ours))).toMatch(expected);
    expect(withSecondOpinion(analysis, reading, Buffer.from(ours))).toMatchObject({
      class: 'unparsed',
      reasons: [expect.stringMatching(expected)],
    });
  });

  it('never makes a class lower, whatever it says of whichever statement', async () => {
    const readings = [UNREAD];
    for (const sql of CORPUS.slice(0, 12)) readings.push(await second.read(Buffer.from(sql)));
    for (const sql of [...CORPUS, ...GENERATED]) {
      const analysis = await judge(sql);
      for (const reading of readings) {
        const heard = withSecondOpinion(analysis, reading, Buffer.from(sql));
        expect(higherClass(heard.class, analysis.class)).toBe(heard.class);
        for (const [at, statement] of heard.statements.entries())
          expect(higherClass(statement.class, analysis.statements[at]?.class ?? 'unparsed')).toBe(
            statement.class,
          );
        if (heard.class !== analysis.class) expect(heard.class).toBe('unparsed');
      }
    }
  }, 120_000);

  it('that takes too long has not read the text, and reads the next one', async () => {
    const hasty = createSecondParser({ ...DEFAULT_LIMITS, secondOpinionMs: 1 });
    // Back-tracking: seconds for a few hundred terms.
    const slow = Buffer.from(`SELECT ${Array(1_500).fill('1').join('+')}`);
    expect(await hasty.read(slow)).toEqual(UNREAD);
    expect(hasty.known(slow)).toEqual(UNREAD);
    await hasty.close();
    const patient = createSecondParser({ ...DEFAULT_LIMITS, secondOpinionMs: 30_000 });
    expect((await patient.read(Buffer.from('SELECT 1'))).kind).toBe('read');
    await patient.close();
  }, 60_000);

  it('is not shown what is long or has a NUL, and keeps a bounded number of readings', async () => {
    expect(second.known(Buffer.from(`SELECT '${'x'.repeat(9_000)}'`))).toEqual(UNREAD);
    expect(second.known(Buffer.from('SELECT 1\0'))).toEqual(UNREAD);
    const small = createSecondParser({ ...DEFAULT_LIMITS, secondOpinionMs: 30_000, secondOpinions: 2 });
    for (const sql of ['SELECT 1', 'SELECT 2', 'SELECT 3']) await small.read(Buffer.from(sql));
    expect(small.known(Buffer.from('SELECT 1'))).toBeUndefined();
    expect(small.known(Buffer.from('SELECT 3'))?.kind).toBe('read');
    await small.close();
  }, 60_000);
});
