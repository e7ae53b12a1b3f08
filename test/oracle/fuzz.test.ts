import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { campaign, newTally } from './campaign.ts';
import { Generator } from './grammar/generator.ts';
import { createLaboratory, type Laboratory } from './laboratory.ts';
import { Random } from './random.ts';

let analyser: Analyser;
let laboratory: Laboratory;
beforeAll(async () => {
  analyser = await loadAnalyser(DEFAULT_LIMITS);
  laboratory = await createLaboratory('oracle', 'oracle-schema.sql', analyser);
});
afterAll(async () => {
  await laboratory?.drop();
  await analyser?.close();
});

const SEED = Number(process.env['COUNTERSIGN_SEED'] ?? 1);
const STATEMENTS = Number(process.env['COUNTERSIGN_STATEMENTS'] ?? 2000);

test('the server does nothing that the analysis did not name', { timeout: 3_600_000 }, async () => {
  const random = new Random(SEED);
  const generator = new Generator(random);
  const kinds = [
    'select',
    'select',
    'select',
    'dml',
    'dml',
    'wrapped',
    'session',
    'ddl',
    'privilege',
    'copy',
  ];
  const tally = newTally();
  let left = STATEMENTS;
  const started = performance.now();
  await campaign(
    laboratory,
    analyser,
    ['lab'],
    () => {
      if (left-- <= 0) return null;
      const kind = random.pick(kinds);
      return { sql: generator.statement(kind), source: kind };
    },
    tally,
  );
  const ms = performance.now() - started;
  console.log(
    `seed ${SEED}: ${tally.statements} statements in ${(ms / 1000).toFixed(1)} s, ${tally.ran} ran, ${tally.flowed} flowed, harmless ${tally.harmless}, of these held ${tally.harmlessHeld}`,
    tally.bySource,
    [...tally.errors].sort((a, b) => b[1] - a[1]).slice(0, 40),
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
  expect(tally.found).toEqual([]);
});
