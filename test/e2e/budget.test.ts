import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BudgetRule, Config } from '../../src/config/config.ts';
import { type Served, serveBeside } from '../support/served.ts';
import { type Stack, startStack } from '../support/stack.ts';

/** So long that all of a test belongs into one window. */
const LONG_MS = 366 * 86_400_000;
const SHORT_MS = 6_000;

/** An agent for each test, so that each has a budget of its own. */
const AGENTS = {
  paging: { rows: 500 },
  keyset: { rows: 500 },
  fetch: { rows: 500 },
  single: { rows: 300 },
  returning: { rows: 100 },
  fifty: { rows: 2_000 },
  bytes: { bytes: 20_000 },
  errors: { bytes: 3_000 },
  two: { rows: 1_000 },
  rolling: { rows: 50, windowMs: SHORT_MS },
  approved: { rows: 100 },
  denied: { rows: 100 },
  middle: { rows: 150 },
  rest: { rows: 60 },
  free: { rows: 10 },
  away: { rows: 100 },
} satisfies Record<string, Partial<BudgetRule>>;
type AgentName = keyof typeof AGENTS;

function withAgents(config: Config): Config {
  const [agent] = config.agents;
  if (agent === undefined) throw new Error('the stack has no agent');
  const names = Object.keys(AGENTS) as AgentName[];
  const none = { tag: null, rows: null, bytes: null, windowMs: LONG_MS };
  return {
    ...config,
    agents: [...config.agents, ...names.map((name) => ({ ...agent, name }))],
    tags: [{ relation: 'public.payments', tags: ['money'] }],
    budgets: [
      ...names.map((name): BudgetRule => ({ ...none, name: `of-${name}`, agents: [name], ...AGENTS[name] })),
      { ...none, name: 'shared', agents: ['agent'], rows: 1_000 },
      { ...none, name: 'money', agents: ['agent'], tag: 'money', rows: 30 },
    ],
  };
}

let stack: Stack;
let other: Stack;
beforeAll(async () => {
  stack = await startStack({
    limits: { holdTimeoutMs: 5_000, holdTimeoutInTransactionMs: 5_000, noticeIntervalMs: 60_000 },
    config: withAgents,
  });
  other = await stack.second();
}, 120_000);
afterAll(() => stack.close());

const urlOf = (agent: AgentName | 'agent', at = stack) => at.agentUrl.replace('//agent:', `//${agent}:`);

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  return client;
}

type Failure = {
  readonly code?: string;
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
};
type Read = { readonly rows: number; readonly error: Failure | null };
type Sql = string | pg.QueryConfig;

/** Rows that came before an error, and the error. */
async function read(client: pg.Client, sql: (at: number) => Sql, rounds: number): Promise<Read> {
  let rows = 0;
  for (let at = 0; at < rounds; at++) {
    try {
      rows += (await client.query(sql(at))).rows.length;
    } catch (error) {
      return { rows, error: error as Failure };
    }
  }
  return { rows, error: null };
}

async function readAs(url: string, sql: (at: number) => Sql, rounds: number): Promise<Read> {
  const client = await connect(url);
  const result = await read(client, sql, rounds);
  await client.end();
  return result;
}

/** Held, and nobody answered in time. */
const HELD = {
  code: '57014',
  message: expect.stringContaining('the request is still open'),
  hint: expect.stringMatching(/ The budget [\w-]+ opens again at 20\d\d-\d\d-[0-9T:.-]+Z\.$/),
};
const page = (size: number) => (at: number) =>
  `SELECT * FROM customers ORDER BY id LIMIT ${size} OFFSET ${at * size}`;

