import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { campaign } from './campaign.ts';
import type { Candidate } from './candidate.ts';
import { NOT_COMPLETED, NOT_REACHED } from './exceptions.ts';
import { createLaboratory, type Laboratory } from './laboratory.ts';
import { PLANTED } from './planted.ts';
import { Random } from './random.ts';
import { report, shortest } from './report.ts';
import { corpusMutations, generated, swept } from './sources.ts';
import { COMMAND_TAGS } from './tags.ts';
import { Tally } from './tally.ts';

const SEED = Number(process.env['COUNTERSIGN_SEED'] ?? 1);
/** In all; at least what the sweep of the grammar takes. With `COUNTERSIGN_STATEMENTS=1000000` it takes long. */
const STATEMENTS = Number(process.env['COUNTERSIGN_STATEMENTS'] ?? 8_000);
const VERBOSE = process.env['COUNTERSIGN_VERBOSE'] !== undefined;
/** In the long run nothing is given up for its time. */
const STATEMENT_MS = STATEMENTS > 100_000 ? 5_000 : 150;
/** Databases side by side: while one session works, the others' results are looked at. */
const BENCHES = 2;
const CORPUS_SHARE = 0.1;

/** What is there already, and then as many more of another kind. */
function inTurn(first: readonly Candidate[], more: number, make: () => Candidate): () => Candidate | null {
  let at = 0;
  let left = Math.ceil(more);
  return () => first[at++] ?? (left-- > 0 ? make() : null);
}

describe.skipIf(inject('postgres').major < 18)('the server as the oracle', () => {
  let analyser: Analyser;
  let laboratory: Laboratory;
  let shop: Laboratory;
  beforeAll(async () => {
    analyser = await loadAnalyser(DEFAULT_LIMITS);
    laboratory = await createLaboratory('oracle', 'oracle-schema.sql', analyser, BENCHES);
    shop = await createLaboratory('oracle_shop', 'corpus-schema.sql', analyser, BENCHES);
  });
  afterAll(async () => {
    await laboratory?.drop();
    await shop?.drop();
    await analyser?.close();
  });

  test('does nothing that the analysis did not name', { timeout: 24 * 3_600_000 }, async () => {
    const random = new Random(SEED);
    const tally = new Tally();
    const started = performance.now();
    // All that the grammar has, once; then by chance.
    const sweep = swept(random);
    const rest = Math.max(0, STATEMENTS - sweep.length);
    const made = inTurn(sweep, rest * (1 - CORPUS_SHARE), generated(random, 0.3));
    const mutated = inTurn([], rest * CORPUS_SHARE, corpusMutations(random));
    await campaign(laboratory, analyser, made, tally, { statementMs: STATEMENT_MS, planted: PLANTED });
    await campaign(shop, analyser, mutated, tally, { statementMs: STATEMENT_MS });
    console.log(report(tally, SEED, performance.now() - started, VERBOSE));

    expect(shortest(tally.found)).toEqual([]);
    expect(tally.ran / tally.statements).toBeGreaterThan(0.4);
    expect(PLANTED.map(({ name }) => name).filter((name) => !tally.planted.has(name))).toEqual([]);
    expect(tally.coverage.missing().filter((type) => !(type in NOT_REACHED))).toEqual([]);
    expect(COMMAND_TAGS.filter((tag) => !tally.tags.has(tag) && !(tag in NOT_COMPLETED))).toEqual([]);
  });
});
