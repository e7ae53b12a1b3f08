/** A statement that is sent after the end of a cancel's socket is never hit by it: COUNTERSIGN_CANCEL_RACES=10000 for more. */
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stack, startStack } from '../support/stack.ts';
import { CancelClient, randoms, sendCancel, simple } from './cancel-client.ts';

const RACES = Number(process.env['COUNTERSIGN_CANCEL_RACES'] ?? 1_000);
const AT_ONCE = 4;
const TIMEOUT_MS = 120_000 + RACES * 600;

let here: Stack;
let there: Stack;
beforeAll(async () => {
  here = await startStack({
    limits: { cancelsRoutedPerSecond: 100_000, cancelsRoutedPerAddressPerSecond: 100_000 },
  });
  there = await here.second();
}, 120_000);
afterAll(() => here.close());

const extended = (sql: string) =>
  Buffer.concat([
    serialize.parse({ text: sql, name: '', types: [] }),
    serialize.bind({}),
    serialize.execute({}),
    serialize.sync(),
  ]);

/** From nothing to some milliseconds of work. */
const work = (size: number) => `SELECT count(*) FROM generate_series(1, ${1 + size * 2_000})`;

/** Long enough to be hit by what comes late. */
const LATER = 'SELECT 7 FROM pg_sleep(0.01)';

type Race = (
  client: CancelClient,
  size: number,
) => Promise<{ readonly hit: boolean; readonly after: string[] }>;

/** Sends the frames, and `cancel` meanwhile; whether any of it was cancelled. */
async function raced(client: CancelClient, frames: Buffer, ready: number, cancel: () => Promise<void>) {
  client.send(frames);
  const [answer] = await Promise.all([client.answer(ready), cancel()]);
  return answer.includes('E:57014');
}

function races(cancel: (client: CancelClient) => Promise<void>): readonly Race[] {
  return [
    async (client, size) => ({
      hit: await raced(client, simple(work(size)), 1, () => cancel(client)),
      after: await client.query(LATER),
    }),
    async (client, size) => {
      const hit = await raced(client, extended(work(size)), 1, () => cancel(client));
      client.send(extended(LATER));
      return { hit, after: (await client.answer()).filter((word) => word !== '1' && word !== '2') };
    },
    async (client, size) => {
      const pipeline = Buffer.concat([simple(work(size)), extended(work(size >> 1)), simple('SELECT 1')]);
      const hit = await raced(client, pipeline, 3, () => cancel(client));
      return { hit, after: await client.query(LATER) };
    },
    async (client, size) => {
      const hit = await raced(client, Buffer.concat([simple('BEGIN'), simple(work(size))]), 2, () =>
        cancel(client),
      );
      const ended = await client.query('ROLLBACK');
      expect(ended).toEqual(['C', 'Z:I']);
      return { hit, after: await client.query(LATER) };
    },
  ];
}

async function race(cancelAt: string, count: number): Promise<{ hit: number; missed: number }> {
  const outcomes = { hit: 0, missed: 0 };
  await Promise.all(
    Array.from({ length: AT_ONCE }, async (_, lane) => {
      const random = randoms(lane + 1);
      const client = await CancelClient.open(here.agentUrl, lane % 2 === 0 ? 0x30002 : 0x30000);
      const cancel = async (of: CancelClient) => {
        if (random(3) > 0) await new Promise((done) => setTimeout(done, random(6)));
        await sendCancel(cancelAt, of.packet);
      };
      const kinds = races(cancel);
      for (let i = lane; i < count; i += AT_ONCE) {
        const kind = kinds[random(kinds.length)];
        if (kind === undefined) throw new Error('no such race');
        const { hit, after } = await kind(client, random(40));
        outcomes[hit ? 'hit' : 'missed'] += 1;
        expect(after.filter((word) => word !== 'T')).toEqual(['D:7', 'C', 'Z:I']);
      }
      client.close();
    }),
  );
  return outcomes;
}

describe('a cancel that races with the end of a statement hits no later one', () => {
  it(
    'in this process',
    async () => {
      const { hit, missed } = await race(here.agentUrl, RACES);
      process.stderr.write(`${RACES} races in one process: ${hit} cancelled, ${missed} not\n`);
      expect(Math.min(hit, missed)).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );

  it(
    'from another process',
    async () => {
      const { hit, missed } = await race(there.agentUrl, RACES / 4);
      process.stderr.write(`${RACES / 4} races across processes: ${hit} cancelled, ${missed} not\n`);
      expect(Math.min(hit, missed)).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});