describe('reading in small pieces ends at the wall', () => {
  it('with LIMIT and OFFSET', async () => {
    const { rows, error } = await readAs(urlOf('paging'), page(100), 20);
    expect(rows).toBe(500);
    expect(error).toMatchObject(HELD);
    const request = (await stack.api.open()).find(({ rule }) => rule === 'budget:of-paging');
    expect(request).toMatchObject({ class: 'export', sql: expect.stringContaining('OFFSET 500') });
    const [row] = await stack.audited(
      "SELECT class, decision, rule, reasons, outcome FROM audit.statements WHERE rule = 'budget:of-paging'",
    );
    expect(row).toMatchObject({ class: 'export', decision: 'hold' });
    expect(row?.['reasons'][0]).toMatch(
      /^the budget of-paging is used up: 500 of 500 rows and [0-9,]+ bytes were taken in these 366 days; it opens again at 20\d\d-.*Z$/,
    );
  });

  it('by key', async () => {
    const sql = (at: number) => `SELECT * FROM customers WHERE id > ${at * 100} ORDER BY id LIMIT 100`;
    const { rows, error } = await readAs(urlOf('keyset'), sql, 20);
    expect(rows).toBe(500);
    expect(error).toMatchObject(HELD);
  });

  it('with FETCH again and again', async () => {
    const client = await connect(urlOf('fetch'));
    await client.query('BEGIN');
    await client.query('DECLARE c CURSOR FOR SELECT * FROM customers LIMIT 1000');
    const { rows, error } = await read(client, () => 'FETCH 50 FROM c', 20);
    expect(rows).toBe(500);
    expect(error).toMatchObject(HELD);
    // The client is in step: the transaction is truly aborted, and ends.
    await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '25P02' });
    await client.query('ROLLBACK');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.end();
  });

  it('one row at a time, with parameters', async () => {
    const sql = (at: number) => ({
      name: 'one',
      text: 'SELECT * FROM customers WHERE id = $1',
      values: [at + 1],
    });
    const { rows, error } = await readAs(urlOf('single'), sql, 400);
    expect(rows).toBe(300);
    expect(error).toMatchObject(HELD);
  });

  it('with RETURNING', async () => {
    const sql = (at: number) => `UPDATE customers SET name = name WHERE id = ${at + 1} RETURNING *`;
    const { rows, error } = await readAs(urlOf('returning'), sql, 150);
    expect(rows).toBe(100);
    expect(error).toMatchObject(HELD);
  });

  it('counted in bytes', async () => {
    const { rows, error } = await readAs(urlOf('bytes'), page(10), 100);
    expect(rows).toBeGreaterThan(50);
    expect(rows).toBeLessThan(20_000 / 60);
    // Whichever comes first: the wall at the start of a statement, or in the middle of its result.
    expect(error?.code).toMatch(/^(57014|54000)$/);
  });

  it('also for what is read out of the text of errors', async () => {
    const client = await connect(urlOf('errors'));
    let errors = 0;
    for (let at = 1; at < 100; at++) {
      const failed = await client
        .query(`SELECT email::int FROM customers WHERE id = ${at}`)
        .catch((error: Failure) => error);
      if ('code' in failed && failed.code === '57014') break;
      expect(failed).toMatchObject({ code: '22P02' });
      errors += 1;
    }
    expect(errors).toBeGreaterThan(5);
    expect(errors).toBeLessThan(40);
    await client.end();
  });

  it('over fifty connections', async () => {
    const clients = await Promise.all(Array.from({ length: 50 }, () => connect(urlOf('fifty'))));
    const results = await Promise.all(clients.map((client) => read(client, page(10), 20)));
    const rows = results.reduce((sum, one) => sum + one.rows, 0);
    expect(rows).toBeLessThanOrEqual(2_000);
    expect(rows).toBeGreaterThan(1_400);
    for (const { error } of results) expect(error?.code).toMatch(/^(57014|54000)$/);
    await Promise.all(clients.map((client) => client.end()));
  });
});

