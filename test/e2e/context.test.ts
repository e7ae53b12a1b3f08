import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RequestJson } from '../../src/channels/api/json.ts';
import { factText } from '../../src/channels/fact-lines.ts';
import { withClient } from '../support/postgres.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
let client: pg.Client;
beforeAll(async () => {
  stack = await startStack({ limits: { contextMs: 20_000, probeMs: 4_000 } });
  client = new pg.Client({ connectionString: stack.agentUrl, application_name: 'reporter' });
  client.on('error', () => {});
  await client.connect();
});
afterAll(async () => {
  await client?.end();
  await stack?.close();
});

/** The request that a statement opens, as the API has it; it is denied then. */
async function asked(sql: string, on = client, values?: readonly unknown[]): Promise<RequestJson> {
  const running = on.query(sql, values === undefined ? undefined : [...values]).catch(() => undefined);
  const { id } = await stack.api.waitFor(sql.slice(0, 40));
  const answer = await fetch(`${stack.httpUrl}/api/requests/${id}`, {
    headers: { authorization: `Bearer ${stack.approverToken}` },
  });
  const request = (await answer.json()) as RequestJson;
  await stack.api.verdict(id, 'deny');
  await running;
  return request;
}

async function lines(...question: Parameters<typeof asked>): Promise<readonly string[]> {
  const { facts } = await asked(...question);
  return facts.map((line) => `${line.label}: ${factText(line, 30)}`);
}

