import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { type Candidate, campaign, newTally } from './campaign.ts';
import { createLaboratory, type Laboratory } from './laboratory.ts';
import { PLANTED } from './planted.ts';
import { Random } from './random.ts';
import { corpusMutations, generated } from './sources.ts';

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

const SEED = Number(process.env['COUNTERSIGN_SEED'] ?? 1);
const STATEMENTS = Number(process.env['COUNTERSIGN_STATEMENTS'] ?? 2000);

function upTo(count: number, next: () => Candidate): () => Candidate | null {
  let left = count;
  return () => (left-- > 0 ? next() : null);
}

test('the server does nothing that the analysis did not name', { timeout: 3_600_000 }, async () => {
  const random = new Random(SEED);
  const tally = newTally();
  const started = performance.now();
  const make = generated(random, 0.3);
  await campaign(laboratory, analyser, ['lab'], upTo(STATEMENTS * 0.6, make), tally, PLANTED);
  await campaign(laboratory, analyser, ['shadow', 'lab'], upTo(STATEMENTS * 0.2, make), tally, PLANTED);
  await campaign(laboratory, analyser, ['hostile', 'lab'], upTo(STATEMENTS * 0.1, make), tally, PLANTED);
  await campaign(shop, analyser, ['public'], upTo(STATEMENTS * 0.1, corpusMutations(random)), tally);
  const ms = performance.now() - started;
  console.log(
    `seed ${SEED}: ${tally.statements} statements in ${(ms / 1000).toFixed(1)} s, ${tally.ran} ran, ${tally.flowed} flowed, harmless ${tally.harmless}, of these held ${tally.harmlessHeld}`,
    tally.bySource,
    tally.planted,
    [...tally.errors].sort((a, b) => b[1] - a[1]).slice(0, 30),
    [...tally.heldReasons].sort((a, b) => b[1] - a[1]).slice(0, 20),
    tally.coverage.missing().join(' '),
  );
  const seen = new Map<string, typeof tally.found>();
  for (const found of tally.found) {
    const key = `${found.rule}: ${found.what}`.replace(/\d+/g, 'N');
    seen.set(key, [...(seen.get(key) ?? []), found]);
  }
  for (const [key, list] of seen)
    console.log(
      key,
      list.length,
      [...list]
        .sort((a, b) => a.sql.length - b.sql.length)
        .slice(0, 2)
        .map((f) => f.sql),
    );
  expect(tally.found.length).toEqual(0);
});
