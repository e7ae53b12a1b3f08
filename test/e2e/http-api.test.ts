import { createHash } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OPERATIONS } from '../../src/channels/api/app.ts';
import { keySetFromJwks } from '../../src/signing/keys.ts';
import { verifyReceipt } from '../../src/signing/receipt.ts';
import { EXAMPLES, requireFit, WALKED } from '../channels/api/conformance.ts';
import { AUDIENCE, ISSUER, type Issuer, startIssuer } from '../support/issuer.ts';
import { type Stack, startStack } from '../support/stack.ts';

/** The API as programs use it, from a statement on the wire to its row in the log. */
const FEW = { httpPerCredentialPerSecond: 5, httpRefusedPerAddressPerSecond: 1, refusedLoginRows: 2 };
const EXPIRES = Date.now() + 60_000;
let issuer: Issuer;
let stack: Stack;
/** Of the same installation, with limits that a test can reach. */
let narrow: Stack;

beforeAll(async () => {
  issuer = await startIssuer();
  const key = (name: string, person: string, more: object = {}) => ({
    name,
    sha256: createHash('sha256').update(`${name}-token`).digest('hex'),
    person,
    ...more,
  });
  stack = await startStack({
    limits: { checkpointMs: 500 },
    config: (config) => ({
      ...config,
      people: config.people.map((person) =>
        person.id === 'approver' ? { ...person, oidc: [`${ISSUER}#approver-sub`] } : person,
      ),
      audit: { ...config.audit, readUrl: auditorUrl(config.audit.url) },
      http: {
        ...config.http,
        apiKeys: [
          ...config.http.apiKeys,
          key('auditor', 'owner', { scopes: ['audit'] }),
          key('ends', 'approver', { expiresAt: EXPIRES }),
          key('ended', 'approver', { expiresAt: Date.now() - 1 }),
          key('everything', 'approver', { scopes: ['read', 'deny', 'approve', 'audit'] }),
        ],
        jwt: {
          kind: 'jwt',
          issuer: ISSUER,
          audience: AUDIENCE,
          algorithms: ['ES256'],
          keys: { kind: 'url', url: issuer.url },
          freshLogin: null,
          clients: null,
          auditors: ['approver'],
        },
      },
    }),
  });
  narrow = await stack.second({ limits: { ...stack.config.limits, ...FEW } });
});
afterAll(async () => {
  await stack?.close();
  await issuer?.close();
});

function auditorUrl(writer: string): string {
  const url = new URL(writer);
  url.username = 'countersign_auditor';
  url.password = 'auditor-secret';
  return url.href;
}

