import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { Person } from '../../../src/config/config.ts';
import { passkeyThumbprint } from '../../../src/signing/passkey.ts';
import { type ApprovalWorld, approvalWorld, owner, question, reviewer } from '../../approval/support.ts';
import { type Changes, device, PRESENT } from '../../support/authenticator.ts';
import { type HttpWorld, httpWorld, post } from '../api/support.ts';
import { type Browser, signIn } from './support.ts';

const ORIGIN = 'https://countersign.example.com';
/** `post` sends the address of the other tests as its origin. */
const OURS = { origin: ORIGIN };
const own = device();
const PEOPLE: readonly Person[] = [owner, { ...reviewer, passkeys: [own.passkey] }];
const SURE = { approvers: [], quorum: 1, assurance: 3 } as const;

let world: ApprovalWorld;
let http: HttpWorld;
let page: Browser;
beforeAll(async () => {
  world = await approvalWorld('apcpk');
  http = await httpWorld(world, ORIGIN, { people: PEOPLE });
  page = await signIn(http, 'reviewer');
});
afterAll(async () => world?.close());

let count = 0;
async function asked() {
  const { id } = await http.approvals.open(question({ text: `DROP TABLE console_${count++}`, demand: SURE }));
  return { id, digest: (await http.approvals.get(id))?.digest ?? '' };
}
async function challenged(by = page): Promise<string> {
  const response = await by.post('/passkeys/options', { csrf: by.csrf }, OURS);
  const { challenge } = (await response.json()) as { challenge: string };
  return challenge;
}
async function made(challenge: string, changes: Changes = {}, by = page) {
  const fresh = device();
  const credential = JSON.stringify(fresh.registration(challenge, ORIGIN, changes));
  const response = await by.post('/passkeys', { csrf: by.csrf, credential }, OURS);
  return { passkey: fresh.passkey, status: response.status, text: await response.text() };
}

describe('making a passkey', () => {
  it('asks for what is taken: one of P-256, with the user verified, that is new', async () => {
    const response = await page.post('/passkeys/options', { csrf: page.csrf }, OURS);
    expect(await response.json()).toMatchObject({
      rp: { id: 'countersign.example.com' },
      user: { name: 'reviewer' },
      pubKeyCredParams: [{ alg: -7, type: 'public-key' }],
      authenticatorSelection: { userVerification: 'required' },
      excludeCredentials: [{ id: own.passkey.id }],
      challenge: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
    });
  });

  it('shows the lines for the configuration, and changes nothing', async () => {
    const { passkey, status, text } = await made(await challenged());
    expect(status).toBe(200);
    const lines = /<pre>([\s\S]*?)<\/pre>/.exec(text)?.[1] ?? '';
    expect(parse(lines.replaceAll('&#39;', "'"))).toEqual({
      people: [{ id: 'reviewer', passkeys: [passkey] }],
    });
    expect(http.approvals.passkeysOf([{ kind: 'person', value: 'reviewer' }])).toHaveLength(1);
    // To compare with what is added to the configuration.
    expect((await world.entries()).at(-1)).toMatchObject({
      kind: 'key',
      people: ['reviewer'],
      detail: { purpose: 'passkey', event: 'made', kid: passkeyThumbprint(passkey.key) },
    });
  });

  it('takes a challenge once, also from one that failed, and only the newest', async () => {
    const challenge = await challenged();
    expect((await made(challenge)).status).toBe(200);
    expect((await made(challenge)).status).toBe(422);
    const spoilt = await challenged();
    expect((await made(spoilt, { flags: PRESENT })).status).toBe(422);
    expect((await made(spoilt)).status).toBe(422);
    const [older, newer] = [await challenged(), await challenged()];
    expect((await made(older)).status).toBe(422);
    expect((await made(newer)).status).toBe(200);
  });

  it('takes no challenge of another session, of its own making, or that is too old', async () => {
    const other = await signIn(http, 'owner');
    expect((await made(await challenged(other))).status).toBe(422);
    expect((await made(Buffer.alloc(32).toString('base64url'))).status).toBe(422);
    const old = await challenged();
    await world.database.query(
      "UPDATE countersign.passkey_challenge SET expires_at = now() - interval '1 s'",
    );
    expect((await made(old)).status).toBe(422);
  });

  const wrong: readonly (readonly [string, Changes])[] = [
    ['another origin', { origin: 'https://countersign.example.org' }],
    ['another relying party', { rpId: 'example.com' }],
    ['no verified user', { flags: PRESENT }],
    ['an assertion in its place', { type: 'webauthn.get' }],
  ];
  it.each(wrong)('refuses %s', async (_what, changes) => {
    expect((await made(await challenged(), changes)).status).toBe(422);
  });

  it('needs a form of this page, a session, and what can be read', async () => {
    expect((await page.post('/passkeys/options', { csrf: page.csrf })).status).toBe(403);
    expect((await page.post('/passkeys/options', { csrf: 'x' }, OURS)).status).toBe(403);
    const stranger = await http.app.request('/passkeys/options', { method: 'POST' });
    expect(stranger.status).toBe(401);
    for (const credential of ['', '{}', '[]', '{"response":{}}', 'x'.repeat(40_000)])
      expect((await page.post('/passkeys', { csrf: page.csrf, credential }, OURS)).status).toBe(422);
    expect((await page.post('/passkeys', { csrf: page.csrf }, OURS)).status).toBe(422);
  });

  it('is not offered at an address, where browsers have none', async () => {
    const there = await httpWorld(world, 'http://127.0.0.1:8080', { people: PEOPLE });
    const visitor = await signIn(there, 'reviewer');
    const text = await (await visitor.get('/passkeys')).text();
    expect(text).toContain('Browsers have passkeys only where');
    expect(text).not.toContain('Make a passkey');
    expect((await visitor.post('/passkeys/options', { csrf: visitor.csrf })).status).toBe(403);
  });

  it('serves the library as its package has it', async () => {
    const library = await http.app.request('/assets/webauthn.js');
    expect(library.headers.get('content-type')).toContain('text/javascript');
    expect(await library.text()).toContain('startAuthentication');
    const text = await (await page.get('/passkeys')).text();
    expect(text.indexOf('/assets/webauthn.js')).toBeLessThan(text.indexOf('/assets/passkey.js'));
    expect(text).not.toContain('refresh.js');
  });
});

