import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { withClient } from '../support/postgres.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack({ limits: { holdTimeoutMs: 4_000, requestLifetimeMs: 60_000 } });
});
afterAll(() => stack.close());

async function connect(url = stack.agentUrl): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  return client;
}
const failure = (running: Promise<unknown>) =>
  running.then(
    () => null,
    (error: pg.DatabaseError) => error,
  );
const stateOf = async (id: string) => {
  const answer = await fetch(`${stack.httpUrl}/api/requests/${id}`, {
    headers: { authorization: `Bearer ${stack.approverToken}` },
  });
  return ((await answer.json()) as { state: string }).state;
};
const eventually = async (check: () => Promise<boolean>) => {
  for (let i = 0; i < 100; i++) {
    if (await check()) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error('it never came true');
};

describe('nobody approves their own request', () => {
  it('the owner of the agent is refused, and the statement goes on waiting', async () => {
    const client = await connect();
    const running = client.query('CREATE TABLE by_owner (id int)');
    const { id } = await stack.api.waitFor('by_owner');
    const refused = await stack.api.verdict(id, 'approve', 'mine', stack.ownerToken);
    expect(refused.status).toBe(403);
    expect(await refused.json()).toMatchObject({ code: 'self_approval' });
    expect(await stateOf(id)).toBe('open');
    await stack.api.verdict(id, 'approve');
    await running;
    await client.end();
  });

  it("an agent's credential is refused on every surface", async () => {
    const basic = `Basic ${Buffer.from('agent:agent-secret').toString('base64')}`;
    const answer = await fetch(`${stack.httpUrl}/api/requests?state=open`, {
      headers: { authorization: basic },
    });
    expect(answer.status).toBe(403);
    expect(await answer.json()).toMatchObject({ code: 'agent_credential' });
  });
});

describe('time and absence', () => {
  it('when the hold times out the request stays open, and the same statement attaches to it', async () => {
    const client = await connect();
    const sql = 'CREATE TABLE attached (id int)';
    const timedOut = await failure(client.query(sql));
    expect(timedOut).toMatchObject({ code: '57014', message: expect.stringContaining('still open') });
    const { id } = await stack.api.waitFor('attached');
    await stack.api.verdict(id, 'approve');
    // Approved meanwhile: it runs at once, without another question.
    await client.query(sql);
    expect(await stack.api.open()).toEqual([]);
    await eventually(async () => (await stateOf(id)) === 'executed');
    await client.end();
  });

  it('when the client goes the request stays open for another connection', async () => {
    const first = await connect();
    const sql = 'CREATE TABLE after_leaving (id int)';
    first.query(sql).catch(() => {});
    const { id } = await stack.api.waitFor('after_leaving');
    await first.end().catch(() => {});
    // The approval of a detached request releases nothing by itself.
    await new Promise((done) => setTimeout(done, 300));
    await stack.api.verdict(id, 'approve');
    expect((await stack.shop.query("SELECT to_regclass('after_leaving') IS NULL AS none")).rows).toEqual([
      { none: true },
    ]);
    const second = await connect();
    await second.query(sql);
    await eventually(async () => (await stateOf(id)) === 'executed');
    await second.end();
  });

  it('a restart of the proxy loses no open request', async () => {
    const own = await startStack();
    const client = await connect(own.agentUrl);
    const running = failure(client.query('CREATE TABLE over_restart (id int)'));
    const { id } = await own.api.waitFor('over_restart');
    await own.restart();
    expect(await running).not.toBeNull();
    expect((await own.api.open()).map((request) => request.id)).toEqual([id]);
    await own.api.verdict(id, 'approve');
    const again = await connect(own.agentUrl);
    await again.query('CREATE TABLE over_restart (id int)');
    await again.end();
    await own.close();
  });

  it('a verdict taken by another process releases the statement here', async () => {
    const second = await stack.second();
    const client = await connect();
    const running = client.query('CREATE TABLE two_processes (id int)');
    const { id } = await second.api.waitFor('two_processes');
    await second.api.verdict(id, 'approve');
    await running;
    await client.end();
  });

  it('an expired request ends the hold', async () => {
    const own = await startStack({ limits: { requestLifetimeMs: 1_000 } });
    const client = await connect(own.agentUrl);
    const error = await failure(client.query('DROP TABLE payments'));
    expect(error).toMatchObject({ code: '57014', message: expect.stringContaining('expired') });
    await client.end();
    await own.close();
  });

  it('a cancel request withdraws it', async () => {
    const client = await connect();
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const running = failure(client.query('DROP TABLE payments'));
    const { id } = await stack.api.waitFor('DROP TABLE payments');
    const canceller = new pg.Client({ connectionString: stack.agentUrl });
    const { host, port } = stack.running.agentAddress;
    (
      canceller as unknown as {
        connection: {
          connect: (port: number, host: string) => void;
          cancel: (pid: number, key: number) => void;
          on: (e: string, f: () => void) => void;
        };
      }
    ).connection.connect(port, host);
    (
      canceller as unknown as {
        connection: { cancel: (pid: number, key: number) => void; on: (e: string, f: () => void) => void };
      }
    ).connection.on('connect', () =>
      (
        canceller as unknown as { connection: { cancel: (pid: number, key: number) => void } }
      ).connection.cancel(processID, secretKey),
    );
    expect(await running).toMatchObject({ code: '57014', message: expect.stringContaining('withdrawn') });
    await eventually(async () => (await stateOf(id)) === 'withdrawn');
    expect((await client.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }]);
    await client.end();
  });
});