type Answer = { readonly status: number; readonly headers: Headers; readonly body: Record<string, unknown> };
async function call(path: string, token: string | null, body?: object, at = stack): Promise<Answer> {
  const response = await fetch(`${at.httpUrl}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      'content-type': 'application/json',
    },
    body: body === undefined ? null : JSON.stringify(body),
  });
  const text = await response.text();
  const json = response.headers.get('content-type')?.includes('json') === true;
  const { status, headers } = response;
  return { status, headers, body: json ? (JSON.parse(text) as Record<string, unknown>) : { text } };
}

/** A session that sends one statement; what became of it. */
async function send(
  sql: string,
): Promise<{ readonly done: Promise<string>; readonly close: () => Promise<void> }> {
  const client = new pg.Client({ connectionString: stack.agentUrl });
  client.on('error', () => {});
  await client.connect();
  const done = client.query(sql).then(
    ({ command }) => command,
    (error: Error) => error.message,
  );
  void done.finally(() => client.end().catch(() => {}));
  return { done, close: () => client.end().catch(() => {}) };
}

type Told = { readonly id: string; readonly state: string; readonly sql: string };
async function* events(path: string, token: string): AsyncGenerator<Told> {
  const response = await fetch(`${stack.httpUrl}${path}`, { headers: { authorization: `Bearer ${token}` } });
  const decoder = new TextDecoder();
  let text = '';
  for await (const part of response.body ?? []) {
    text += decoder.decode(part, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const [, data] = /^data: (.*)$/m.exec(block) ?? [];
      if (data !== undefined) yield JSON.parse(data) as Told;
    }
  }
}

describe('from the wire to the log', () => {
  it('a hold is heard of in the stream, approved with a token, runs, and is found in the log', async () => {
    const token = await issuer.token({ sub: 'approver-sub' });
    const stream = events('/api/requests/events', token);
    const agent = await send('ALTER TABLE customers ADD COLUMN by_token text');
    let id = '';
    const states: string[] = [];
    for await (const request of stream) {
      if (!request.sql.includes('by_token')) continue;
      id = request.id;
      states.push(request.state);
      if (request.state === 'open') {
        const said = await call(`/api/requests/${id}/verdict`, token, { verdict: 'approve', reason: 'yes' });
        expect(said).toMatchObject({ status: 200, body: { person: 'approver', state: 'approved' } });
      }
      if (request.state === 'executed') break;
    }
    expect(await agent.done).toBe('ALTER');
    expect(states[0]).toBe('open');
    const receipt = await call(`/api/requests/${id}/receipt`, token);
    expect(receipt.headers.get('content-type')).toBe('application/jose');
    const keys = (await call('/.well-known/jwks.json', null)).body;
    expect(await verifyReceipt(String(receipt.body['text']), await keySetFromJwks(keys), null)).toMatchObject(
      {
        request: id,
        approvers: [{ person: 'approver', ids: [`oidc:${ISSUER}#approver-sub`] }],
      },
    );
    await expect
      .poll(async () => (await call(`/api/audit/statements?text=BY_TOKEN`, token)).body, { timeout: 20_000 })
      .toMatchObject({
        statements: [{ requestId: id, approvers: ['approver'], outcome: 'executed', decision: 'hold' }],
        next: null,
      });
  });

  it('an approval that was taken back releases nothing: the statement, sent again, asks anew', async () => {
    const sql = 'ALTER TABLE customers ADD COLUMN taken_back text';
    const gone = await send(sql);
    const { id } = await stack.api.waitFor('taken_back');
    await gone.close();
    await expect
      .poll(async () => (await call(`/api/requests/${id}`, stack.approverToken)).body['waiting'], {
        timeout: 20_000,
      })
      .toBe(false);
    await stack.api.verdict(id, 'approve');
    expect(await call(`/api/requests/${id}/withdraw`, stack.ownerToken, {})).toMatchObject({
      status: 403,
      body: { code: 'self_approval' },
    });
    expect(await call(`/api/requests/${id}/withdraw`, stack.approverToken, { reason: 'no' })).toMatchObject({
      status: 200,
      body: { state: 'withdrawn' },
    });
    const again = await send(sql);
    const anew = await stack.api.waitFor('taken_back');
    expect(anew.id).not.toBe(id);
    await stack.api.verdict(anew.id, 'deny');
    expect(await again.done).toContain('denied');
    const rows = await stack.audited(
      `SELECT kind, people FROM audit.events WHERE request_id = $1 AND kind = 'request_withdrawn'`,
      [id],
    );
    expect(rows).toEqual([{ kind: 'request_withdrawn', people: ['approver'] }]);
  });

  it('every operation answers as it is described, on a socket', async () => {
    const agent = await send('ALTER TABLE customers ADD COLUMN walked text');
    const { id } = await stack.api.waitFor('walked');
    // It answers with a checkpoint once there is one.
    const checkpoint = async () => (await fetch(`${stack.httpUrl}/checkpoint`)).status;
    await expect.poll(checkpoint, { timeout: 20_000 }).toBe(200);
    // The verdict ends it: last.
    const isVerdict = ({ id }: { readonly id: string }) => id === 'giveVerdict';
    const others = OPERATIONS.filter((one) => !isVerdict(one));
    for (const operation of [...others, ...OPERATIONS.filter(isVerdict)]) {
      const url = `${stack.httpUrl}${operation.path.replace('{id}', id)}`;
      const response = await fetch(url, {
        method: operation.method.toUpperCase(),
        headers: { authorization: 'Bearer everything-token', 'content-type': 'application/json' },
        body: operation.method === 'post' ? JSON.stringify(EXAMPLES[operation.id] ?? {}) : null,
      });
      if (operation.answerType === 'text/event-stream') await response.body?.cancel();
      await requireFit(operation, response);
      expect([operation.id, response.status]).toEqual([operation.id, WALKED[operation.id] ?? 200]);
    }
    expect(await agent.done).toContain('denied');
  });
});

