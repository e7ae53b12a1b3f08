/** Plays many programs on several lanes at once and gathers what they reached and where they diverged. */
import fc from 'fast-check';
import { Cells } from './cells.ts';
import { compare, type Exception, showDivergence, type Verdict } from './comparison.ts';
import { decode } from './decoder.ts';
import { type Depth, depthsOf } from './depth.ts';
import { type Program, programs } from './generator.ts';
import type { Lane, Lanes, Played } from './lanes.ts';
import { textsFor } from './texts.ts';

export type Hunt = {
  readonly programs: number;
  readonly seconds: number;
  readonly depths: ReadonlyMap<Depth, number>;
  readonly exceptions: ReadonlyMap<Exception, number>;
  readonly cells: Cells;
  /** Shown in full: the first few. */
  readonly divergences: readonly string[];
  readonly diverged: number;
  /** Programs in which a person was asked; they are not compared. */
  readonly held: number;
};

/** Programs drawn at a time. */
const BLOCK = 500;
const SHOWN = 10;
/** Plays spent on making one divergence shorter. */
const SHRINKS = 60;

/** `seed` and `count` alone decide which programs are played. */
export async function hunt(
  mode: 'observe' | 'enforce',
  lanes: Lanes,
  seed: number,
  count: number,
): Promise<Hunt> {
  const draw = drawn(mode, seed, count);
  const depths = new Map<Depth, number>();
  const exceptions = new Map<Exception, number>();
  const cells = new Cells();
  const divergences: string[] = [];
  let diverged = 0;
  let held = 0;
  const started = performance.now();
  const work = async (lane: Lane) => {
    for (let next = draw(); next !== null; next = draw()) {
      const { direct, proxied, verdict } = await playBoth(mode, lane, next.program);
      if (proxied.held) {
        held += 1;
        await lanes.forgetHeld();
      }
      if (verdict.same) {
        for (const one of verdict.exceptions) exceptions.set(one, (exceptions.get(one) ?? 0) + 1);
      } else {
        diverged += 1;
        if (divergences.length < SHOWN)
          divergences.push(
            `\n#### program ${next.index}: ${
              // A hang costs too much time to look for a shorter one.
              proxied.hangs === null
                ? await shrunk(mode, lane, next.program)
                : showDivergence(next.program, verdict.why, direct, proxied)
            }`,
          );
        continue;
      }
      const decoded = decode(direct.sent, direct.frames);
      if (decoded === null) continue;
      cells.addPlay(direct.sent, direct.frames, decoded);
      for (const depth of depthsOf(next.program, direct, decoded, proxied))
        depths.set(depth, (depths.get(depth) ?? 0) + 1);
    }
  };
  await Promise.all(lanes.all.map(work));
  const seconds = (performance.now() - started) / 1000;
  return { programs: count, seconds, depths, exceptions, cells, divergences, diverged, held };
}

type Both = { readonly direct: Played; readonly proxied: Played; readonly verdict: Verdict };

async function playBoth(mode: 'observe' | 'enforce', lane: Lane, program: Program): Promise<Both> {
  await lane.clean();
  const direct = await lane.play('direct', program, null);
  await lane.clean();
  const decoded = decode(direct.sent, direct.frames);
  const proxied = await lane.play('proxied', program, decoded?.waits ?? null);
  if (decoded === null && direct.hangs === null)
    return { direct, proxied, verdict: { same: false, why: "the server's answers do not fit the messages" } };
  return { direct, proxied, verdict: compare(mode, direct, proxied) };
}

/** The same divergence with as few messages as a few plays can tell. */
async function shrunk(mode: 'observe' | 'enforce', lane: Lane, program: Program): Promise<string> {
  let smallest = program;
  let left = SHRINKS;
  for (let i = smallest.messages.length - 1; i >= 0 && left > 0; i--) {
    const messages = smallest.messages.filter((_, at) => at !== i);
    left -= 1;
    const { verdict } = await playBoth(mode, lane, { ...smallest, messages });
    if (!verdict.same) smallest = { ...smallest, messages };
  }
  const { direct, proxied, verdict } = await playBoth(mode, lane, smallest);
  if (!verdict.same) return showDivergence(smallest, verdict.why, direct, proxied);
  const again = await playBoth(mode, lane, program);
  const why = again.verdict.same ? 'only once' : again.verdict.why;
  return showDivergence(program, why, again.direct, again.proxied);
}

/** Programs one after another, null after the last. */
function drawn(
  mode: 'observe' | 'enforce',
  seed: number,
  count: number,
): () => { readonly index: number; readonly program: Program } | null {
  const arbitrary = fc.oneof(
    { weight: 3, arbitrary: programs(textsFor(mode, mode === 'enforce')) },
    { weight: 1, arbitrary: programs(textsFor(mode)) },
  );
  let block: Program[] = [];
  let index = 0;
  return () => {
    if (index >= count) return null;
    const at = index % BLOCK;
    if (at === 0)
      block = fc.sample(arbitrary, { seed: seed + index / BLOCK, numRuns: Math.min(BLOCK, count - index) });
    const program = block[at];
    index += 1;
    return program === undefined ? null : { index: index - 1, program };
  };
}
