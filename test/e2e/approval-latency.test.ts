/** From a person's answer to the first byte of the result: printed, and never judged by the clock of a busy machine. */
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withClient } from '../support/postgres.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';

let here: Stack;
let there: Stack;
beforeAll(async () => {
  here = await startStack();
  there = await here.second();
}, 120_000);
afterAll(() => here.close());

const ROUNDS = 40;
/** CopyData: the first byte of what was asked for. */
const isResult = (frame: Buffer) => frame[0] === 0x64;

let statements = 0;

/** Milliseconds from the verdict's way out to the first byte of the result at the client. */
async function round(client: RawClient, answering: Stack): Promise<number> {
  const sql = `COPY (SELECT ${++statements}, 'timed') TO STDOUT`;
  client.send(serialize.query(sql));
  const { id } = await here.api.waitFor(sql);
  const began = performance.now();
  const verdict = answering.api.verdict(id, 'approve');
  const frames = await client.until((all) => all.some(isResult));
  const took = performance.now() - began;
  expect(frames.some(isResult)).toBe(true);
  expect((await verdict).status).toBe(200);
  if (frames.at(-1)?.[0] !== 0x5a) await client.ready();
  return took;
}

/** A yardstick: what the machine takes for the least that can be asked, milliseconds. */
async function roundTrips(): Promise<number[]> {
  return withClient({ connectionString: here.auditorUrl }, async (client) => {
    const times: number[] = [];
    for (let i = 0; i < ROUNDS; i++) {
      const began = performance.now();
      await client.query('SELECT 1');
      times.push(performance.now() - began);
    }
    return times;
  });
}

function quantile(times: readonly number[], part: number): number {
  return [...times].sort((a, b) => a - b)[Math.floor(times.length * part)] ?? 0;
}

describe('from the approval to the first byte of the result', () => {
  it.each([
    ['the process that holds the statement', () => here],
    ['another process', () => there],
  ] as const)(
    'where the verdict comes to %s',
    async (name, answering) => {
      const client = await RawClient.connect(here.agentUrl);
      // What is done for the first time takes longer.
      await round(client, answering());
      const times: number[] = [];
      for (let i = 0; i < ROUNDS; i++) times.push(await round(client, answering()));
      client.close();
      const at = (part: number) => quantile(times, part).toFixed(1);
      const trip = quantile(await roundTrips(), 0.5).toFixed(2);
      process.stdout.write(
        `approval to first result byte, verdict at ${name}: median ${at(0.5)} ms, p90 ${at(0.9)} ms, of ${ROUNDS}` +
          ` (one round trip to the database at this moment: ${trip} ms)\n`,
      );
      expect(times).toHaveLength(ROUNDS);
    },
    300_000,
  );
});