describe('the log over the API', () => {
  it('is searched by all that it knows, in pages, and by those alone who may', async () => {
    const client = new pg.Client({ connectionString: stack.agentUrl });
    await client.connect();
    for (let i = 0; i < 5; i++) await client.query(`SELECT ${i} AS paged_${i}`);
    await client.query('SELECT nothing_such').catch(() => {});
    await client.end();
    const ask = (query: string, token = 'auditor-token') => call(`/api/audit/statements?${query}`, token);
    const found = async (query: string) => (await ask(query)).body['statements'] as Record<string, unknown>[];
    await expect.poll(async () => (await found('text=paged_')).length, { timeout: 20_000 }).toBe(5);
    const seen: unknown[] = [];
    let next: unknown = '';
    while (next !== null) {
      const page = await ask(`text=paged_&limit=2${next === '' ? '' : `&cursor=${String(next)}`}`);
      seen.push(...(page.body['statements'] as Record<string, unknown>[]).map((one) => one['sql']));
      next = page.body['next'];
    }
    expect(seen).toEqual([4, 3, 2, 1, 0].map((i) => `SELECT ${i} AS paged_${i}`));
    expect(await found('text=paged_&decision=hold')).toEqual([]);
    expect(await found('text=paged_&agent=nobody')).toEqual([]);
    expect(await found('text=paged_&class=read&outcome=executed&agent=agent')).toHaveLength(5);
    expect(await found(`text=paged_&to=${new Date(Date.now() - 3_600_000).toISOString()}`)).toEqual([]);
    expect(await found("text=' OR true --")).toEqual([]);
    expect(await found('text=%25')).toEqual([]);
    for (const wrong of ['cursor=x', 'from=yesterday', 'decision=maybe', 'limit=1000'])
      expect(await ask(wrong)).toMatchObject({ status: 422, body: { code: 'invalid_query' } });
    expect(await ask('', stack.approverToken)).toMatchObject({
      status: 403,
      body: { code: 'scope_missing' },
    });
    expect(await ask('', 'agent-secret')).toMatchObject({ status: 403, body: { code: 'agent_credential' } });
    expect(await call('/api/requests', 'auditor-token')).toMatchObject({ status: 403 });
  });

  it('is an entry of the log itself: who, with which credential, what for', async () => {
    const ask = (query: string, token: string) => call(`/api/audit/statements?${query}`, token);
    await ask('text=watched_by&class=read', 'auditor-token');
    const reads = () =>
      stack.audited(
        `SELECT person, credential, operation, filter::jsonb - 'from' AS filter FROM audit.log_reads
          WHERE filter LIKE '%watched_by%'`,
      );
    await expect.poll(reads, { timeout: 10_000 }).toEqual([
      {
        person: expect.any(String),
        credential: expect.stringMatching(/^key:/),
        operation: 'searchStatements',
        filter: { class: 'read', text: 'watched_by', to: null, limit: 50 },
      },
    ]);
    // Refused before anything is asked of the log: nothing was read.
    await ask('text=watched_in_vain', stack.approverToken);
    expect(await stack.audited(`SELECT FROM audit.log_reads WHERE filter LIKE '%in_vain%'`)).toEqual([]);
  });

  it('takes no longer than it may', async () => {
    const hurried = await stack.second({ limits: { ...stack.config.limits, auditSearchMs: 1 } });
    const answers = [];
    for (let i = 0; i < 5; i++)
      answers.push(
        await call(
          '/api/audit/statements?from=2020-01-01T00:00:00Z&text=x',
          'auditor-token',
          undefined,
          hurried,
        ),
      );
    expect(answers.map(({ status }) => status)).toContain(503);
  });
});

