import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type ApprovalWorld, answer, approvalWorld, question } from '../../approval/support.ts';
import { type HttpWorld, httpWorld } from '../api/support.ts';
import { type Browser, signIn } from './support.ts';

let world: ApprovalWorld;
let http: HttpWorld;
let tab: Browser;
let id: string;
let n = 0;
beforeAll(async () => {
  world = await approvalWorld('apcon');
  http = await httpWorld(world);
  tab = await signIn(http, 'reviewer');
});
afterAll(() => world?.close());
beforeEach(async () => {
  n += 1;
  id = (await http.approvals.open(question({ text: `DROP TABLE console_${n}` }))).id;
});
const form = (changes: Record<string, string> = {}) => ({
  csrf: tab.csrf,
  verdict: 'approve',
  reason: 'read it',
  ...changes,
});

describe('signing in', () => {
  it('takes a link once, and answers with a cookie that scripts and other sites do not get', async () => {
    const token = await http.sessions.issueLink('reviewer');
    const first = await http.app.request(`/sign-in?token=${token}`);
    expect(first.status).toBe(200);
    expect(first.headers.get('set-cookie')).toMatch(
      /^countersign_session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/,
    );
    expect(first.headers.get('set-cookie')).not.toContain(token);
    const second = await http.app.request(`/sign-in?token=${token}`);
    expect([second.status, second.headers.get('set-cookie')]).toEqual([403, null]);
  });

  it('takes of ten uses at once exactly one', async () => {
    const token = await http.sessions.issueLink('reviewer');
    const all = await Promise.all(
      Array.from({ length: 10 }, () => http.app.request(`/sign-in?token=${token}`)),
    );
    expect(all.filter(({ status }) => status === 200)).toHaveLength(1);
  });

  it('is not used up by a look ahead or a HEAD, and no session token is a link', async () => {
    const token = await http.sessions.issueLink('reviewer');
    await http.app.request(`/sign-in?token=${token}`, { headers: { 'sec-purpose': 'prefetch' } });
    await http.app.request(`/sign-in?token=${token}`, { method: 'HEAD' });
    expect((await http.app.request(`/sign-in?token=${token}`)).status).toBe(200);
    const session = tab.cookie.split('=')[1];
    expect((await http.app.request(`/sign-in?token=${session}`)).status).toBe(403);
    expect((await tab.get('/')).status).toBe(200);
  });

  it('sets a Secure cookie behind https', async () => {
    const https = await httpWorld(world, 'https://approve.example');
    const token = await https.sessions.issueLink('reviewer');
    expect((await https.app.request(`/sign-in?token=${token}`)).headers.get('set-cookie')).toContain(
      'Secure',
    );
  });

  it('is needed everywhere, and ends with the sign-out or its time', async () => {
    for (const path of ['/', `/requests/${id}`]) {
      expect((await http.app.request(path)).status).toBe(401);
      expect((await http.app.request(path, { headers: { cookie: 'countersign_session=x' } })).status).toBe(
        401,
      );
    }
    const brief = await signIn(http, 'deputy');
    await brief.post('/sign-out', { csrf: brief.csrf });
    expect((await brief.get('/')).status).toBe(401);
    const old = await signIn(http, 'deputy');
    await world.database.query(
      "UPDATE countersign.console_session SET expires_at = now() WHERE person = 'deputy'",
    );
    expect((await old.get('/')).status).toBe(401);
  });

  it('stores no token', async () => {
    const { rows } = await world.database.query('SELECT * FROM countersign.console_session');
    expect(rows.length).toBeGreaterThan(0);
    expect(JSON.stringify(rows)).not.toContain(tab.cookie.split('=')[1]);
  });
});

