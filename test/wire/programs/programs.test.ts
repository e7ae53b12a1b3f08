/**
 * Random programs of messages, played on plain Postgres and through the proxy: the answers must be the same. Half of
 * them in observe mode, byte for byte; half in enforce mode, with refusals at random places, compared with the same
 * program whose statement fails by itself in that place. More with COUNTERSIGN_PROGRAMS=100000, other ones with
 * COUNTERSIGN_SEED.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cells, HEAD_NAMES } from './cells.ts';
import { DEPTHS, type Depth } from './depth.ts';
import { type Hunt, hunt } from './hunt.ts';
import { type Lanes, openLanes } from './lanes.ts';

const PROGRAMS = Number(process.env['COUNTERSIGN_PROGRAMS'] ?? 4_000);
const SEED = Number(process.env['COUNTERSIGN_SEED'] ?? 77);
const LANES = 16;
/** Of all programs of a mode. */
const QUOTA = 0.3;

const MODES = ['observe', 'enforce'] as const;
const hunts: Hunt[] = [];

describe.each(MODES)(`random programs in mode %s (seed ${SEED})`, (mode) => {
  let lanes: Lanes;
  beforeAll(async () => {
    lanes = await openLanes(mode, LANES);
  });
  afterAll(() => lanes.close());

  it('get what the server says, and go deep', async () => {
    const result = await hunt(mode, lanes, SEED, Math.ceil(PROGRAMS / 2));
    hunts.push(result);
    process.stdout.write(`${report(mode, result)}\n`);
    expect(result.diverged).toBe(0);
    for (const depth of depthsDemanded(mode))
      expect({ depth, enough: share(result, depth) >= QUOTA }).toEqual({ depth, enough: true });
    // Hardly any is not compared.
    const undefinedOnes = result.exceptions.get('internal error of Postgres') ?? 0;
    expect((result.held + undefinedOnes) / result.programs).toBeLessThan(0.02);
  }, 6_000_000);
});

describe('the reply ledger', () => {
  it('has made every transition that a server can be made to show', () => {
    const cells = new Cells();
    for (const one of hunts) cells.addAll(one.cells);
    process.stdout.write(`reply ledger:\n${cells.table()}\n`);
    expect(cells.illegal()).toEqual([]);
    expect(cells.missing()).toEqual([]);
    expect(HEAD_NAMES.length).toBeGreaterThan(0);
  });
});

function depthsDemanded(mode: (typeof MODES)[number]): readonly Depth[] {
  return DEPTHS.filter((depth) => depth !== 'refusal' || mode === 'enforce');
}

function share(result: Hunt, depth: Depth): number {
  return (result.depths.get(depth) ?? 0) / result.programs;
}

function report(mode: string, result: Hunt): string {
  const percent = (depth: Depth) => `${depth} ${(100 * share(result, depth)).toFixed(1)} %`;
  const known = [...result.exceptions].map(([name, count]) => `${name} ${count}`).join(', ');
  return [
    `${mode}: ${result.programs} programs, seed ${SEED}, ${(result.programs / result.seconds).toFixed(0)} a second, ${result.diverged} divergences, ${result.held} held`,
    `  ${DEPTHS.map(percent).join(', ')}`,
    `  known differences: ${known === '' ? 'none' : known}`,
    ...result.divergences,
  ].join('\n');
}