describe('what is too much, or no longer good', () => {
  it('a credential that asks too often is told when to come back, and others are not', async () => {
    const statuses: number[] = [];
    let last: Answer | null = null;
    for (let i = 0; i < 80 && last?.status !== 429; i++) {
      last = await call('/api/requests?limit=1', narrow.approverToken, undefined, narrow);
      statuses.push(last.status);
    }
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(20);
    expect(last).toMatchObject({ status: 429, body: { code: 'rate_limited' } });
    expect(last?.headers.get('retry-after')).toBe('1');
    expect((await call('/api/requests?limit=1', narrow.ownerToken, undefined, narrow)).status).toBe(200);
    expect((await call('/livez', null, undefined, narrow)).status).toBe(200);
  });

  it('wrong credentials from one address are refused, then not looked at, and rows of the log, but few', async () => {
    const answers: Answer[] = [];
    for (let i = 0; i < 12; i++) answers.push(await call('/api/requests', `guess-${i}`, undefined, narrow));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.slice(0, 4)).toEqual([401, 401, 401, 401]);
    expect(statuses).toContain(429);
    // A good one goes through all the same (of another person than the test before has slowed down).
    expect((await call('/api/requests?limit=1', narrow.ownerToken, undefined, narrow)).status).toBe(200);
    await expect
      .poll(
        async () =>
          (
            await stack.audited(
              `SELECT detail->>'code' AS code, detail->>'message' AS message, detail->>'address' AS address
               FROM audit.events WHERE kind = 'login_refused' AND detail->>'message' LIKE 'HTTP API:%'`,
            )
          ).length,
        { timeout: 20_000 },
      )
      .toBeGreaterThanOrEqual(2);
    const rows = await stack.audited(
      `SELECT detail::text AS detail FROM audit.events WHERE kind = 'login_refused' AND detail->>'message' LIKE 'HTTP API:%'`,
    );
    expect(rows.length).toBeLessThan(12);
    expect(JSON.stringify(rows)).not.toContain('guess-');
  });

  it('a key that has ended is refused with its own code, and health tells of it', async () => {
    expect((await call('/api/requests', 'ends-token')).status).toBe(200);
    expect(await call('/api/requests', 'ended-token')).toMatchObject({
      status: 401,
      body: { code: 'key_expired' },
    });
    expect((await call('/readyz', null)).body).toMatchObject({
      ok: true,
      checks: { apiKeys: expect.stringContaining('2 expired, or will within 14 days') },
    });
  });

  it("an agent's own token and password are refused, in every way to send them", async () => {
    const agent = await issuer.token({ sub: 'agent' });
    for (const token of [agent, 'agent-secret'])
      expect(await call('/api/requests', token)).toMatchObject({
        status: 403,
        body: { code: 'agent_credential' },
      });
  });

  it('bodies, methods and other origins', async () => {
    const url = `${stack.httpUrl}/api/requests/req_0000000000000000000000/verdict`;
    const headers = { authorization: `Bearer ${stack.approverToken}`, 'content-type': 'application/json' };
    const long = await fetch(url, {
      method: 'POST',
      headers,
      body: JSON.stringify({ reason: 'x'.repeat(70_000) }),
    });
    expect([long.status, await long.json()]).toMatchObject([413, { code: 'body_too_large' }]);
    const asked = await fetch(url, {
      method: 'OPTIONS',
      headers: { origin: 'https://elsewhere', 'access-control-request-method': 'POST' },
    });
    expect([asked.status, asked.headers.get('access-control-allow-origin')]).toEqual([405, null]);
    const from = await fetch(`${stack.httpUrl}/api/requests`, {
      headers: { ...headers, origin: 'https://elsewhere' },
    });
    expect(from.headers.get('access-control-allow-origin')).toBeNull();
    const nowhere = await fetch(`${stack.httpUrl}/api/nothing`, { headers });
    expect([nowhere.status, await nowhere.json()]).toMatchObject([404, { code: 'no_such_page' }]);
  });
});
