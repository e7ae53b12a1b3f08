import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { type Candidate, campaign, newTally } from './campaign.ts';
import { NOT_COMPLETED, NOT_REACHED } from './exceptions.ts';
import { createLaboratory, type Laboratory } from './laboratory.ts';
import { PLANTED } from './planted.ts';
import { Random } from './random.ts';
import { report, shortest } from './report.ts';
import { corpusMutations, generated, swept } from './sources.ts';
import { COMMAND_TAGS } from './tags.ts';

const SEED = Number(process.env['COUNTERSIGN_SEED'] ?? 1);
/** With `COUNTERSIGN_STATEMENTS=1000000` it takes hours. */
const STATEMENTS = Number(process.env['COUNTERSIGN_STATEMENTS'] ?? 2_000);
const VERBOSE = process.env['COUNTERSIGN_VERBOSE'] !== undefined;

/** Which part of the statements runs where, and how bare names are resolved there. */
const PATHS = [
  { searchPath: ['lab'], share: 0.6 },
  { searchPath: ['shadow', 'lab'], share: 0.2 },
  { searchPath: ['hostile', 'lab'], share: 0.1 },
] as const;
const CORPUS_SHARE = 0.1;

function upTo(count: number, next: () => Candidate): () => Candidate | null {
  let left = Math.ceil(count);
  return () => (left-- > 0 ? next() : null);
}

describe.skipIf(inject('postgres').major < 18)('the server as the oracle', () => {
  let analyser: Analyser;
  let laboratory: Laboratory;
  let shop: Laboratory;
  beforeAll(async () => {
    analyser = await loadAnalyser(DEFAULT_LIMITS);
    laboratory = await createLaboratory('oracle', 'oracle-schema.sql', analyser);
    shop = await createLaboratory('oracle_shop', 'corpus-schema.sql', analyser);
  });
  afterAll(async () => {
    await laboratory?.drop();
    await shop?.drop();
    await analyser?.close();
  });

  test('does nothing that the analysis did not name', { timeout: 24 * 3_600_000 }, async () => {
    const random = new Random(SEED);
    const tally = newTally();
    const started = performance.now();
    const make = generated(random, 0.3);
    // Under each path all that the grammar has, once; then by chance.
    for (const { searchPath, share } of PATHS) {
      await campaign(laboratory, analyser, searchPath, swept(random), tally, PLANTED);
      await campaign(laboratory, analyser, searchPath, upTo(STATEMENTS * share, make), tally, PLANTED);
    }
    await campaign(
      shop,
      analyser,
      ['public'],
      upTo(STATEMENTS * CORPUS_SHARE, corpusMutations(random)),
      tally,
    );
    console.log(report(tally, SEED, performance.now() - started, VERBOSE));

    expect(shortest(tally.found)).toEqual([]);
    expect(tally.ran / tally.statements).toBeGreaterThan(0.4);
    expect(PLANTED.map(({ name }) => name).filter((name) => !tally.planted.has(name))).toEqual([]);
    expect(tally.coverage.missing().filter((type) => !(type in NOT_REACHED))).toEqual([]);
    expect(COMMAND_TAGS.filter((tag) => !tally.tags.has(tag) && !(tag in NOT_COMPLETED))).toEqual([]);
  });
});
