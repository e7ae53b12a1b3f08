import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { keySetFromJwks } from '../../../src/signing/keys.ts';
import { verifyReceipt } from '../../../src/signing/receipt.ts';
import { type ApprovalWorld, approvalWorld, question } from '../../approval/support.ts';
import { AGENT_PASSWORD, API_KEYS, type HttpWorld, httpWorld, PUBLIC_URL, sha256 } from './support.ts';

let world: ApprovalWorld;
let http: HttpWorld;
let n = 0;
let asked: ReturnType<typeof question>;
let id: string;

const KEYS = [
  ...API_KEYS,
  { name: 'deputy reads', sha256: sha256('reads'), person: 'deputy', scopes: ['read'] },
  { name: 'deputy denies', sha256: sha256('denies'), person: 'deputy', scopes: ['read', 'deny'] },
  { name: 'deputy approves', sha256: sha256('approves'), person: 'deputy', scopes: ['approve'] },
  { name: 'watcher', sha256: sha256('watcher'), person: 'watcher', owner: 'deputy' },
] as const;

beforeAll(async () => {
  world = await approvalWorld('aptake');
  http = await httpWorld(world, PUBLIC_URL, { apiKeys: KEYS });
});
afterAll(() => world?.close());
beforeEach(async () => {
  n += 1;
  asked = question({ text: `DROP TABLE take_${n}` });
  id = (await http.approvals.open(asked)).id;
});

async function call(path: string, token: string, body?: object): Promise<[number, Record<string, unknown>]> {
  const response = await http.app.request(path, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: body === undefined ? null : JSON.stringify(body),
  });
  const text = await response.text();
  const json = response.headers.get('content-type')?.endsWith('json');
  return [response.status, json ? (JSON.parse(text) as Record<string, unknown>) : { text }];
}
const verdict = (token: string, given: string) =>
  call(`/api/requests/${id}/verdict`, token, { verdict: given });
const takeBack = (token: string) => call(`/api/requests/${id}/withdraw`, token, { reason: 'wrong table' });

describe('taking an approval back', () => {
  it('makes its receipt useless, once, with an entry of who did it', async () => {
    await verdict('reviewer-token', 'approve');
    const [, { text }] = await call(`/api/requests/${id}/receipt`, 'deputy-token');
    expect((await verifyReceipt(String(text), await keySetFromJwks(world.keys.jwks()), null)).request).toBe(
      id,
    );

    expect(await takeBack('reviewer-token')).toMatchObject([
      200,
      { id, state: 'withdrawn', repeated: false },
    ]);
    expect(await takeBack('reviewer-token')).toMatchObject([200, { state: 'withdrawn', repeated: true }]);
    await expect(http.approvals.release(id, asked)).rejects.toMatchObject({ code: 'request_withdrawn' });
    expect(await http.approvals.get(id)).toMatchObject({ state: 'withdrawn', endReason: 'wrong table' });
    expect(await takeBack('deputy-token')).toMatchObject([409, { code: 'already_ended' }]);
    expect(await verdict('deputy-token', 'approve')).toMatchObject([409, { code: 'already_ended' }]);
    const entries = (await world.entries()).filter((entry) => entry.request_id === id);
    const mine = entries.filter(({ kind }) => kind === 'request_withdrawn');
    expect(mine).toMatchObject([
      { people: ['reviewer'], detail: { reason: 'wrong table', channel: 'api', ids: 'person:reviewer' } },
    ]);
  });

  it('is for whoever may answer the request, not for its parties, agents or strangers', async () => {
    await verdict('reviewer-token', 'approve');
    for (const [token, status, code] of [
      ['owner-token', 403, 'self_approval'],
      ['owner-other-token', 403, 'self_approval'],
      ['ghost-token', 403, 'unknown_person'],
      [AGENT_PASSWORD, 403, 'agent_credential'],
      ['reads', 403, 'scope_missing'],
      ['approves', 403, 'scope_missing'],
      ['nobody', 401, 'no_credential'],
    ] as const) {
      expect([token, ...(await takeBack(token))]).toMatchObject([token, status, { code }]);
    }
    expect((await http.approvals.get(id))?.state).toBe('approved');
    const refused = (await world.entries()).filter(
      (entry) => entry.request_id === id && entry.kind === 'verdict_refused',
    );
    expect(refused.map(({ detail }) => [detail['verdict'], detail['code']])).toEqual([
      ['withdraw', 'self_approval'],
      ['withdraw', 'self_approval'],
      ['withdraw', 'unknown_person'],
      ['withdraw', 'agent_credential'],
      ['withdraw', 'scope_missing'],
      ['withdraw', 'scope_missing'],
    ]);
    expect(await takeBack('denies')).toMatchObject([200, { person: 'deputy', state: 'withdrawn' }]);
  });

  it('is for those whom the rule names, and for whoever had approved', async () => {
    const demand = { approvers: ['reviewer'], quorum: 1, assurance: 1 } as const;
    id = (await http.approvals.open(question({ text: 'DROP TABLE named', demand }))).id;
    await verdict('reviewer-token', 'approve');
    expect(await takeBack('deputy-token')).toMatchObject([403, { code: 'not_an_approver' }]);
    expect(await takeBack('reviewer-token')).toMatchObject([200, { state: 'withdrawn' }]);
  });

  it('is nothing while nobody has approved, and too late once the statement is on its way', async () => {
    expect(await takeBack('reviewer-token')).toMatchObject([409, { code: 'not_approved' }]);
    await verdict('reviewer-token', 'approve');
    await http.approvals.release(id, asked);
    expect(await takeBack('reviewer-token')).toMatchObject([409, { code: 'already_ended' }]);
    expect((await http.approvals.get(id))?.state).toBe('consumed');
  });

  it('and a release at the same moment: one of the two, never both', async () => {
    const outcomes = new Set<string>();
    for (let i = 0; i < 25; i++) {
      const one = question({ text: `DROP TABLE race_${i}` });
      id = (await http.approvals.open(one)).id;
      await verdict('reviewer-token', 'approve');
      const [released, [status]] = await Promise.all([
        http.approvals.release(id, one).then(
          () => true,
          () => false,
        ),
        takeBack('reviewer-token'),
      ]);
      expect([released, status]).toEqual(released ? [true, 409] : [false, 200]);
      expect((await http.approvals.get(id))?.state).toBe(released ? 'consumed' : 'withdrawn');
      outcomes.add(String(released));
    }
    expect(outcomes.size).toBeGreaterThan(0);
  });
});

