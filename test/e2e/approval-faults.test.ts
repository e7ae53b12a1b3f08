/** The way to the audit database breaks between a verdict and its release: it runs once, or not at all and says so. */

import type pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { connectPg, expectServed } from '../proxy/support.ts';
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts';
import { superuser } from '../support/postgres.ts';
import { type Stack, startStack } from '../support/stack.ts';

let between: FaultProxy;
/** Reaches the audit database through what breaks. */
let stack: Stack;
/** Another process, whose way to it is whole; people answer there. */
let other: Stack;
beforeAll(async () => {
  const { host, port } = superuser();
  between = await startFaultProxy({ target: { host, port } });
  other = await startStack({
    sample: 'CREATE TABLE runs (text text)',
    limits: { holdTimeoutMs: 25_000, pollMs: 300 },
  });
  const url = new URL(other.config.audit.url);
  url.port = String(between.port);
  stack = await other.second({ audit: { ...other.config.audit, url: url.href } });
}, 240_000);
afterAll(async () => {
  between.resume();
  await other.close();
  await between.close();
});
afterEach(async () => {
  between.resume();
  await expect.poll(() => ready(), { timeout: 30_000 }).toBe(true);
});

/** The store can be asked and told again. */
async function ready(): Promise<boolean> {
  const answer = await fetch(`${stack.httpUrl}/api/requests?state=open`, {
    headers: { authorization: `Bearer ${stack.approverToken}` },
  });
  await answer.text();
  return answer.status === 200;
}

type Ending = { readonly code: string | null; readonly message: string; readonly detail: string };

/** A statement that leaves a mark each time it runs, held through the breakable way. */
async function held(text: string) {
  const client = await connectPg({ connectionString: stack.agentUrl });
  const sql = `DO $$ BEGIN INSERT INTO runs VALUES ('${text}'); END $$`;
  const running: Promise<Ending> = client.query(sql).then(
    () => ({ code: null, message: '', detail: '' }),
    ({ code, message, detail }: pg.DatabaseError) => ({ code: code ?? '', message, detail: detail ?? '' }),
  );
  const { id } = await other.api.waitFor(`'${text}'`);
  return { client, running, id, sql };
}

const runs = async (text: string) =>
  (await other.shop.query('SELECT count(*)::int AS n FROM runs WHERE text = $1', [text])).rows[0]
    ?.n as number;
const stateOf = async (id: string) =>
  (await other.audit.query('SELECT state FROM countersign.request WHERE id = $1', [id])).rows[0]
    ?.state as string;
/** No hold is attached to it. */
const free = async (id: string) =>
  (await other.audit.query('SELECT attached_by IS NULL AS free FROM countersign.request WHERE id = $1', [id]))
    .rows[0]?.free as boolean;
const approved = async (id: string) => expect((await other.api.verdict(id, 'approve')).status).toBe(200);

/** It ran once and the log says so, or it did not and the client was told; and the session goes on. */
async function expectOnceOrTold(text: string, { client, running, id }: Awaited<ReturnType<typeof held>>) {
  const ending = await running;
  between.resume();
  const ended = ['executed', 'failed', 'unknown', 'approved', 'expired'];
  await expect.poll(async () => ended.includes(await stateOf(id)), { timeout: 40_000 }).toBe(true);
  const ran = await runs(text);
  const state = await stateOf(id);
  process.stderr.write(`${text}: ${ending.code ?? 'ran'} ${ending.message}, ${state}\n`);
  if (ending.code === null) expect([ran, state]).toEqual([1, 'executed']);
  else {
    expect(ran).toBe(0);
    expect(ending.message).toMatch(/^countersign: /);
    // Where the audit database is, and how it was reached, is not the agent's to know.
    expect(ending.detail).not.toMatch(/ECONN|127\.0\.0\.1|terminated/);
    expect(state).not.toBe('executed');
  }
  expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
  await client.end();
  return { ending, state };
}

