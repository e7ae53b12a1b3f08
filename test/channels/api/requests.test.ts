import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { listenHttp } from '../../../src/channels/api/server.ts';
import { keySetFromJwks } from '../../../src/signing/keys.ts';
import { verifyReceipt } from '../../../src/signing/receipt.ts';
import { type ApprovalWorld, approvalWorld, question } from '../../approval/support.ts';
import { AGENT_PASSWORD, type HttpWorld, httpWorld, post } from './support.ts';

let world: ApprovalWorld;
let http: HttpWorld;
let n = 0;
let asked: ReturnType<typeof question>;
let id: string;

beforeAll(async () => {
  world = await approvalWorld('aphttp');
  http = await httpWorld(world);
});
afterAll(() => world?.close());
beforeEach(async () => {
  n += 1;
  asked = question({ text: `DROP TABLE api_${n}` });
  id = (await http.approvals.open(asked)).id;
});

async function code(response: Response): Promise<unknown> {
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  return ((await response.json()) as { code?: unknown }).code;
}

describe('GET', () => {
  it('lists open requests with what a person must know', async () => {
    const response = await http.app.request('/api/requests?state=open', {
      headers: { authorization: 'Bearer reviewer-token' },
    });
    expect(response.status).toBe(200);
    const { requests } = (await response.json()) as { requests: Record<string, unknown>[] };
    expect(requests.find((request) => request['id'] === id)).toMatchObject({
      id,
      state: 'open',
      agent: 'shop-agent',
      onBehalfOf: null,
      database: 'shop',
      role: 'shop_agent',
      sql: `DROP TABLE api_${n}`,
      class: 'ddl',
      rule: 'default:ddl',
      reasons: ['DROP TABLE changes the schema'],
      createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
      expiresAt: expect.stringMatching(/^\d{4}-.*Z$/),
    });
  });

  it('gives one, and 404 for another', async () => {
    const headers = { authorization: 'bearer reviewer-token' };
    expect(await (await http.app.request(`/api/requests/${id}`, { headers })).json()).toMatchObject({ id });
    expect((await http.app.request('/api/requests/req_nothing', { headers })).status).toBe(404);
    expect((await http.app.request('/api/requests?state=half', { headers })).status).toBe(422);
  });

  it.each([undefined, 'Bearer wrong', 'Bearer ', 'Basic ZGFuOng=', 'reviewer-token'])(
    'is 401 for %s',
    async (authorization) => {
      const response = await http.app.request(
        '/api/requests',
        authorization === undefined ? {} : { headers: { authorization } },
      );
      expect(response.status).toBe(401);
      expect(await code(response)).toBe('no_credential');
      expect(response.headers.get('www-authenticate')).toContain('Bearer');
    },
  );
});

