import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
let client: pg.Client;
beforeAll(async () => {
  stack = await startStack();
  client = new pg.Client({ connectionString: stack.agentUrl });
  client.on('error', () => {});
  await client.connect();
});
afterAll(async () => {
  await client?.end();
  await stack?.close();
});

type Told = {
  readonly sql: string;
  readonly outcome: string;
  readonly status: string;
  readonly print: string;
};

/** What the log says of the statements since the last call, once it has all their outcomes. */
let seen = 0n;
async function told(count: number): Promise<readonly Told[]> {
  for (;;) {
    const { rows } = await stack.audit.query(
      `SELECT seq, sql, outcome, transaction_status AS status, fingerprint AS print FROM audit.statements
        WHERE seq > $1 AND outcome IS NOT NULL ORDER BY seq`,
      [seen],
    );
    if (rows.length < count) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      continue;
    }
    seen = BigInt(rows.at(-1)?.seq ?? 0);
    return rows as readonly Told[];
  }
}

it('a row says whether what its statement did was committed with it', async () => {
  await client.query('SELECT 1');
  await client.query('BEGIN');
  await client.query('UPDATE customers SET name = name WHERE id = 1');
  await client.query('SELECT 1/0').catch(() => {});
  await client.query('SELECT 2').catch(() => {});
  await client.query('ROLLBACK');
  const rows = (await told(6)).map(({ sql, outcome, status }) => [sql, outcome, status]);
  expect(rows).toEqual([
    ['SELECT 1', 'executed', 'I'],
    ['BEGIN', 'executed', 'T'],
    ['UPDATE customers SET name = name WHERE id = 1', 'executed', 'T'],
    ['SELECT 1/0', 'failed', 'E'],
    ['SELECT 2', 'failed', 'E'],
    ['ROLLBACK', 'executed', 'I'],
  ]);
});

it('queries alike have the same fingerprint, in both protocols; what is no query has none', async () => {
  await client.query('SELECT name FROM customers WHERE id = 1; SELECT name FROM customers WHERE id = 22');
  await client.query('SELECT name FROM customers WHERE id = $1', [3]);
  await client.query('SELECT email FROM customers WHERE id = 1');
  await client.query("SET application_name = 'reports'");
  const prints = (await told(5)).map(({ print }) => print);
  expect(prints[0]).toMatch(/^[0-9a-f]{16}$/);
  expect(prints[1]).toBe(prints[0]);
  expect(prints[2]).toBe(prints[0]);
  expect(prints[3]).not.toBe(prints[0]);
  expect(prints[4]).toBeNull();
});

it('a secret leaves no fingerprint', async () => {
  const running = client.query("ALTER ROLE CURRENT_USER PASSWORD 'hunter2'").catch(() => {});
  const { id } = await stack.api.waitFor('ALTER ROLE');
  await stack.api.verdict(id, 'deny');
  await running;
  const [row] = await told(1);
  expect(row?.print).toBeNull();
  // It did not run.
  expect(row?.status).toBeNull();
});
