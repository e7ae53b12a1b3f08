import pg from 'pg';
import { serialize } from 'pg-protocol';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { makePolicy } from '../../src/config/policy.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';

vi.setConfig({ testTimeout: 120_000 });

const DENIAL_MS = 15_000;
let stack: Stack;
const clients: pg.Client[] = [];
beforeAll(async () => {
  // A rule whose connections wait for a second, and one whose requests do not live much longer.
  const rules = [
    { name: 'short', match: { command: ['DROP *'] }, decision: 'hold' as const, holdTimeout: '1s' },
    {
      name: 'brief',
      match: { command: ['GRANT'] },
      decision: 'hold' as const,
      holdTimeout: '1s',
      expiry: '2s',
    },
  ];
  stack = await startStack({
    config: (config) => ({
      ...config,
      policy: makePolicy(rules),
      agents: config.agents.flatMap((agent) => [agent, { ...agent, name: 'other' }]),
    }),
    limits: { denialRepeatMs: DENIAL_MS },
  });
});
afterAll(() => stack.close());
afterEach(async () => {
  for (const client of clients.splice(0)) await client.end().catch(() => {});
  for (const { id } of await stack.api.open()) await stack.api.verdict(id, 'deny', 'left over');
});

type Asked = { readonly error: pg.DatabaseError | null; readonly ids: readonly string[] };

async function connect(agent = 'agent'): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stack.agentUrl.replace('agent:', `${agent}:`) });
  client.on('error', () => {});
  clients.push(client);
  await client.connect();
  return client;
}

/** Runs it to its end; the requests that the client was told of meanwhile. */
async function run(client: pg.Client, sql: string): Promise<Asked> {
  const ids: string[] = [];
  const heard = ({ message }: { message?: string | undefined }) => {
    const id = /request (req_\w+)/.exec(message ?? '')?.[1];
    if (id !== undefined) ids.push(id);
  };
  client.on('notice', heard);
  const error = await client.query(sql).then(
    () => null,
    (failure: pg.DatabaseError) => failure,
  );
  client.off('notice', heard);
  return { error, ids: [...new Set(ids)] };
}

const state = async (id: string) =>
  (await stack.audit.query('SELECT state, end_reason FROM countersign.request WHERE id = $1', [id])).rows[0];

describe('a statement that is sent again', () => {
  it('attaches to its request, from any session of the agent, and runs at once when it was approved meanwhile', async () => {
    const sql = 'DROP TABLE IF EXISTS attach_one';
    const client = await connect();
    const first = await run(client, sql);
    expect(first.error).toMatchObject({
      code: '57014',
      message: expect.stringContaining('still open'),
      detail: `Rule short, request ${first.ids[0]}.`,
      hint: expect.stringContaining('exactly the same statement again'),
    });
    expect((await run(client, sql)).ids).toEqual(first.ids);
    expect((await run(await connect(), sql)).ids).toEqual(first.ids);
    expect((await stack.api.verdict(first.ids[0] ?? '', 'approve')).status).toBe(200);
    // No NOTICE: nobody is waited for.
    expect(await run(await connect(), sql)).toEqual({ error: null, ids: [] });
    await expect
      .poll(() => state(first.ids[0] ?? ''), { timeout: 20_000 })
      .toMatchObject({ state: 'executed' });
    // The approval was for one.
    const again = await run(client, sql);
    expect(again.ids).not.toEqual(first.ids);
  });

  it('gets a denial of before at once, with its reason, and is asked about again after a time', async () => {
    const sql = 'DROP TABLE IF EXISTS attach_denied';
    const client = await connect();
    const [id = ''] = (await run(client, sql)).ids;
    await stack.api.verdict(id, 'deny', 'it is needed');
    const repeated = await run(client, sql);
    expect(repeated.ids).toEqual([]);
    expect(repeated.error).toMatchObject({
      code: '42501',
      message: 'countersign: denied by approver: it is needed',
      detail: expect.stringMatching(
        new RegExp(
          `^Rule short, request ${id}\\. This is the answer that was given .*until .*Z it is repeated`,
        ),
      ),
    });
    expect(await stack.api.open()).toEqual([]);
    // Another statement is another question, and so is the same after that time.
    expect((await run(client, `${sql} CASCADE`)).ids).toHaveLength(1);
    await new Promise((done) => setTimeout(done, DENIAL_MS));
    const later = await run(client, sql);
    expect(later.ids).toHaveLength(1);
    expect(later.ids).not.toEqual([id]);
  });

  it('opens a new request where the last one was withdrawn, or has expired', async () => {
    const client = await connect();
    const sql = 'CREATE TABLE attach_withdrawn (id int)';
    const raw = await RawClient.connect(stack.agentUrl);
    raw.send(serialize.query(sql));
    const { id } = await stack.api.waitFor('attach_withdrawn');
    await raw.cancel();
    await raw.ready();
    await expect.poll(() => state(id), { timeout: 20_000 }).toMatchObject({ state: 'withdrawn' });
    raw.send(serialize.query(sql));
    expect((await stack.api.waitFor('attach_withdrawn')).id).not.toBe(id);
    raw.close();

    const grant = 'GRANT SELECT ON products TO PUBLIC';
    const [first = ''] = (await run(client, grant)).ids;
    await expect.poll(() => state(first), { timeout: 20_000 }).toMatchObject({ state: 'expired' });
    const [second = ''] = (await run(client, grant)).ids;
    expect(second).not.toBe(first);
  });

  it('opens a new request where an object has changed, and the old one expires', async () => {
    await stack.shop.query('CREATE TABLE attach_object (id int)');
    const client = await connect();
    const sql = 'DROP TABLE attach_object';
    const known = async () =>
      (await client.query("SELECT to_regclass('attach_object')::oid AS oid")).rows[0]?.oid;
    await known();
    const [first = ''] = (await run(client, sql)).ids;
    await stack.shop.query('DROP TABLE attach_object; CREATE TABLE attach_object (id int)');
    // The catalog is read again by and by.
    await expect
      .poll(
        async () => {
          const [id = first] = (await run(client, sql)).ids;
          return id === first ? 'same' : 'new';
        },
        { timeout: 100_000, interval: 3_000 },
      )
      .toBe('new');
    expect(await state(first)).toMatchObject({
      state: 'expired',
      end_reason: expect.stringContaining('superseded'),
    });
  });

  it('while it waits elsewhere is a request of its own, and one approval releases one', async () => {
    const sql = 'CREATE TABLE attach_twice (id int)';
    const [one, two] = [await connect(), await connect()];
    const [a, b] = [run(one, sql), run(two, sql)];
    await expect.poll(async () => (await stack.api.open()).length, { timeout: 20_000 }).toBe(2);
    const [newest, oldest] = await stack.api.open();
    await stack.api.verdict(oldest?.id ?? '', 'approve');
    const done = await Promise.race([a, b]);
    expect(done.error).toBeNull();
    expect(await stack.api.open()).toHaveLength(1);
    await stack.api.verdict(newest?.id ?? '', 'deny');
    expect([(await a).error, (await b).error].filter((error) => error !== null)).toHaveLength(1);
  });

  it('of another agent, under the same role, never attaches', async () => {
    const sql = 'DROP TABLE IF EXISTS attach_other';
    const [mine = ''] = (await run(await connect(), sql)).ids;
    await stack.api.verdict(mine, 'approve');
    const asked = await run(await connect('other'), sql);
    expect(asked.ids).toHaveLength(1);
    expect(asked.ids).not.toEqual([mine]);
  });
});
