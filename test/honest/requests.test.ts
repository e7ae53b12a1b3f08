/** Every way that a request can go, by the real program, and a log that alarms nobody. */
import { createHash } from 'node:crypto';
import { serialize } from 'pg-protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { makePolicy } from '../../src/config/policy.ts';
import { asked, SAMPLE } from '../e2e/midway-support.ts';
import { RawClient } from '../support/raw-client.ts';
import { type Stack, startStack } from '../support/stack.ts';
import {
  agentSends,
  answered,
  connect,
  PATIENCE,
  published,
  requireSound,
  sends,
  settled,
  stateOf,
} from './support.ts';

const TABLES = `CREATE TABLE customers (id int PRIMARY KEY, name text);
  CREATE TABLE orders (id int PRIMARY KEY, customer int);
  CREATE TABLE products (id int PRIMARY KEY);
  CREATE TABLE payments (id int PRIMARY KEY);
  INSERT INTO customers SELECT i, 'name ' || i FROM generate_series(1, 50) i;
  INSERT INTO orders SELECT i, i FROM generate_series(1, 50) i;
  INSERT INTO products VALUES (1);`;

const changes = (relation: string) => ({ class: ['ddl' as const], relation: [`public.${relation}`] });
const RULES: Parameters<typeof makePolicy>[0] = [
  { name: 'two-people', match: changes('customers'), decision: 'hold', quorum: 2 },
  {
    name: 'escalates',
    ...{ match: changes('products'), decision: 'hold' as const, approvers: ['deputy'] },
    escalate: { after: '1s', approvers: ['approver'] },
  },
  { name: 'soon-over', match: changes('payments'), decision: 'hold', expiry: '6s', holdTimeout: '2s' },
  { name: 'never', match: { class: ['privilege'] }, decision: 'deny' },
];

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ sample: `${TABLES}${SAMPLE}`, config: withDeputy });
}, 120_000);
afterAll(() => stack?.close());

function withDeputy(config: Config): Config {
  const sha256 = createHash('sha256').update('deputy-token').digest('hex');
  return {
    ...config,
    http: {
      ...config.http,
      apiKeys: [...config.http.apiKeys, { name: 'deputy', sha256, person: 'deputy' }],
    },
    people: [
      ...config.people,
      { id: 'deputy', email: 'deputy@example.com', slack: [], oidc: [], groups: [] },
    ],
    policy: makePolicy(RULES),
  };
}

