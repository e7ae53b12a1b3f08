/** A person's answer and something of the client's in the same moment, in the middle of a result. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randoms } from '../proxy/cancel-client.ts';
import { expectServed } from '../proxy/support.ts';
import type { Stack } from '../support/stack.ts';
import {
  asked,
  connected,
  errorIn,
  eventually,
  LARGE,
  LIMIT,
  read,
  recorded,
  rowsIn,
  SIZES,
  SMALL,
  startMidway,
  stateOf,
  statusIn,
  usable,
} from './midway-support.ts';

let stack: Stack;
let other: Stack;
beforeAll(async () => {
  stack = await startMidway();
  other = await stack.second();
});
afterAll(() => stack.close());

const ROUNDS = 8;
const waited = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

describe.each(SIZES)('%s', (size) => {
  const whole = size === 'small' ? SMALL : LARGE;

  it('an approval and a cancel: all of it, or what was sent before, or what came until the cancel', async () => {
    const random = randoms(size.length);
    const counts: Record<string, number> = {};
    for (let i = 0; i < ROUNDS; i++) {
      const client = await connected(stack, i % 2 === 1);
      const sql = read(size);
      const { request } = await asked(stack, client, sql);
      const [rest] = await Promise.all([
        client.ready(1, 60_000),
        waited(random(i % 2 === 0 ? 60 : 300)).then(() => client.cancel()),
        (i % 2 === 0 ? stack : other).api.verdict(request.id, 'approve'),
      ]);
      const error = errorIn(rest);
      const ended = ['executed', 'failed', 'withdrawn'];
      await eventually(async () => expect(ended).toContain(await stateOf(stack, request.id)));
      const state = await stateOf(stack, request.id);
      if (error === null) expect([rowsIn(rest), state]).toEqual([whole - LIMIT, 'executed']);
      else {
        expect(error['C']).toBe('57014');
        expect(['failed', 'withdrawn']).toContain(state);
        if (state === 'withdrawn') expect(rowsIn(rest)).toBe(0);
      }
      await eventually(async () =>
        expect(await recorded(stack, sql)).toMatchObject({
          rows: LIMIT + rowsIn(rest),
          outcome: error === null ? 'executed' : 'failed',
          approvers: state === 'withdrawn' ? [] : ['approver'],
        }),
      );
      counts[state] = (counts[state] ?? 0) + 1;
      await usable(client, statusIn(rest));
    }
    process.stderr.write(`${size}, approval and cancel at once: ${JSON.stringify(counts)}\n`);
  }, 240_000);

  it('an approval and the client\u2019s end: nothing runs on for nobody, and the approval is not used twice', async () => {
    const random = randoms(size.length + 1);
    const counts: Record<string, number> = {};
    for (let i = 0; i < ROUNDS; i++) {
      const client = await connected(stack);
      const sql = read(size);
      const { request } = await asked(stack, client, sql);
      await Promise.all([
        waited(random(150)).then(() => client.close()),
        stack.api.verdict(request.id, 'approve'),
      ]);
      await eventually(async () => {
        const row = await recorded(stack, sql);
        expect(row?.['outcome']).not.toBeNull();
        const { rows } = await stack.shop.query(
          "SELECT FROM pg_stat_activity WHERE query = $1 AND state = 'active' AND datname = current_database()",
          [sql],
        );
        expect(rows).toEqual([]);
      });
      // What was not used is there for whoever sends it again; what was used is not.
      await eventually(async () =>
        expect(['approved', 'executed', 'failed', 'unknown']).toContain(await stateOf(stack, request.id)),
      );
      const state = await stateOf(stack, request.id);
      const row = await recorded(stack, sql);
      if (state === 'approved') expect(row).toMatchObject({ rows: LIMIT, approvers: [] });
      counts[state] = (counts[state] ?? 0) + 1;
    }
    process.stderr.write(`${size}, approval and the client's end at once: ${JSON.stringify(counts)}\n`);
    await expectServed(stack.agentUrl);
  }, 240_000);
});