describe('all connections are cut', () => {
  it('while people think: the verdict is heard all the same, and it runs', async () => {
    const hold = await held('cut while waiting');
    between.cut();
    await approved(hold.id);
    expect((await expectOnceOrTold('cut while waiting', hold)).ending.code).toBeNull();
  }, 120_000);

  it('in the moment of the verdict: it runs once, or not, and says so', async () => {
    const hold = await held('cut at the verdict');
    const verdict = approved(hold.id);
    between.cut();
    await verdict;
    await expectOnceOrTold('cut at the verdict', hold);
  }, 120_000);

  it('and come back only after a while: the hold waits for them', async () => {
    const hold = await held('away for a while');
    between.away();
    await approved(hold.id);
    await new Promise((done) => setTimeout(done, 1_500));
    expect(await runs('away for a while')).toBe(0);
    between.resume();
    expect((await expectOnceOrTold('away for a while', hold)).ending.code).toBeNull();
  }, 120_000);

  it('and do not come back: the hold ends with a clear error, and nothing has run', async () => {
    const hold = await held('away for good');
    between.away();
    await approved(hold.id);
    const { ending } = await expectOnceOrTold('away for good', hold);
    expect(ending).toMatchObject({ code: '57014', message: expect.stringContaining('still open') });
    // The same statement, sent again, uses the approval, once.
    await expect.poll(() => ready(), { timeout: 30_000 }).toBe(true);
    await expect.poll(() => free(hold.id), { timeout: 40_000 }).toBe(true);
    const again = await connectPg({ connectionString: other.agentUrl });
    await again.query(hold.sql);
    await again.end();
    expect(await runs('away for good')).toBe(1);
  }, 120_000);
});

/** Where the release's own transaction breaks. */
const CONSUMES = "SET state = 'consumed'";
const POINTS: readonly (readonly [
  string,
  (said: string, connection: number) => boolean,
  'before' | 'after',
])[] = [
  ['before it is consumed', (said) => said.includes(CONSUMES), 'before'],
  ['when it is consumed and nobody was told', (said) => said.includes(CONSUMES), 'after'],
  ['before its COMMIT', commitOfRelease(), 'before'],
  ['when it is committed and nobody was told', commitOfRelease(), 'after'],
];

/** The COMMIT on the connection that has consumed a receipt. */
function commitOfRelease(): (said: string, connection: number) => boolean {
  let releasing = 0;
  return (said, connection) => {
    if (said.includes(CONSUMES)) releasing = connection;
    return connection === releasing && said.includes(' COMMIT');
  };
}

describe('the release breaks', () => {
  it.each(POINTS)(
    '%s: it runs once, or, where it was consumed and nobody knows, not at all',
    async (point, sees, when) => {
      const text = `broken ${point}`;
      const hold = await held(text);
      const cut = between.cutWhen(sees, when);
      await approved(hold.id);
      await cut;
      const { ending, state } = await expectOnceOrTold(text, hold);
      if (when === 'after' && point.includes('committed')) {
        // It was consumed, and the answer is lost: it does not run, here or anywhere.
        expect(ending.code).not.toBeNull();
        expect(state).toBe('unknown');
        expect(await runs(text)).toBe(0);
        return;
      }
      // Certainly not consumed: the approval is used as soon as the way is whole again, by the hold that waits.
      expect(ending.code).toBeNull();
      expect(await runs(text)).toBe(1);
      await expect.poll(() => stateOf(hold.id), { timeout: 20_000 }).toBe('executed');
    },
    120_000,
  );

  it('in silence: the hold ends with a clear error or runs when it speaks again, once', async () => {
    const hold = await held('stalled');
    const cut = between.cutWhen(commitOfRelease(), 'before');
    between.stall();
    await approved(hold.id);
    await new Promise((done) => setTimeout(done, 1_000));
    expect(await runs('stalled')).toBe(0);
    between.resume();
    await Promise.race([cut, hold.running]);
    await expectOnceOrTold('stalled', hold);
    await expectServed(stack.agentUrl);
  }, 120_000);
});
