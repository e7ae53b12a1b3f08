/**
 * Mutated frames by the ten thousand, and afterwards the proxy serves a new client as if nothing had been. More of them
 * with COUNTERSIGN_FUZZ_FRAMES=1000000, other ones with COUNTERSIGN_SEED.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { longestLength } from '../../../src/protocol/frontend.ts';
import { RawClient } from '../../support/raw-client.ts';
import { parseTranscript } from '../transcript.ts';
import { startWireStack, type WireStack } from '../wire-stack.ts';
import { attack } from './attack.ts';
import { mutated, outOfStep, randomOf } from './mutate.ts';

const FRAMES = Number(process.env['COUNTERSIGN_FUZZ_FRAMES'] ?? 20_000);
const SEED = Number(process.env['COUNTERSIGN_SEED'] ?? 20_260);
/** What the sessions of a whole run may leave behind, and what they may take while they last. */
const LEFT_BYTES = 100 * 1024 * 1024;
const PEAK_BYTES = 700 * 1024 * 1024;

const DIRECTORY = new URL('../../../fixtures/transcripts/', import.meta.url);
const transcripts = readdirSync(DIRECTORY)
  .filter((name) => name.endsWith('.txt'))
  .map((name) => parseTranscript(readFileSync(new URL(name, DIRECTORY), 'utf8')))
  .map(({ segments }) => segments.flatMap(({ frames }) => frames).filter((frame) => frame[0] !== 0x58))
  .filter((frames) => frames.length > 0 && frames.every((frame) => inStep(frame) && frame.length < 5_000));

/** The one text that goes upstream in another form; on the server itself it is an error. */
const SHOW = 'SHOW countersign.requests';
const listing = [
  serialize.query(SHOW),
  serialize.query(`SELECT 1; ${SHOW}; SELECT 2`),
  serialize.parse({ name: 'l', text: SHOW, types: [] }),
  serialize.describe({ type: 'S', name: 'l' }),
  serialize.bind({ portal: 'p', statement: 'l', values: [] }),
  serialize.describe({ type: 'P', name: 'p' }),
  serialize.execute({ portal: 'p', rows: 0 }),
  serialize.bind({ portal: 'p', statement: 'l', values: ['1'], binary: true }),
  serialize.close({ type: 'S', name: 'l' }),
  serialize.sync(),
];
/** As often as every tenth. */
const conversations = [
  ...transcripts,
  ...Array.from({ length: Math.ceil(transcripts.length / 9) }, () => listing),
];

/** After it, the next frame can be read. */
function inStep(frame: Buffer): boolean {
  return (
    frame.length >= 5 && longestLength(frame[0] ?? 0) !== null && frame.readInt32BE(1) === frame.length - 1
  );
}

function collected(): NodeJS.MemoryUsage {
  setFlagsFromString('--expose_gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage();
}

describe('a mutation', () => {
  it('is the same for the same seed, and changes about as much as it is told to', () => {
    const frames = conversations.flat();
    const once = mutated(randomOf(1), frames, 0.5);
    expect(Buffer.concat(mutated(randomOf(1), frames, 0.5)).equals(Buffer.concat(once))).toBe(true);
    const kept = new Set(once);
    const changed = frames.filter((frame) => !kept.has(frame)).length / frames.length;
    expect(changed).toBeGreaterThan(0.3);
    expect(changed).toBeLessThan(0.6);
    const last = outOfStep(randomOf(2), frames[0] ?? Buffer.alloc(0));
    expect(last.equals(frames[0] ?? last)).toBe(false);
  });
});

describe.each(['observe', 'enforce'] as const)(`mutated frames in mode %s (seed ${SEED})`, (mode) => {
  let stack: WireStack;
  beforeAll(async () => {
    stack = await startWireStack(mode);
    const role = stack.config.agents[0]?.upstream.user;
    await stack.admin(
      `ALTER ROLE ${role} SET statement_timeout = '1s'; ALTER ROLE ${role} SET lock_timeout = '200ms'`,
    );
  });
  afterAll(() => stack.close());

  it(
    'leave the proxy up, in step, and as small as before',
    async () => {
      await served(stack);
      const before = collected();
      let peak = 0;
      const watch = setInterval(() => {
        peak = Math.max(peak, process.memoryUsage.rss() - before.rss);
      }, 200);
      const counts = await attack({ url: stack.agentUrl, seed: SEED, frames: FRAMES / 2, conversations });
      clearInterval(watch);
      const sent = counts.afterLogin + counts.beforeLogin;
      console.info(
        `fuzz ${mode}: ${sent} frames (${counts.afterLogin} after log-in) on ${counts.connections} connections, ` +
          `seed ${SEED}, peak +${Math.round(peak / 2 ** 20)} MiB, the server fell ${counts.outages} times`,
      );
      // In mode enforce it is spared what it falls over.
      expect(counts.outages).toBeLessThanOrEqual(mode === 'enforce' ? 0 : Math.ceil(FRAMES / 100_000));
      expect(counts.faults).toEqual([]);
      expect(sent).toBeGreaterThanOrEqual(FRAMES / 2);
      expect(counts.afterLogin / sent).toBeGreaterThan(0.5);

      await served(stack);
      await expect.poll(() => leftOver(stack), { timeout: 30_000, interval: 200 }).toEqual([]);
      await expect.poll(() => sessionsOf(stack), { timeout: 30_000, interval: 200 }).toBe(0);
      const after = collected();
      expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(LEFT_BYTES);
      expect(peak).toBeLessThan(PEAK_BYTES);
    },
    60_000 + FRAMES * 10,
  );
});

/** A new client, as if nothing had been. */
async function served(stack: WireStack): Promise<void> {
  const client = await RawClient.connect(stack.agentUrl);
  client.send(serialize.query("SELECT 'served'"));
  expect(Buffer.concat(await client.ready()).includes('served')).toBe(true);
  client.close();
}

/** Sessions that the proxy counts. */
async function sessionsOf(stack: WireStack): Promise<number> {
  const text = await (await fetch(`${stack.httpUrl}/metrics`)).text();
  return Number(/^countersign_sessions (\d+)$/m.exec(text)?.[1]);
}

/** Sessions of the attack that the server still has. */
async function leftOver(stack: WireStack): Promise<readonly string[]> {
  const { rows } = await stack.admin(
    `SELECT concat_ws(' | ', application_name, state, wait_event, query) AS it FROM pg_stat_activity
     WHERE application_name LIKE 'fuzz %'`,
  );
  return rows.map(({ it }) => String(it));
}