describe('the receipt', () => {
  it('is verified and consumed once, before anything runs', async () => {
    const client = await connect();
    const running = client.query('CREATE TABLE with_receipt (id int)');
    const { id } = await stack.api.waitFor('with_receipt');
    await stack.api.verdict(id, 'approve');
    await running;
    await client.end();
    const rows = await stack.audit.query(
      "SELECT kind, receipt FROM audit.entry WHERE request_id = $1 AND kind IN ('request_approved', 'released') ORDER BY at",
      [id],
    );
    expect(rows.rows.map(({ kind }) => kind)).toEqual(['request_approved', 'released']);
    expect(rows.rows[0]?.receipt).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(rows.rows[1]?.receipt).toBe(rows.rows[0]?.receipt);
  });

  it('that was altered in the database releases nothing', async () => {
    const client = await connect();
    const running = failure(client.query('CREATE TABLE forged (id int)'));
    const { id } = await stack.api.waitFor('forged');
    // An insider with the database, but without the key.
    await stack.audit
      .query(
        "UPDATE countersign.request SET state = 'approved', receipt = 'eyJhbGciOiJFZERTQSJ9.e30.AAAA' WHERE id = $1",
        [id],
      )
      .catch(() => {});
    expect((await running)?.code).toMatch(/^(42501|57014)$/);
    expect((await stack.shop.query("SELECT to_regclass('forged') IS NULL AS none")).rows).toEqual([
      { none: true },
    ]);
    await client.end();
  });
});

describe('the audit database', () => {
  it('is closed to the agent, and readable for the auditor, who can write nothing', async () => {
    const agentRole = stack.config.agents[0]?.upstream.user ?? '';
    const direct = new URL(stack.directUrl);
    const asAgent = {
      host: direct.hostname,
      port: Number(direct.port),
      user: agentRole,
      password: direct.password,
      database: stack.audit.name,
    };
    await expect(withClient(asAgent, (client) => client.query('SELECT 1'))).rejects.toMatchObject({
      code: '42501',
    });
    await eventually(
      async () => (await stack.audit.query('SELECT count(*)::int AS n FROM audit.statements')).rows[0]?.n > 5,
    );
    const auditor = await connect(stack.auditorUrl);
    const statements = await auditor.query(
      "SELECT sql, class, decision, rule, outcome, approvers FROM audit.statements WHERE sql = 'CREATE TABLE with_receipt (id int)'",
    );
    expect(statements.rows).toEqual([
      {
        sql: 'CREATE TABLE with_receipt (id int)',
        class: 'ddl',
        decision: 'hold',
        rule: 'default:ddl',
        outcome: 'executed',
        approvers: ['approver'],
      },
    ]);
    expect((await auditor.query('SELECT * FROM audit.approvals')).rowCount).toBeGreaterThan(2);
    expect((await auditor.query('SELECT * FROM audit.exports')).fields.length).toBeGreaterThan(5);
    expect((await auditor.query('SELECT * FROM audit.unapproved_exceptions')).rows).toEqual([]);
    for (const sql of [
      'DELETE FROM audit.entry',
      "UPDATE audit.entry SET sql = 'x'",
      'TRUNCATE audit.entry',
      'CREATE TABLE audit.x (i int)',
      'SELECT * FROM countersign.request',
    ])
      await expect(auditor.query(sql)).rejects.toMatchObject({ code: '42501' });
    await auditor.end();
  });
});