describe('answering', () => {
  it('approves from the list, and the page of the request says so', async () => {
    const page = await (await tab.get('/')).text();
    expect(page).toContain(`action="/requests/${id}/verdict"`);
    const response = await tab.post(`/requests/${id}/verdict`, form());
    expect([response.status, response.headers.get('location')]).toEqual([303, `/requests/${id}`]);
    const after = await (await tab.get(`/requests/${id}`)).text();
    expect(after).toContain('<span class="badge approved">approved</span>');
    expect(await http.approvals.get(id)).toMatchObject({
      state: 'approved',
      verdicts: [{ person: 'reviewer', channel: 'console', reason: 'read it' }],
    });
  });

  it('denies with a reason', async () => {
    await tab.post(`/requests/${id}/verdict`, form({ verdict: 'deny', reason: 'use the view' }));
    expect(await http.approvals.get(id)).toMatchObject({ state: 'denied', endReason: 'use the view' });
    expect(await (await tab.get('/')).text()).toContain('Recently ended');
  });

  it.each<[string, Record<string, string>, Record<string, string | null>]>([
    ['no form token', { csrf: '' }, {}],
    ["another session's form token", { csrf: '0'.repeat(64) }, {}],
    ['another origin', {}, { origin: 'https://evil.example' }],
    ['no origin', {}, { origin: null }],
    ['a null origin', {}, { origin: 'null' }],
    ['another site, as the browser says', {}, { 'sec-fetch-site': 'cross-site' }],
    ['the same site but not this origin', {}, { 'sec-fetch-site': 'same-site' }],
  ])('is refused with %s', async (_what, changes, headers) => {
    const response = await tab.post(`/requests/${id}/verdict`, form(changes), headers);
    expect(response.status).toBe(403);
    expect((await http.approvals.get(id))?.state).toBe('open');
  });

  it('tells what is wrong with an answer, with its status', async () => {
    const unclear = await tab.post(`/requests/${id}/verdict`, form({ verdict: 'perhaps' }));
    expect(unclear.status).toBe(422);
    await http.approvals.withdraw(id, 'cancelled');
    const late = await tab.post(`/requests/${id}/verdict`, form());
    expect(late.status).toBe(409);
    expect(await late.text()).toContain('takes no answer any more');
    expect((await tab.post('/requests/req_none/verdict', form())).status).toBe(404);
  });

  it('shows no button to those who cannot use it, and says why', async () => {
    const owner = await signIn(http, 'owner');
    const page = await (await owner.get(`/requests/${id}`)).text();
    expect(page).not.toContain('value="approve"');
    expect(page).toContain('somebody else must answer it');
  });
});

describe('requests for the very same', () => {
  async function three(): Promise<readonly [string, string, string]> {
    const asked = question({ text: `DROP TABLE console_${n}` });
    return [id, (await http.approvals.open(asked)).id, (await http.approvals.open(asked)).id];
  }
  const states = (ids: readonly string[]) =>
    Promise.all(ids.map(async (one) => (await http.approvals.get(one))?.state));

  it('are one card with their number, that of the oldest', async () => {
    const [first, second, third] = await three();
    const page = await (await tab.get('/')).text();
    expect(page).toContain(`action="/requests/${first}/verdict"`);
    for (const other of [second, third]) expect(page).not.toContain(`action="/requests/${other}/verdict"`);
    expect(page).toContain('<span class="badge open">3 waiting</span>');
    for (const label of ['Deny all 3', 'Approve all 3', 'Approve one'])
      expect(page).toContain(`>${label}</button>`);
  });

  it('are answered one by one, oldest first', async () => {
    const ids = await three();
    await tab.post(`/requests/${ids[0]}/verdict`, form({ alike: ids.join(' ') }));
    expect(await states(ids)).toEqual(['approved', 'open', 'open']);
    const page = await (await tab.get('/')).text();
    expect(page).toContain(`action="/requests/${ids[1]}/verdict"`);
    expect(page).toContain('Approve all 2');
  });

  it('are answered together, but not those that came after the page was shown', async () => {
    const ids = await three();
    const later = (await http.approvals.open(question({ text: `DROP TABLE console_${n}` }))).id;
    const all = form({ verdict: 'approve_all', alike: ids.join(' ') });
    expect((await tab.post(`/requests/${ids[0]}/verdict`, all)).status).toBe(303);
    expect(await states([...ids, later])).toEqual(['approved', 'approved', 'approved', 'open']);
    const denied = form({ verdict: 'deny_all', alike: later });
    await tab.post(`/requests/${later}/verdict`, denied);
    expect(await states([later])).toEqual(['denied']);
  });

  it('need the form token and the origin like any other answer', async () => {
    const ids = await three();
    const all = { verdict: 'approve_all', alike: ids.join(' ') };
    expect((await tab.post(`/requests/${ids[0]}/verdict`, form({ ...all, csrf: '' }))).status).toBe(403);
    expect(
      (await tab.post(`/requests/${ids[0]}/verdict`, form(all), { origin: 'https://evil.example' })).status,
    ).toBe(403);
    expect(await states(ids)).toEqual(['open', 'open', 'open']);
  });
});