describe('approving with a passkey', () => {
  const send = (id: string, form: Record<string, string>) =>
    page.post(`/requests/${id}/verdict`, { csrf: page.csrf, ...form }, OURS);
  const state = async (id: string) => (await http.approvals.get(id))?.state;

  it('is the only way where the rule asks for it', async () => {
    const { id, digest } = await asked();
    const shown = await (await page.get(`/requests/${id}`)).text();
    expect(shown).toContain('value="approve_passkey"');
    expect(shown).not.toContain('value="approve"');
    expect(shown).toContain(`data-challenge="${Buffer.from(digest, 'hex').toString('base64url')}"`);
    expect(shown).toContain(`data-credentials="${own.passkey.id}"`);
    expect((await send(id, { verdict: 'approve' })).status).toBe(403);
    expect((await send(id, { verdict: 'approve_passkey' })).status).toBe(422);
    expect((await send(id, { verdict: 'approve_passkey', passkey: '{"id":1}' })).status).toBe(422);
    const forged = JSON.stringify(device().assertion(digest, ORIGIN));
    expect((await send(id, { verdict: 'approve_passkey', passkey: forged })).status).toBe(403);
    expect(await state(id)).toBe('open');
    const passkey = JSON.stringify(own.assertion(digest, ORIGIN));
    expect((await send(id, { verdict: 'approve_passkey', passkey })).status).toBe(303);
    expect((await http.approvals.get(id))?.verdicts).toMatchObject([
      { person: 'reviewer', channel: 'console', assurance: 3 },
    ]);
  });

  it('is not given by a session, whatever the database says of it', async () => {
    const { id } = await asked();
    await world.database.query('UPDATE countersign.console_session SET assurance = 3');
    expect(await (await page.get(`/requests/${id}`)).text()).not.toContain('value="approve"');
    expect((await send(id, { verdict: 'approve' })).status).toBe(403);
    expect(await state(id)).toBe('open');
  });

  it('lets whoever has none deny, and says where to make one', async () => {
    const none = await httpWorld(world, ORIGIN, { people: [owner, reviewer] });
    const visitor = await signIn(none, 'reviewer');
    const { id } = await asked();
    const shown = await (await visitor.get(`/requests/${id}`)).text();
    expect(shown).toContain('the configuration has none of yours');
    expect(shown).toContain('href="/passkeys"');
    expect(shown).not.toMatch(/value="approve/);
    const form = { csrf: visitor.csrf, verdict: 'deny', reason: 'no' };
    expect((await visitor.post(`/requests/${id}/verdict`, form, OURS)).status).toBe(303);
    expect(await state(id)).toBe('denied');
  });
});

describe('a passkey over the API', () => {
  const TOKEN = 'Bearer reviewer-token';

  it('signs the challenge that the request tells', async () => {
    const { id, digest } = await asked();
    const shown = await http.app.request(`/api/requests/${id}`, { headers: { authorization: TOKEN } });
    const { passkey } = (await shown.json()) as {
      passkey: { challenge: string; rpId: string; origin: string };
    };
    expect(passkey).toEqual({
      challenge: Buffer.from(digest, 'hex').toString('base64url'),
      rpId: 'countersign.example.com',
      origin: ORIGIN,
    });
    const without = await post(http.app, id, TOKEN, { verdict: 'approve' });
    expect([without.status, await code(without)]).toEqual([403, 'assurance_too_low']);
    const other = await post(http.app, id, TOKEN, {
      verdict: 'approve',
      passkey: own.assertion('0'.repeat(64), ORIGIN),
    });
    expect([other.status, await code(other)]).toEqual([403, 'passkey_refused']);
    const taken = await post(http.app, id, TOKEN, {
      verdict: 'approve',
      passkey: own.assertion(passkey.challenge === '' ? '' : digest, passkey.origin),
    });
    expect([taken.status, ((await taken.json()) as { state: string }).state]).toEqual([200, 'approved']);
  });

  it('is in one form, and for one request', async () => {
    const { id, digest } = await asked();
    const good = own.assertion(digest, ORIGIN);
    for (const body of [
      { verdict: 'approve', passkey: { ...good, signature: '' } },
      { verdict: 'approve', passkey: { ...good, more: 'x' } },
      { verdict: 'approve', passkey: 'x' },
      { verdict: 'approve', passkey: good, all: true },
    ])
      expect((await post(http.app, id, TOKEN, body)).status).toBe(422);
    expect((await http.approvals.get(id))?.state).toBe('open');
  });
});

async function code(response: Response): Promise<string> {
  return ((await response.json()) as { code: string }).code;
}