describe('a budget over processes', () => {
  it('is one', async () => {
    const urls = [urlOf('two'), urlOf('two', other), urlOf('two'), urlOf('two', other)];
    const results = await Promise.all(urls.map((url) => readAs(url, page(20), 60)));
    const rows = results.reduce((sum, one) => sum + one.rows, 0);
    expect(rows).toBeLessThanOrEqual(1_000);
    expect(rows).toBeGreaterThan(800);
    for (const { error } of results) expect(error).not.toBeNull();
  });

  it('keeps what a process that died had leased, until the window ends', async () => {
    const served = await serve({ budgets: [{ name: 'shared', rows: 1_000, per: '366d' }] });
    const first = await readAs(served.agentUrl, page(20), 1);
    expect(first.rows).toBe(20);
    process.kill(served.pid, 'SIGKILL');
    await served.close();
    const { leased } = await windowOf('shared');
    expect(leased).toBeGreaterThan(20);
    const { rows, error } = await readAs(urlOf('agent'), page(20), 60);
    expect(error).not.toBeNull();
    expect(rows).toBeGreaterThan(100);
    expect(rows + leased).toBeLessThanOrEqual(1_000);
    expect(rows + leased).toBeGreaterThan(1_000 - 20);
    expect((await windowOf('shared')).leased).toBe(1_000);
  });

  it('has again what a process that ends had left', async () => {
    const served = await serve({ budgets: [{ name: 'returned', rows: 1_000, per: '366d' }] });
    await readAs(served.agentUrl, page(20), 1);
    await served.close();
    expect(await windowOf('returned')).toEqual({ leased: 20, taken: 20 });
  });
});

describe('at the wall', () => {
  it('a person can let a statement pass: it counts, and opens nothing', async () => {
    const client = await connect(urlOf('approved'));
    expect(await read(client, page(50), 2)).toEqual({ rows: 100, error: null });
    const sql = 'SELECT * FROM customers ORDER BY id LIMIT 70 /* approved */';
    const running = client.query(sql);
    const { id } = await stack.api.waitFor('/* approved */');
    await stack.api.verdict(id, 'approve');
    expect((await running).rows).toHaveLength(70);
    expect((await read(client, page(50), 1)).error).toMatchObject(HELD);
    await eventually(async () => (await windowOf('of-approved')).taken === 170);
    await client.end();
  });

  it('a denial says when the window opens again', async () => {
    const client = await connect(urlOf('denied'));
    await read(client, page(50), 2);
    const running = client
      .query('SELECT * FROM customers LIMIT 5 /* denied */')
      .catch((error: Failure) => error);
    const { id } = await stack.api.waitFor('/* denied */');
    await stack.api.verdict(id, 'deny', 'enough');
    expect(await running).toMatchObject({
      code: '54000',
      message: 'countersign: the budget of-denied is used up, and more was denied by approver: enough',
      detail: expect.stringMatching(/^Rule budget:of-denied, request req_\w+: 100 of 100 rows and /),
      hint: expect.stringMatching(/^The budget of-denied opens again at 20\d\d-[0-9T:.-]+Z: wait until then/),
    });
    // Nothing but reading is stopped.
    await client.query("UPDATE customers SET name = 'x' WHERE id = 1");
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.end();
  });

  it('a result does not run past it', async () => {
    const client = await connect(urlOf('middle'));
    const { rows, error } = await read(client, page(100), 5);
    expect(rows).toBe(100);
    expect(error).toMatchObject({ ...HELD, detail: expect.stringContaining('50 rows of') });
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.end();
    await eventually(async () => (await windowOf('of-middle')).taken === 150);
  });

  it('a person can let the rest of a result pass', async () => {
    const client = await connect(urlOf('rest'));
    const running = client.query('SELECT * FROM customers ORDER BY id LIMIT 80 /* the rest */');
    const { id } = await stack.api.waitFor('/* the rest */');
    await stack.api.verdict(id, 'approve');
    expect((await running).rows).toHaveLength(80);
    await client.end();
    await eventually(async () => (await windowOf('of-rest')).taken === 80);
  });

  it('what is no data passes', async () => {
    const client = await connect(urlOf('free'));
    expect((await client.query('SELECT g FROM generate_series(1, 500) g')).rows).toHaveLength(500);
    expect((await client.query('SELECT relname FROM pg_class LIMIT 100')).rows).toHaveLength(100);
    expect((await client.query('SELECT * FROM customers LIMIT 10')).rows).toHaveLength(10);
    expect((await read(client, page(1), 1)).error).toMatchObject(HELD);
    expect((await client.query('SELECT relname FROM pg_class LIMIT 100')).rows).toHaveLength(100);
    await client.end();
  });

  it('a tag has its own', async () => {
    const served = await serve({ budgets: [{ name: 'tagged', tag: 'money', rows: 30, per: '366d' }] });
    const client = await connect(served.agentUrl);
    expect((await client.query('SELECT * FROM orders LIMIT 100')).rows).toHaveLength(100);
    const sql = (at: number) =>
      `SELECT o.id FROM orders o JOIN payments p ON p.order_id = o.id WHERE o.id = ${at + 1}`;
    const { rows, error } = await read(client, sql, 60);
    expect(rows).toBe(30);
    expect(error).toMatchObject(HELD);
    expect((await client.query('SELECT * FROM orders LIMIT 100')).rows).toHaveLength(100);
    await client.end();
    await served.close();
  });

  it('a new window opens', async () => {
    const client = await connect(urlOf('rolling'));
    const first = await read(client, page(10), 500);
    expect(first.error?.detail).toContain('budget:of-rolling');
    expect(first.rows).toBeGreaterThanOrEqual(50);
    expect(first.error).toMatchObject(HELD);
    await new Promise((done) => setTimeout(done, SHORT_MS));
    expect(await read(client, page(10), 1)).toEqual({ rows: 10, error: null });
    await client.end();
    await new Promise((done) => setTimeout(done, 2_000));
    const { rows } = await stack.audit.query(
      "SELECT max(rows_taken)::int AS most, count(*)::int AS windows FROM countersign.budget_window WHERE budget = 'of-rolling'",
    );
    expect(rows[0].most).toBe(50);
    expect(rows[0].windows).toBeGreaterThan(1);
  });
});