describe('putting off', () => {
  it('is for oneself: last on the page, with a way back', async () => {
    const newer = (await http.approvals.open(question({ text: `DROP TABLE newer_${n}` }))).id;
    const put = await tab.post(`/requests/${newer}/snooze`, { csrf: tab.csrf, minutes: '60' });
    expect([put.status, put.headers.get('location')]).toEqual([303, '/']);
    const place = (page: string, one: string) => page.indexOf(`id="${one}"`);
    const mine = await (await tab.get('/')).text();
    expect(place(mine, newer)).toBeGreaterThan(mine.indexOf('Put off by you'));
    expect(place(mine, id)).toBeLessThan(mine.indexOf('Put off by you'));
    const other = await (await (await signIn(http, 'deputy')).get('/')).text();
    expect(other).not.toContain('Put off by you');
    await tab.post(`/requests/${newer}/snooze`, { csrf: tab.csrf, minutes: '0' });
    expect(await (await tab.get('/')).text()).not.toContain('Put off by you');
  });

  it('takes no form of another site, and no other time', async () => {
    for (const [minutes, csrf, status] of [
      ['60', '', 403],
      ['-1', tab.csrf, 422],
      ['100000', tab.csrf, 422],
      ['x', tab.csrf, 422],
    ] as const) {
      expect((await tab.post(`/requests/${id}/snooze`, { csrf, minutes })).status).toBe(status);
    }
    expect(await (await tab.get('/')).text()).not.toContain('Put off by you');
  });
});

it('tells who approves very fast, on the page that comes after', async () => {
  const watched = await httpWorld(world, undefined, { limits: { approvalsNoticedPerMinute: 1 } });
  const hasty = await signIn(watched, 'deputy');
  const response = await hasty.post(`/requests/${id}/verdict`, form({ csrf: hasty.csrf }));
  expect(response.status).toBe(200);
  const page = await response.text();
  expect(page).toContain('requests within a minute: faster than statements can be read');
  expect(page).toContain('<span class="badge approved">approved</span>');
});

it('shows how far a quorum is, and who is asked at this hour', async () => {
  const onCall = [
    { days: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const, approvers: ['security'] },
  ];
  const asked = question({
    text: 'DROP TABLE progress',
    demand: { approvers: [], quorum: 2, assurance: 1, onCall },
  });
  const { id: open } = await http.approvals.open(asked);
  await http.approvals.guard.decide(answer(open, 'deputy'));
  const page = await (await tab.get(`/requests/${open}`)).text();
  expect(page).toContain('1 of 2 approvals: deputy · asked now: security');
  expect(page).toContain('aria-label="Approvals"');
  expect(page).toContain('asks only those on call');
  expect(page).not.toContain('value="approve"');
});

describe('what is shown', () => {
  it('is text, whatever an agent wrote', async () => {
    const evil = '<script>alert(1)</script>"\'><img src=x onerror=alert(1)>\u202e\u200b';
    const asked = question({
      text: evil,
      command: evil,
      reasons: [evil],
      parameters: [{ typeOid: 25, format: 0, value: Buffer.from(evil), shown: evil }],
      relations: [{ name: evil, oid: null, mode: 'read' }],
      searchPath: evil,
      session: {
        ...question().session,
        agent: evil,
        run: evil,
        applicationName: evil,
        database: evil,
        role: evil,
      },
    });
    const { id: evilId } = await http.approvals.open(asked);
    for (const path of ['/', `/requests/${evilId}`]) {
      const page = await (await tab.get(path)).text();
      expect(page).toContain('&lt;script&gt;alert(1)');
      expect(page).toContain('‹U+202E›‹U+200B›');
      expect(page).not.toMatch(/<script>alert|<img|[\u202e\u200b]/);
    }
  });

  it('is all of a long statement on its own page, and without buttons in the list', async () => {
    const long = `SELECT 1 -- ${'harmless '.repeat(2_000)}\n; DROP TABLE customers`;
    const { id: longId } = await http.approvals.open(question({ text: long }));
    const list = await (await tab.get('/')).text();
    expect(list).not.toContain(`action="/requests/${longId}/verdict"`);
    expect(list).toContain(`Read all ${long.length} bytes`);
    const page = await (await tab.get(`/requests/${longId}`)).text();
    expect(page).toContain('; DROP TABLE customers');
    expect(page).toContain(`action="/requests/${longId}/verdict"`);
  });

  it('needs no inline script or style, which the policy forbids', async () => {
    const response = await tab.get(`/requests/${id}`);
    expect(response.headers.get('content-security-policy')).toMatch(/default-src 'none'.*script-src 'self'/);
    expect(response.headers.get('content-security-policy')).not.toContain('unsafe');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await response.text()).not.toMatch(/<script(?! src)|<style| style=| on[a-z]+=/);
    for (const [path, type] of [
      ['/assets/console.css', 'text/css'],
      ['/assets/refresh.js', 'text/javascript'],
    ]) {
      expect((await http.app.request(path ?? '')).headers.get('content-type')).toContain(type);
    }
  });
});