describe('POST a verdict', () => {
  it('approves, also a second time, and the receipt verifies offline with the served keys', async () => {
    const first = await post(http.app, id, 'Bearer reviewer-token', { verdict: 'approve', reason: 'ok' });
    expect(first.status).toBe(200);
    expect(await first.json()).toMatchObject({ id, state: 'approved' });
    const again = await post(http.app, id, 'Bearer reviewer-token', { verdict: 'approve', reason: 'ok' });
    expect(again.status).toBe(200);
    const jwks = await (await http.app.request('/.well-known/jwks.json')).json();
    const receipt = (await http.approvals.get(id))?.receipt ?? '';
    const claims = await verifyReceipt(receipt, await keySetFromJwks(jwks), null);
    expect(claims.approvers).toMatchObject([
      { person: 'reviewer', channel: 'api', reason: 'ok', ids: ['person:reviewer'] },
    ]);
    await http.approvals.release(id, asked);
    await http.approvals.end(id, 'executed', { tag: 'DROP TABLE', rows: 0n, bytes: 0n, sqlstate: null });
    expect(
      await (await post(http.app, id, 'Bearer reviewer-token', { verdict: 'approve' })).json(),
    ).toMatchObject({ state: 'executed' });
  });

  it('is 409 for another verdict once it has ended', async () => {
    await post(http.app, id, 'Bearer reviewer-token', { verdict: 'deny', reason: 'no' });
    for (const token of ['Bearer deputy-token', 'Bearer reviewer-token']) {
      const response = await post(http.app, id, token, { verdict: 'approve' });
      expect(response.status).toBe(409);
      expect(await code(response)).toBe('already_ended');
    }
  });

  it.each(['', '{', '[]', '{"verdict":"maybe"}', '{"reason":"x"}', '{"verdict":"approve","reason":7}'])(
    'is 422 for the body %j',
    async (body) => {
      const response = await post(http.app, id, 'Bearer reviewer-token', body);
      expect(response.status).toBe(422);
      expect(await code(response)).toBe('invalid_body');
      expect((await http.approvals.get(id))?.state).toBe('open');
    },
  );

  it('is 404 for no request, 413 for a body over the limit', async () => {
    expect(
      (await post(http.app, 'req_0000000000000000000000', 'Bearer reviewer-token', { verdict: 'deny' }))
        .status,
    ).toBe(404);
    const long = await post(http.app, id, 'Bearer reviewer-token', {
      verdict: 'deny',
      reason: 'x'.repeat(70_000),
    });
    expect(long.status).toBe(413);
  });

  it("refuses agents' credentials, and records the attempt", async () => {
    const basic = `Basic ${Buffer.from(`shop-agent:${AGENT_PASSWORD}`).toString('base64')}`;
    for (const credential of [basic, `Bearer ${AGENT_PASSWORD}`]) {
      const response = await post(http.app, id, credential, { verdict: 'approve' });
      expect(response.status).toBe(403);
      expect(await code(response)).toBe('agent_credential');
    }
    const refused = (await world.entries()).filter(
      (entry) => entry.request_id === id && entry.kind === 'verdict_refused',
    );
    expect(refused.map(({ detail }) => detail['code'])).toEqual(['agent_credential', 'agent_credential']);
  });

  it('answers all that are shown as one, each by itself, or those of them that are named', async () => {
    const asked = question({ text: 'DROP TABLE alike' });
    const ids: string[] = [];
    for (let i = 0; i < 4; i += 1) ids.push((await http.approvals.open(asked)).id);
    const headers = { authorization: 'Bearer reviewer-token' };
    const shown = await (await http.app.request(`/api/requests/${ids[2]}`, { headers })).json();
    expect(shown).toMatchObject({
      alike: ids,
      refusals: 0,
      onCall: [],
      maxPerMinute: null,
      snoozedUntil: null,
    });
    const body = { verdict: 'approve', all: ids.slice(0, 2) };
    const some = await (await post(http.app, ids[0] ?? '', 'Bearer reviewer-token', body)).json();
    expect(some).toMatchObject({
      id: ids[0],
      state: 'approved',
      notice: null,
      answered: ids.slice(0, 2).map((id) => ({ id, state: 'approved', code: null })),
    });
    const all = { verdict: 'deny', reason: 'no', all: true };
    const rest = await (await post(http.app, ids[3] ?? '', 'Bearer deputy-token', all)).json();
    expect(rest).toMatchObject({ answered: ids.slice(2).map((id) => ({ id, state: 'denied' })) });
    expect((await post(http.app, ids[3] ?? '', 'Bearer owner-token', all)).status).toBe(403);
    expect((await post(http.app, ids[3] ?? '', 'Bearer reviewer-token', { ...all, all: 'yes' })).status).toBe(
      422,
    );
  });

  it('puts off for the caller alone, last in the list until then', async () => {
    const older = (await http.approvals.open(question({ text: 'DROP TABLE older' }))).id;
    const newer = (await http.approvals.open(question({ text: 'DROP TABLE newer' }))).id;
    const put = await http.app.request(`/api/requests/${newer}/snooze`, {
      method: 'POST',
      headers: { authorization: 'Bearer reviewer-token', 'content-type': 'application/json' },
      body: JSON.stringify({ minutes: 30 }),
    });
    expect(await put.json()).toEqual({ id: newer, minutes: 30 });
    const listed = async (token: string) => {
      const response = await http.app.request('/api/requests', {
        headers: { authorization: `Bearer ${token}` },
      });
      const { requests } = (await response.json()) as {
        requests: { id: string; snoozedUntil: string | null }[];
      };
      return requests;
    };
    const mine = await listed('reviewer-token');
    expect(mine.at(-1)).toMatchObject({ id: newer, snoozedUntil: expect.stringMatching(/^\d{4}-/) });
    const theirs = await listed('deputy-token');
    expect(theirs.findIndex(({ id: one }) => one === newer)).toBeLessThan(
      theirs.findIndex(({ id: one }) => one === older),
    );
    expect(theirs.every(({ snoozedUntil }) => snoozedUntil === null)).toBe(true);
  });

  it('is 429 where the rule lets nobody approve as fast', async () => {
    const demand = { approvers: [], quorum: 1, assurance: 1, maxPerMinute: 1 } as const;
    const [one, two] = [
      (await http.approvals.open(question({ text: 'DROP TABLE fast_1', demand }))).id,
      (await http.approvals.open(question({ text: 'DROP TABLE fast_2', demand }))).id,
    ];
    expect((await post(http.app, one, 'Bearer principal-token', { verdict: 'approve' })).status).toBe(200);
    const second = await post(http.app, two, 'Bearer principal-token', { verdict: 'approve' });
    expect([second.status, await code(second)]).toEqual([429, 'too_fast']);
  });

  it('one of 1,000 replays at once counts', async () => {
    const responses = await Promise.all(
      Array.from({ length: 1_000 }, () =>
        post(http.app, id, 'Bearer reviewer-token', { verdict: 'approve', reason: 'ok' }),
      ),
    );
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
    const bodies = (await Promise.all(responses.map((response) => response.json()))) as {
      repeated: boolean;
    }[];
    expect(bodies.filter(({ repeated }) => !repeated)).toHaveLength(1);
    const entries = (await world.entries()).filter((entry) => entry.request_id === id);
    expect(entries.map(({ kind }) => kind)).toEqual(['request_opened', 'verdict', 'request_approved']);
  }, 120_000);
});

it('serves health and metrics, on a socket, with headers that keep browsers safe', async () => {
  const server = await listenHttp(http.app, { host: '127.0.0.1', port: 0 });
  try {
    for (const [path, body] of [
      ['/livez', 'ok\n'],
      ['/metrics', '# HELP up\n'],
    ]) {
      expect(await (await fetch(`http://127.0.0.1:${server.port}${path}`)).text()).toBe(body);
    }
    const response = await fetch(`http://127.0.0.1:${server.port}/readyz`);
    expect(await response.json()).toMatchObject({ ok: true });
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    await expect(listenHttp(http.app, { host: '127.0.0.1', port: server.port })).rejects.toMatchObject({
      code: 'EADDRINUSE',
    });
  } finally {
    await server.close();
  }
});