describe('what people are told when a statement is held', () => {
  it('DROP … CASCADE: claims, sizes, and what it takes with it; and the log has it', async () => {
    const sql = `DROP TABLE customers CASCADE /*task='clean%20up',reason='it\\'s%E2%80%AE old'*/`;
    const request = await asked(sql);
    const told = request.facts.map((line) => `${line.label}: ${factText(line, 30)}`);
    expect(told).toEqual(
      expect.arrayContaining([
        'Program: reporter (claimed by the agent)',
        "Reason: it's‹U+202E› old (claimed by the agent, in a comment)",
        'Agent says: in a comment, in its own words: task = clean up',
        expect.stringMatching(/^Drops: 1 object \(.*, about 20,000 rows\): table public\.customers$/),
        'CASCADE: drops 1 other object too: constraint orders_customer_id_fkey on table public.orders',
        expect.stringMatching(
          /^Lock: ACCESS EXCLUSIVE on 2 tables of which a part goes .*table public\.orders/,
        ),
      ]),
    );
    const { rows } = await stack.audit.query(
      `SELECT detail[array_position(detail, 'context') + 1] AS context FROM audit.entry WHERE kind = 'request_opened' AND request_id = $1`,
      [request.id],
    );
    expect(JSON.parse(rows[0]?.context)).toEqual(request.context);
  });

  it('DELETE: the planner, foreign keys, parameters', async () => {
    const told = await lines('DELETE FROM customers WHERE id > $1', client, [100]);
    expect(told).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^Estimate: 19,\d{3} rows deleted in public\.customers/),
        expect.stringMatching(
          /^Plan: Delete on public\.customers, Seq Scan on public\.customers \(19,\d{3} rows\)$/,
        ),
        expect.stringMatching(/^Writes: deletes from table public\.customers \(/),
      ]),
    );
  });

  it('a read above the limit', async () => {
    const told = await lines('SELECT id, email FROM customers');
    expect(told).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^Data: public\.customers \(read; reads .*email/),
        expect.stringMatching(/^Estimate: 20,000 rows of about \d+ bytes each, .* come back/),
      ]),
    );
  });

  it('a hostile search_path and functions of the agent change nothing in what is found', async () => {
    await withClient({ connectionString: stack.directUrl }, (direct) =>
      direct.query(`CREATE SCHEMA IF NOT EXISTS trap;
        CREATE TABLE trap.pg_depend (classid oid, objid oid, objsubid int, refclassid oid, refobjid oid, refobjsubid int, deptype "char");
        CREATE TABLE trap.pg_class (oid oid, relname name);
        CREATE TABLE trap.orders (id int);
        CREATE FUNCTION trap.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE sql AS 'SELECT 1::bigint / 0';
        CREATE FUNCTION trap.never(bigint, oid) RETURNS boolean LANGUAGE sql AS 'SELECT (1 / 0)::boolean';
        CREATE OPERATOR trap.= (LEFTARG = bigint, RIGHTARG = oid, FUNCTION = trap.never)`),
    );
    const other = new pg.Client({ connectionString: stack.agentUrl, options: '-c search_path=trap,public' });
    await other.connect();
    expect(await lines('DROP TABLE customers CASCADE /* trap */', other)).toEqual(
      expect.arrayContaining([
        'CASCADE: drops 1 other object too: constraint orders_customer_id_fkey on table public.orders',
      ]),
    );
    // A bare name means what it means in the agent's own path.
    expect(await lines('DROP TABLE orders CASCADE /* trap */', other)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^Drops: 1 object .*: table trap\.orders$/)]),
    );
    await other.end();
  });

  it('says what it does not know: code, names set in the same string, temporary and absent objects', async () => {
    expect(await lines('DO $$ BEGIN NULL; END $$')).toEqual(
      expect.arrayContaining([expect.stringMatching(/^Not known: a block of code/)]),
    );
    expect(await lines('SET search_path = trap; DROP TABLE orders')).toEqual(
      expect.arrayContaining([expect.stringMatching(/^Not known: not found in the catalog/)]),
    );
    const renamed = await lines('ALTER TABLE orders RENAME TO old; DROP TABLE public.customers CASCADE');
    expect(renamed.at(-1)).toMatch(/^Not known: statements before it in this string change the schema/);
    const other = new pg.Client({ connectionString: stack.agentUrl });
    await other.connect();
    const making = other.query('CREATE TEMP TABLE mine (id int)');
    await stack.api.verdict((await stack.api.waitFor('CREATE TEMP TABLE mine')).id, 'approve');
    await making;
    expect(await lines('DROP TABLE customers CASCADE /* temp */', other)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^Not known: names may mean temporary objects/)]),
    );
    await other.end();
  });

  it('a table that is locked by somebody keeps nobody from asking', async () => {
    await withClient({ connectionString: stack.directUrl }, async (locker) => {
      await locker.query('BEGIN; LOCK TABLE customers');
      const told = await lines('DROP TABLE customers CASCADE /* locked */');
      expect(told).toEqual(
        expect.arrayContaining([
          expect.stringMatching(/^Drops: 1 object \(size not known: it is locked, about 20,000 rows\)/),
        ]),
      );
      const write = await lines('DELETE FROM customers /* locked */');
      expect(write).toEqual(expect.arrayContaining([expect.stringMatching(/^Not known: /)]));
      await locker.query('ROLLBACK');
    });
  });

  it('what it would touch is looked at, and nothing of it is done', async () => {
    const before = await stack.shop.query('SELECT count(*)::int AS n FROM customers');
    await asked('TRUNCATE customers CASCADE');
    const told = await lines('TRUNCATE customers /* again */');
    expect(told).toEqual(expect.arrayContaining([expect.stringMatching(/^Fails: without CASCADE/)]));
    expect((await stack.shop.query('SELECT count(*)::int AS n FROM customers')).rows).toEqual(before.rows);
  });

  it('a string of several is one request that lists them all, and which of them need approval and why', async () => {
    const sql =
      'SELECT 1 AS batch; DROP TABLE payments; UPDATE products SET name = name WHERE id = 1; GRANT SELECT ON products TO PUBLIC';
    const request = await asked(sql);
    const line = request.facts.find(({ label }) => label === 'Statements');
    expect(line).toEqual({
      label: 'Statements',
      text: '4 that run as one, of which 2 need approval',
      of: 4,
      items: [
        '1. SELECT (read): needs no approval',
        '2. DROP TABLE (ddl): needs approval, drops a table (rule default:ddl)',
        '3. UPDATE (write): needs no approval',
        expect.stringMatching(/^4\. GRANT \(privilege\): needs approval, .* \(rule default:privilege\)$/),
      ],
    });
    expect(request.command).toBe('SELECT; DROP TABLE; UPDATE; GRANT');
    expect(request.sql).toBe(sql);
    expect((await asked('DROP TABLE payments /* alone */')).facts.map(({ label }) => label)).not.toContain(
      'Statements',
    );
  });

  it('what the agent has taken of its budgets, and when they open again', async () => {
    await client.query('SELECT id FROM customers LIMIT 7');
    let no = 0;
    // Another statement each time: a denial is repeated.
    const budget = async () =>
      (await lines(`/* ${no++} */ COPY payments TO STDOUT`)).find((line) => line.startsWith('Budget: '));
    await expect
      .poll(budget, { timeout: 60_000, interval: 1_500 })
      .toMatch(
        /^Budget: default: [\d,]*[1-9][\d,]* of 1,000,000,000,000 rows and [\d,]+ of [\d,]+ bytes were taken in this hour; opens again at \d{4}-/,
      );
  }, 120_000);

  it('the run and the reason that a statement claims for itself, and what is hostile in them', async () => {
    const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    const other = new pg.Client({
      connectionString: stack.agentUrl,
      application_name: 'job reason=nightly%20clean\u202eup',
    });
    await other.connect();
    expect(await lines(`DROP TABLE payments /*traceparent='${trace}'*/`, other)).toEqual(
      expect.arrayContaining([
        `Run: ${trace} (claimed by the agent)`,
        'Reason: nightly clean‹U+202E›up (claimed by the agent, in application_name)',
      ]),
    );
    // It is the statement's own, and must have the standard's form.
    const { run } = await asked('DROP TABLE payments /* no trace */', other);
    expect(run).toMatch(/^[0-9a-f]{24}$/);
    for (const hostile of [
      `${trace}-x`,
      trace.toUpperCase(),
      '00-00000000000000000000000000000000-00f067aa0ba902b7-01',
      `ff${trace.slice(2)}`,
      'x'.repeat(5_000),
      '%E2%80%AEapproved by the owner',
    ])
      expect((await asked(`DROP TABLE payments /*traceparent='${hostile}'*/`, other)).run).toBe(run);
    await other.query("SET application_name = 'renamed'");
    expect(await lines('DROP TABLE payments /* renamed */', other)).toContain(
      'Program: renamed (claimed by the agent)',
    );
    await other.end();
    const named = new pg.Client({ connectionString: stack.agentUrl, options: '-c countersign.run=run-7' });
    await named.connect();
    // What the session says counts more than a comment.
    expect((await asked(`DROP TABLE payments /*traceparent='${trace}',n='7'*/`, named)).run).toBe('run-7');
    await named.end();
    await expect
      .poll(
        () =>
          stack
            .audited(
              `SELECT DISTINCT run, run_verified FROM audit.entry WHERE kind IN ('intent', 'request_opened') AND run = $1`,
              [trace],
            )
            .catch(() =>
              stack.audited(
                'SELECT DISTINCT run, false AS run_verified FROM audit.statements WHERE run = $1',
                [trace],
              ),
            ),
        { timeout: 30_000 },
      )
      .toEqual([{ run: trace, run_verified: false }]);
  });
});
