/** The proxy is killed (SIGKILL) while a person is asked about the rest of a result, or while the rest flows. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RawClient } from '../support/raw-client.ts';
import { type Served, serveBeside } from '../support/served.ts';
import type { Stack } from '../support/stack.ts';
import {
  asked,
  errorIn,
  eventually,
  LIMIT,
  Q,
  read,
  recorded,
  rowsIn,
  SIZES,
  SMALL,
  startMidway,
  stateOf,
} from './midway-support.ts';

/** People answer here; it lives on. */
let stack: Stack;
const running: Served[] = [];
beforeAll(async () => {
  stack = await startMidway();
});
afterAll(async () => {
  for (const served of running) await served.close();
  await stack.close();
});

/** A process of its own, to be killed. */
async function doomed(): Promise<Served> {
  const served = await serveBeside(stack);
  running.push(served);
  return served;
}

async function kill(served: Served, client: RawClient): Promise<readonly Buffer[]> {
  process.kill(served.pid, 'SIGKILL');
  return client.until(() => client.closed, 30_000);
}

const gone = (sql: string) =>
  eventually(async () => {
    const { rows } = await stack.shop.query(
      "SELECT FROM pg_stat_activity WHERE query = $1 AND state = 'active' AND datname = current_database()",
      [sql],
    );
    expect(rows).toEqual([]);
  });

describe.each(SIZES)('%s: killed while a person is asked', (size) => {
  it('nothing more comes, nothing is left of the transaction, and the request can be taken up by another process', async () => {
    const served = await doomed();
    const client = await RawClient.connect(served.agentUrl);
    client.send(Q('BEGIN'), Q('INSERT INTO notes VALUES (33)'));
    await client.ready(2);
    const sql = read(size);
    const { came, request } = await asked(stack, client, sql);
    expect(rowsIn(came)).toBe(LIMIT);
    expect(rowsIn(await kill(served, client))).toBe(0);
    await gone(sql);
    expect((await stack.shop.query('SELECT FROM notes WHERE id = 33')).rows).toEqual([]);
    expect(await stateOf(stack, request.id)).toBe('open');
    // What people answer now runs nothing by itself.
    await stack.api.verdict(request.id, 'approve');
    expect(await stateOf(stack, request.id)).toBe('approved');
    // Once the dead process' lease is over the same statement is attached to it.
    await eventually(async () => {
      const { rows } = await stack.audit.query(
        `SELECT FROM countersign.request r JOIN countersign.process p ON p.id = r.attached_by
          WHERE r.id = $1 AND p.lease_until > clock_timestamp()`,
        [request.id],
      );
      expect(rows).toEqual([]);
    });
    const again = await RawClient.connect(stack.agentUrl);
    again.send(Q(sql));
    const whole = await again.ready(1, 60_000);
    expect(errorIn(whole)).toBeNull();
    expect(rowsIn(whole)).toBeGreaterThanOrEqual(SMALL);
    expect(whole.some((frame) => frame[0] === 0x4e)).toBe(false);
    await eventually(async () => expect(await stateOf(stack, request.id)).toBe('executed'));
    again.close();
  }, 120_000);
});

describe('killed while the rest flows', () => {
  it('the approval is spent, its outcome is unknown, and the same statement is asked about anew', async () => {
    const served = await doomed();
    const client = await RawClient.connect(served.agentUrl);
    const sql = read('large');
    const { request } = await asked(stack, client, sql);
    await stack.api.verdict(request.id, 'approve');
    await client.until((frames) => frames.length > 0, 30_000);
    // The client is in the same process as this test: what the kernel holds is not all of it.
    await kill(served, client);
    await gone(sql);
    await eventually(async () => expect(['unknown', 'executed']).toContain(await stateOf(stack, request.id)));
    const state = await stateOf(stack, request.id);
    const again = await RawClient.connect(stack.agentUrl);
    const second = await asked(stack, again, sql);
    expect(second.request.id).not.toBe(request.id);
    expect(rowsIn(second.came)).toBe(LIMIT);
    await again.cancel();
    await again.ready(1, 30_000);
    again.close();
    process.stderr.write(`killed while the rest flows: ${state}\n`);
  }, 120_000);
});

it('what a killed process left in its journal says that nobody knows the outcome', async () => {
  const served = await doomed();
  const client = await RawClient.connect(served.agentUrl);
  const sql = read('small');
  const { request } = await asked(stack, client, sql);
  await kill(served, client);
  running.push(await served.restart());
  await eventually(async () =>
    expect(await recorded(stack, sql)).toMatchObject({ outcome: 'unknown', approvers: [] }),
  );
  expect(await stateOf(stack, request.id)).toBe('open');
  expect(await stack.audited('SELECT * FROM audit.unapproved_exceptions')).toEqual([]);
}, 120_000);
