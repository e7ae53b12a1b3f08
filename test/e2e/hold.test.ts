import pg from 'pg';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { hasPsql, psql } from '../support/psql.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ limits: { noticeIntervalMs: 300 } });
});
afterAll(() => stack.close());
afterEach(async () => {
  for (const { id } of await stack.api.open()) await stack.api.verdict(id, 'deny', 'left over');
});

async function connect(): Promise<pg.Client & { notices: string[] }> {
  const client = Object.assign(new pg.Client({ connectionString: stack.agentUrl }), {
    notices: [] as string[],
  });
  client.on('notice', (notice) =>
    client.notices.push(`${notice.message} | ${notice.detail} | ${notice.hint}`),
  );
  await client.connect();
  return client;
}

/** Every kind of statement that must wait, with a way to see that it has run. */
const HELD: readonly (readonly [string, string])[] = [
  ['ddl', 'DROP TABLE IF EXISTS scratch'],
  ['privilege', 'GRANT SELECT ON products TO PUBLIC'],
  ['export', 'COPY payments TO STDOUT'],
  ['export', 'SELECT * FROM orders'],
  ['opaque', 'DO $$ BEGIN PERFORM 1; END $$'],
  ['privilege', "SELECT set_config('role', 'postgres', false)"],
  ['privilege', 'CREATE ROLE made_by_agent_in_test'],
  ['ddl', 'SELECT 1; DROP TABLE IF EXISTS scratch'],
  ['bulk_write', 'WITH d AS (DELETE FROM payments RETURNING 1) SELECT count(*) FROM d'],
];

describe('what must wait', () => {
  it.each(HELD)('is held as %s: %s', async (expected, sql) => {
    const client = await connect();
    const running = client.query(sql).then(
      () => 'ran',
      (error: pg.DatabaseError) => error.code,
    );
    const request = await stack.api.waitFor(sql.slice(0, 30));
    expect(request.class).toBe(expected);
    expect(request.rule).toBe(`default:${expected}`);
    await stack.api.verdict(request.id, 'deny');
    expect(await running).toBe('42501');
    // In step: the same connection goes on.
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.end();
  });

  it('is held at Bind too, with its parameters shown', async () => {
    const client = await connect();
    const running = client
      .query('SELECT set_config($1, $2, false)', ['role', 'postgres'])
      .catch((error: pg.DatabaseError) => error.code);
    const request = await stack.api.waitFor('set_config($1');
    const shown = await (
      await fetch(`${stack.httpUrl}/api/requests/${request.id}`, {
        headers: { authorization: `Bearer ${stack.approverToken}` },
      })
    ).json();
    expect(JSON.stringify(shown)).toContain('postgres');
    await stack.api.verdict(request.id, 'deny');
    expect(await running).toBe('42501');
    await client.end();
  });

  it('tells the client why, again and again, and runs on the same connection once approved', async () => {
    const client = await connect();
    await client.query('SELECT 1');
    const running = client.query('CREATE TABLE approved_table (id int)');
    const request = await stack.api.waitFor('approved_table');
    await new Promise((done) => setTimeout(done, 900));
    expect(client.notices.length).toBeGreaterThanOrEqual(2);
    expect(client.notices[0]).toContain(`countersign: held, request ${request.id}`);
    expect(client.notices[0]).toContain('default:ddl');
    expect(client.notices[0]).toContain(`/requests/${request.id}`);
    const answer = await stack.api.verdict(request.id, 'approve', 'looks right');
    expect(answer.status).toBe(200);
    await running;
    expect((await client.query("SELECT to_regclass('approved_table') IS NOT NULL AS there")).rows).toEqual([
      { there: true },
    ]);
    await client.end();
  });

  it('in a transaction keeps the transaction, whichever way it ends', async () => {
    const client = await connect();
    await client.query('BEGIN');
    await client.query("UPDATE customers SET name = 'kept' WHERE id = 1");
    const denied = client.query('DROP TABLE payments').catch((error: pg.DatabaseError) => error.code);
    await stack.api.verdict((await stack.api.waitFor('DROP TABLE payments')).id, 'deny');
    expect(await denied).toBe('42501');
    await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '25P02' });
    await client.query('ROLLBACK');
    await client.query('BEGIN');
    const approved = client.query('CREATE TABLE in_transaction (id int)');
    await stack.api.verdict((await stack.api.waitFor('in_transaction')).id, 'approve');
    await approved;
    await client.query('ROLLBACK');
    expect((await client.query("SELECT to_regclass('in_transaction') IS NULL AS gone")).rows).toEqual([
      { gone: true },
    ]);
    await client.end();
  });

  it('that is denied says who, why, which rule, and what to do', async () => {
    const client = await connect();
    const running = client.query('DROP TABLE payments CASCADE').catch((error: pg.DatabaseError) => error);
    const request = await stack.api.waitFor('DROP TABLE payments CASCADE');
    await stack.api.verdict(request.id, 'deny', 'payments are needed');
    expect(await running).toMatchObject({
      code: '42501',
      message: 'countersign: denied by approver: payments are needed',
      detail: `Rule default:ddl, request ${request.id}.`,
      hint: expect.stringContaining('do not try to reach the same effect in another way'),
    });
    await client.end();
  });

  it('runs once for one approval: the same statement again asks again', async () => {
    const client = await connect();
    const sql = 'CREATE TABLE IF NOT EXISTS once (id int)';
    const first = client.query(sql);
    const one = await stack.api.waitFor('once');
    await stack.api.verdict(one.id, 'approve');
    await first;
    const second = client.query(sql);
    const two = await stack.api.waitFor('once');
    expect(two.id).not.toBe(one.id);
    await stack.api.verdict(two.id, 'approve');
    await second;
    await client.end();
  });
});

describe('postgres.js, which pipelines', () => {
  it('gets the results of what it sent around a held statement, in order', async () => {
    const sql = postgres(stack.agentUrl, { max: 1, onnotice: () => {} });
    const all = Promise.all([
      sql`SELECT 1 AS n`,
      sql`CREATE TABLE IF NOT EXISTS piped (id int)`,
      sql`SELECT 2 AS n`,
      sql`SELECT name FROM customers WHERE id = ${17}`,
    ]);
    await stack.api.verdict((await stack.api.waitFor('piped')).id, 'approve');
    const [one, , two] = await all;
    expect([one[0]?.['n'], two[0]?.['n']]).toEqual([1, 2]);
    await sql.end();
  });
});

describe.runIf(hasPsql())('psql', () => {
  it('prints the NOTICE while it waits and the result afterwards', async () => {
    const running = psql(stack.agentUrl, 'CREATE TABLE from_psql (id int)');
    const request = await stack.api.waitFor('from_psql');
    await stack.api.verdict(request.id, 'approve');
    const { stdout, stderr, code } = await running.done;
    expect(stderr).toContain(`NOTICE:  countersign: held, request ${request.id}`);
    expect(stdout).toContain('CREATE TABLE');
    expect(code).toBe(0);
  });

  it('withdraws its request with Ctrl-C', async () => {
    const running = psql(stack.agentUrl, 'DROP TABLE orders');
    const request = await stack.api.waitFor('DROP TABLE orders');
    running.interrupt();
    const { stderr } = await running.done;
    expect(stderr).toContain('withdrawn');
    const state = async () => {
      const answer = await fetch(`${stack.httpUrl}/api/requests/${request.id}`, {
        headers: { authorization: `Bearer ${stack.approverToken}` },
      });
      return ((await answer.json()) as { state: string }).state;
    };
    await expect.poll(state).toBe('withdrawn');
  });
});
