import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Stack, startStack } from '../support/stack.ts';

vi.setConfig({ testTimeout: 240_000 });

/** Many connections of one agent, from the driver to the result. */
let stack: Stack;
const clients: pg.Client[] = [];
beforeAll(async () => {
  stack = await startStack({
    // What people are told is found out in time, also on a busy machine, so that it is the same for all.
    limits: { openRequestsPerAgent: 6, approvalsNoticedPerMinute: 3, contextMs: 60_000 },
  });
});
afterAll(async () => {
  for (const client of clients) await client.end().catch(() => {});
  await stack?.close();
});

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stack.agentUrl });
  // A test that fails leaves its connections to be cut.
  client.on('error', () => {});
  clients.push(client);
  await client.connect();
  return client;
}
type Shown = { readonly id: string; readonly alike: readonly string[]; readonly refusals: number };
async function openRequests(): Promise<readonly Shown[]> {
  const response = await fetch(`${stack.httpUrl}/api/requests?state=open`, {
    headers: { authorization: `Bearer ${stack.approverToken}` },
  });
  return ((await response.json()) as { requests: Shown[] }).requests;
}
async function until<T>(find: () => Promise<T | null>): Promise<T> {
  for (let i = 0; i < 600; i += 1) {
    const found = await find();
    if (found !== null) return found;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error('it did not come within a minute');
}
function answerAll(id: string, body: object): Promise<Response> {
  return fetch(`${stack.httpUrl}/api/requests/${id}/verdict`, {
    method: 'POST',
    headers: { authorization: `Bearer ${stack.approverToken}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

describe('connections that wait for the very same', () => {
  it('are three requests shown as one; an approval releases one, all of them release all', async () => {
    const text = 'UPDATE customers SET name = name';
    const three = await Promise.all([connect(), connect(), connect()]);
    const done: number[] = [];
    const running = three.map(async (client, place) => {
      const { rowCount } = await client.query(text);
      done.push(place);
      return rowCount;
    });
    const [first] = await until(async () => {
      const open = await openRequests();
      const oldest = open.filter(({ id, alike }) => alike.length === 3 && alike[0] === id);
      return oldest.length === 1 ? oldest : null;
    });
    expect(first?.alike).toHaveLength(3);
    await stack.api.verdict(first?.id ?? '', 'approve');
    await until(async () => (done.length === 1 ? true : null));
    const [next] = await until(async () => {
      const open = await openRequests();
      return open.some(({ alike }) => alike.length === 2) ? open : null;
    });
    const answer = await answerAll(next?.id ?? '', { verdict: 'approve', all: true });
    const { answered, notice } = (await answer.json()) as { answered: object[]; notice: string | null };
    expect(answered).toHaveLength(2);
    expect(notice).toContain('approved 3 requests within a minute');
    expect(new Set(await Promise.all(running)).size).toBe(1);
    const receipts = await stack.audited(
      "SELECT DISTINCT receipt FROM audit.events WHERE kind = 'released' AND receipt IS NOT NULL",
    );
    expect(receipts).toHaveLength(3);
    const load = await stack.audited('SELECT person, approvals::int FROM audit.approver_load');
    expect(load).toEqual([{ person: 'approver', approvals: 3 }]);
  });

  it('are limited; the agent is told when to come back, and the approver that there are more', async () => {
    const many = await Promise.all(Array.from({ length: 9 }, connect));
    const outcomes = many.map((client, place) =>
      client.query(`DROP TABLE IF EXISTS flood_${place}`).then(
        () => 'ran',
        (error: pg.DatabaseError) => `${error.code} ${error.detail}`,
      ),
    );
    const open = await until(async () => {
      const found = await openRequests();
      return found.length === 6 && found.some(({ refusals }) => refusals === 3) ? found : null;
    });
    for (const { id } of open) await stack.api.verdict(id, 'deny');
    const all = await Promise.all(outcomes);
    const refused = all.filter((outcome) => outcome.startsWith('54000'));
    expect(refused).toHaveLength(3);
    for (const outcome of refused) {
      expect(outcome).toMatch(/openRequestsPerAgent\): come back when .*, at the latest in \d+ seconds/);
    }
    expect(all.filter((outcome) => outcome.startsWith('42501'))).toHaveLength(6);
  });
});