const api = (path: string, body: object, token = stack.approverToken) =>
  fetch(`${stack.httpUrl}/api/requests/${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
const until = (id: string, state: string) => expect.poll(() => stateOf(stack, id), PATIENCE).toBe(state);

describe('requests, however they go', { timeout: 600_000 }, () => {
  it('approved, denied, refused by policy, and answered by whoever may not', async () => {
    expect((await answered(stack, 'CREATE TABLE one (id int)', 'approve')).got).toBe('CREATE');
    expect((await answered(stack, 'DROP TABLE orders', 'deny')).got).toBe('42501');
    // Sent again: the answer of before, and no request.
    expect(await agentSends(stack, 'DROP TABLE orders')).toBe('42501');
    expect(await agentSends(stack, 'GRANT SELECT ON orders TO PUBLIC')).toBe('42501');
    const running = agentSends(stack, 'CREATE TABLE two (id int)');
    const { id } = await stack.api.waitFor('CREATE TABLE two');
    expect((await stack.api.verdict(id, 'approve', 'mine', stack.ownerToken)).status).toBe(403);
    expect((await api(`${id}/snooze`, { minutes: 5 })).status).toBe(200);
    expect((await stack.api.verdict(id, 'approve')).status).toBe(200);
    expect(await running).toBe('CREATE');
    expect((await stack.api.verdict(id, 'approve')).status).toBe(200);
  });

  it('by two people, by one of two and then nobody, and by one who then says no', async () => {
    const both = agentSends(stack, 'ALTER TABLE customers ADD COLUMN a int');
    const { id } = await stack.api.waitFor('ADD COLUMN a');
    expect((await stack.api.verdict(id, 'approve')).status).toBe(200);
    expect((await stack.api.verdict(id, 'approve', 'me too', 'deputy-token')).status).toBe(200);
    expect(await both).toBe('ALTER');
    const refused = agentSends(stack, 'ALTER TABLE customers ADD COLUMN b int');
    const second = await stack.api.waitFor('ADD COLUMN b');
    expect((await stack.api.verdict(second.id, 'approve')).status).toBe(200);
    expect((await stack.api.verdict(second.id, 'deny', 'on second thoughts')).status).toBe(200);
    expect(await refused).toBe('42501');
    const left = await connect(stack.agentUrl);
    const waiting = sends(left, 'ALTER TABLE customers ADD COLUMN c int');
    const third = await stack.api.waitFor('ADD COLUMN c');
    expect((await stack.api.verdict(third.id, 'approve')).status).toBe(200);
    await left.end();
    await waiting;
    expect(await stateOf(stack, third.id)).toBe('open');
  });

  it('escalated', async () => {
    const running = agentSends(stack, 'ALTER TABLE products ADD COLUMN a int');
    const { id } = await stack.api.waitFor('products ADD COLUMN a');
    const approve = async () => (await stack.api.verdict(id, 'approve')).status;
    await expect.poll(approve, PATIENCE).toBe(200);
    expect(await running).toBe('ALTER');
  });

  it('over in time: before an answer, and after one that nobody used', async () => {
    const running = agentSends(stack, 'ALTER TABLE payments ADD COLUMN a int');
    const { id } = await stack.api.waitFor('payments ADD COLUMN a');
    expect(await running).toBe('57014');
    await until(id, 'expired');
    const again = agentSends(stack, 'ALTER TABLE payments ADD COLUMN b int');
    const unused = await stack.api.waitFor('payments ADD COLUMN b');
    expect(await again).toBe('57014');
    expect((await stack.api.verdict(unused.id, 'approve')).status).toBe(200);
    await until(unused.id, 'expired');
  });

  it('withdrawn by the client, taken back by whoever approved, and approved and left', async () => {
    const client = await RawClient.connect(stack.agentUrl);
    const { request } = await asked(stack, client, 'DROP TABLE orders -- withdrawn.');
    await client.cancel();
    await client.ready(1, 60_000);
    client.close();
    await until(request.id, 'withdrawn');
    for (const [table, take] of [
      ['taken_back', true],
      ['left_alone', false],
    ] as const) {
      const leaving = await connect(stack.agentUrl);
      sends(leaving, `CREATE TABLE ${table} (id int)`);
      const { id } = await stack.api.waitFor(table);
      await leaving.end();
      const attached = async () =>
        (await stack.audit.query('SELECT attached_by FROM countersign.request WHERE id = $1', [id])).rows;
      await expect.poll(attached, PATIENCE).toEqual([{ attached_by: null }]);
      expect((await stack.api.verdict(id, 'approve')).status).toBe(200);
      if (take) expect((await api(`${id}/withdraw`, { reason: 'wrong table' })).status).toBe(200);
      await until(id, take ? 'withdrawn' : 'approved');
    }
  });

  it('released, and then failed, cancelled, or cut from its server', async () => {
    const { got } = await answered(stack, 'ALTER TABLE orders ADD CONSTRAINT no CHECK (false)', 'approve');
    expect(got).toBe('23514');
    const nap = (name: string) => `DO $$ BEGIN PERFORM pg_sleep(60); END $$ -- ${name}.`;
    const cancelled = await RawClient.connect(stack.agentUrl);
    const first = await asked(stack, cancelled, nap('cancelled'));
    expect((await stack.api.verdict(first.request.id, 'approve')).status).toBe(200);
    await until(first.request.id, 'consumed');
    await asleep('cancelled');
    await cancelled.cancel();
    await cancelled.ready(1, 60_000);
    cancelled.close();
    const cut = agentSends(stack, nap('cut_off'));
    const { id } = await stack.api.waitFor('cut_off');
    expect((await stack.api.verdict(id, 'approve')).status).toBe(200);
    await asleep('cut_off');
    await stack.shop.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%cut_off.' AND pid <> pg_backend_pid()`,
    );
    await cut;
    await expect.poll(() => stateOf(stack, id), PATIENCE).toMatch(/failed|unknown/);
  });

  async function asleep(name: string): Promise<void> {
    const there = async () =>
      (
        await stack.shop.query(
          `SELECT FROM pg_stat_activity WHERE query LIKE '%${name}.' AND wait_event = 'PgSleep'`,
        )
      ).rowCount;
    await expect.poll(there, PATIENCE).toBe(1);
  }

  it.each([
    ['approve', 'small', false],
    ['deny', 'small', true],
    ['approve', 'large', true],
    ['deny', 'large', false],
  ] as const)('in the middle of a result: %s, %s, in a transaction %s', async (verdict, size, begin) => {
    const client = await RawClient.connect(stack.agentUrl);
    if (begin) {
      client.send(serialize.query('BEGIN'));
      await client.ready();
    }
    const sql = `SELECT id, body FROM items WHERE kind = '${size}' -- ${verdict} ${size}.`;
    const { request } = await asked(stack, client, sql);
    expect((await stack.api.verdict(request.id, verdict)).status).toBe(200);
    await client.ready(1, 60_000);
    client.close();
    await until(request.id, verdict === 'approve' ? 'executed' : 'denied');
  });

  it('of several statements, of a pipeline, with parameters, of EXECUTE, and of copies', async () => {
    expect(
      (await answered(stack, 'CREATE TABLE many (id int); DROP TABLE many', 'approve')).got,
    ).toBeTruthy();
    expect((await answered(stack, 'SELECT 1; CREATE TABLE more (id int)', 'deny')).got).toBe('42501');
    expect((await answered(stack, 'COPY orders TO STDOUT', 'deny')).got).toBe('42501');
    const copying = await RawClient.connect(stack.agentUrl);
    const out = await asked(stack, copying, 'COPY orders TO STDOUT -- approved.');
    expect((await stack.api.verdict(out.request.id, 'approve')).status).toBe(200);
    await copying.ready(1, 60_000);
    const { query, copyData, copyDone, copyFail, parse, bind, execute, sync } = serialize;
    copying.send(query('COPY products FROM STDIN'), copyData(Buffer.from('7\n8\n')), copyDone());
    await copying.ready(1, 60_000);
    copying.send(query('COPY products FROM STDIN'), copyData(Buffer.from('9\n')), copyFail('no more'));
    await copying.ready(1, 60_000);
    copying.send(
      parse({ text: 'INSERT INTO products VALUES ($1)' }),
      bind({ values: ['10'] }),
      execute({}),
      parse({ text: 'SELECT id FROM products WHERE id = $1' }),
      bind({ values: ['10'] }),
      execute({ rows: 1 }),
      parse({ text: 'CREATE TABLE piped (id int) -- in a pipeline.' }),
      bind({}),
      execute({}),
      sync(),
    );
    const { id } = await stack.api.waitFor('in a pipeline.');
    expect((await stack.api.verdict(id, 'approve')).status).toBe(200);
    await copying.ready(1, 60_000);
    for (const sql of ['PREPARE later AS DELETE FROM orders -- prepared.', 'EXECUTE later -- all of them.']) {
      copying.send(query(sql));
      const { id: asking } = await stack.api.waitFor(sql);
      expect((await stack.api.verdict(asking, 'approve')).status).toBe(200);
      await copying.ready(1, 60_000);
    }
    copying.close();
  });

  it('leave a log that is sound while it is written, and afterwards', async () => {
    await settled(stack);
    const keys = await published(stack);
    await requireSound(stack, keys);
    const { rows } = await stack.audit.query(
      'SELECT state, count(*)::int AS n FROM countersign.request GROUP BY 1 ORDER BY 1',
    );
    expect(rows.map(({ state }) => state)).toEqual(
      expect.arrayContaining(['approved', 'denied', 'executed', 'expired', 'failed', 'open', 'withdrawn']),
    );
    await stack.running.close();
    await requireSound(stack, keys);
  });
});