describe('scopes', () => {
  it.each([
    ['reads', 'approve', 403],
    ['reads', 'deny', 403],
    ['denies', 'approve', 403],
    ['approves', 'deny', 403],
    ['approves', 'approve', 200],
    ['denies', 'deny', 200],
  ])('%s: %s is %i', async (token, given, status) => {
    const [got, body] = await verdict(token, given);
    expect(got).toBe(status);
    if (status === 403) expect(body['code']).toBe('scope_missing');
    expect((await http.approvals.get(id))?.state).toBe(
      status === 403 ? 'open' : given === 'deny' ? 'denied' : 'approved',
    );
  });

  it('are needed to read, too, also for what was said before', async () => {
    for (const path of ['/api/requests', `/api/requests/${id}`, '/api/agents', '/api/policy'])
      expect(await call(path, 'approves')).toMatchObject([403, { code: 'scope_missing' }]);
    expect((await call('/api/requests', 'reads'))[0]).toBe(200);
    await verdict('deputy-token', 'approve');
    const again = await Promise.all(Array.from({ length: 5 }, () => verdict('reads', 'approve')));
    expect(again.map(([status]) => status)).toEqual([403, 403, 403, 403, 403]);
    expect(await call('/api/requests', 'ghost-token')).toMatchObject([403, { code: 'unknown_person' }]);
  });
});

describe('lists', () => {
  it('by agent, class and state, in pages that hold what was there', async () => {
    const agent = { ...asked.session, agent: 'other-agent' };
    const ids: string[] = [];
    for (let i = 0; i < 7; i++) {
      const one = question({ text: `GRANT page_${i}`, class: 'privilege', session: agent });
      ids.unshift((await http.approvals.open(one)).id);
    }
    const seen: string[] = [];
    let next: unknown = '';
    for (let pages = 0; next !== null && pages < 10; pages++) {
      const cursor = next === '' ? '' : `&cursor=${String(next)}`;
      const [status, page] = await call(`/api/requests?agent=other-agent&limit=3${cursor}`, 'reads');
      expect(status).toBe(200);
      seen.push(...(page['requests'] as { id: string }[]).map((request) => request.id));
      next = page['next'];
      // What comes in meanwhile does not move the pages.
      await http.approvals.open(question({ text: `GRANT late_${pages}`, session: agent }));
    }
    expect(seen).toEqual(ids);
    const count = async (query: string) =>
      ((await call(`/api/requests?${query}`, 'reads'))[1]['requests'] as unknown[]).length;
    expect(await count('agent=other-agent&class=privilege')).toBe(7);
    expect(await count('agent=other-agent&class=export')).toBe(0);
    expect(await count("agent=' OR true --")).toBe(0);
    expect(await count('agent=other-agent&cursor=req_0000000000000000000000')).toBe(0);
  });

  it('of agents and the policy have no secret in them', async () => {
    const [, agents] = await call('/api/agents', 'reads');
    expect(agents).toEqual({
      agents: ['other-agent', 'shop-agent'].map((name) => ({
        name,
        owner: 'owner',
        role: 'shop_agent',
        login: 'scram',
        issuer: null,
        fingerprints: [],
      })),
    });
    expect(await call('/api/policy', 'reads')).toEqual([
      200,
      { digest: 'policy-1', mode: 'enforce', since: '1970-01-01T00:00:00.000Z', rules: [] },
    ]);
  });
});

it('a key that has ended opens nothing, and says so', async () => {
  let now = Date.UTC(2026, 0, 1);
  const apiKeys = [{ name: 'for a year', sha256: sha256('year'), person: 'reviewer', expiresAt: now + 1 }];
  const own = await httpWorld(world, PUBLIC_URL, { apiKeys, now: () => now });
  const ask = () => own.app.request('/api/requests', { headers: { authorization: 'Bearer year' } });
  expect((await ask()).status).toBe(200);
  now += 1;
  const refused = await ask();
  expect(refused.status).toBe(401);
  expect(await refused.json()).toMatchObject({
    code: 'key_expired',
    detail: 'The API key for a year expired at 2026-01-01T00:00:00.001Z.',
  });
});