describe('without an answer', () => {
  it('nothing is read, and what reads nothing goes on', async () => {
    const client = await connect(urlOf('away'));
    await stack.audit.query('ALTER FUNCTION countersign.budget_grant RENAME TO gone');
    try {
      const { error } = await read(client, page(10), 1);
      expect(error).toMatchObject({
        code: '57P03',
        message: expect.stringContaining('what you may still read cannot be looked up'),
      });
      expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    } finally {
      await stack.audit.query('ALTER FUNCTION countersign.gone RENAME TO budget_grant');
    }
    expect(await read(client, page(10), 1)).toEqual({ rows: 10, error: null });
    await client.end();
  });
});

describe('mode observe', () => {
  it('counts and records, and stops nothing', async () => {
    const served = await serve({ mode: 'observe', budgets: [{ name: 'watched', rows: 15, per: '366d' }] });
    const client = await connect(served.agentUrl);
    expect(await read(client, page(10), 2)).toEqual({ rows: 20, error: null });
    for (let i = 0; i < 100 && (await windowOf('watched')).taken < 20; i++)
      await new Promise((done) => setTimeout(done, 100));
    expect(await read(client, page(10), 1)).toEqual({ rows: 10, error: null });
    await client.end();
    await served.close();
    expect(await windowOf('watched')).toMatchObject({ taken: 30 });
    const seen = await stack.audited(
      "SELECT class, decision, outcome FROM audit.statements WHERE rule = 'budget:watched'",
    );
    expect(seen).toEqual([{ class: 'export', decision: 'hold', outcome: 'executed' }]);
  });
});

async function eventually(check: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 150; i++) {
    if (await check()) return;
    await new Promise((done) => setTimeout(done, 200));
  }
  throw new Error('it never came true');
}

async function windowOf(budget: string): Promise<{ readonly leased: number; readonly taken: number }> {
  const { rows } = await stack.audit.query(
    'SELECT sum(rows_leased)::int AS leased, sum(rows_taken)::int AS taken FROM countersign.budget_window WHERE budget = $1',
    [budget],
  );
  return { leased: rows[0].leased ?? 0, taken: rows[0].taken ?? 0 };
}

function serve(options: Parameters<typeof serveBeside>[1]): Promise<Served> {
  const limits = { holdTimeoutMs: 1_500, noticeIntervalMs: 60_000 };
  return serveBeside(stack, { limits, ...options });
}
