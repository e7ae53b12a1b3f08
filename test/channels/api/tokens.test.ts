import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { personTokens } from '../../../src/channels/api/person-tokens.ts';
import type { PersonJwt } from '../../../src/config/config.ts';
import { DEFAULT_LIMITS } from '../../../src/config/limits.ts';
import { personTokenCheck } from '../../../src/signing/person-token.ts';
import { type ApprovalWorld, approvalWorld, PEOPLE, question } from '../../approval/support.ts';
import { AUDIENCE, ISSUER, type Issuer, startIssuer } from '../../support/issuer.ts';
import { type HttpWorld, httpWorld, PUBLIC_URL, post } from './support.ts';

/** People's tokens at the API: whose they are, how sure they make, and what agents and strangers get with theirs. */
let issuer: Issuer;
let world: ApprovalWorld;
let http: HttpWorld;
let id: string;
let n = 0;

const people = PEOPLE.map((person) =>
  person.id === 'reviewer' ? { ...person, oidc: [`${ISSUER}#reviewer-sub`] } : person,
);
const NOW = () => Math.floor(Date.now() / 1000);

async function worldWith(changes: Partial<PersonJwt> = {}, known = people): Promise<HttpWorld> {
  const jwt: PersonJwt = {
    kind: 'jwt',
    issuer: ISSUER,
    audience: AUDIENCE,
    algorithms: ['ES256'],
    keys: { kind: 'url', url: issuer.url },
    freshLogin: { maxAgeMs: 600_000, acr: ['gold'], amr: ['hwk'] },
    clients: null,
    auditors: ['security'],
    ...changes,
  };
  const verify = personTokenCheck(jwt, { ...DEFAULT_LIMITS, jwksRetryMs: 1, jwksCooldownMs: 1 });
  const tokens = personTokens(jwt, verify, { people: known });
  return httpWorld(world, PUBLIC_URL, { people: known, personTokens: tokens });
}

beforeAll(async () => {
  issuer = await startIssuer();
  world = await approvalWorld('aptoken');
  http = await worldWith();
});
afterAll(async () => {
  await world?.close();
  await issuer?.close();
});
beforeEach(async () => {
  n += 1;
  id = (await http.approvals.open(question({ text: `DROP TABLE token_${n}` }))).id;
});

type Said = {
  readonly status: number;
  readonly code?: string;
  readonly detail?: string;
  readonly person?: string;
};
async function say(claims: Record<string, unknown>, verdict = 'approve', to = http): Promise<Said> {
  return sayWith(await issuer.token(claims), verdict, to);
}
async function sayWith(token: string, verdict = 'approve', to = http): Promise<Said> {
  const response = await post(to.app, id, `Bearer ${token}`, { verdict });
  return { status: response.status, ...((await response.json()) as object) };
}

describe('a token', () => {
  it('is the person who has its subject, and the receipt says which token it was', async () => {
    expect(await say({ sub: 'reviewer-sub', jti: 'token-1' })).toMatchObject({
      status: 200,
      person: 'reviewer',
    });
    const entry = (await world.entries()).find(
      ({ request_id, kind }) => request_id === id && kind === 'verdict',
    );
    expect(entry?.detail).toMatchObject({ ids: `oidc:${ISSUER}#reviewer-sub`, assurance: '1' });
    const [, claims = ''] = (await http.approvals.get(id))?.receipt?.split('.') ?? [];
    expect(JSON.parse(Buffer.from(claims, 'base64url').toString())).toMatchObject({
      approvers: [{ person: 'reviewer', facts: { issuer: ISSUER, subject: 'reviewer-sub', jti: 'token-1' } }],
    });
  });

  it('is the person with its verified address', async () => {
    expect(await say({ sub: 'd1', email: 'Deputy@shop.example', email_verified: true })).toMatchObject({
      status: 200,
      person: 'deputy',
    });
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['of nobody', { sub: 'stranger' }, 'unknown_person'],
    ['with an address that is not verified', { sub: 'd1', email: 'deputy@shop.example' }, 'unknown_person'],
    [
      'whose address is verified in a word',
      { sub: 'd1', email: 'deputy@shop.example', email_verified: 'true' },
      'unknown_person',
    ],
    [
      'with the address of somebody who has another subject',
      { sub: 'new-account', email: 'reviewer@shop.example', email_verified: true },
      'unknown_person',
    ],
    [
      'with the subject of one and the address of another',
      { sub: 'reviewer-sub', email: 'deputy@shop.example', email_verified: true },
      'ambiguous_person',
    ],
    ['with an empty address', { sub: 'd1', email: '', email_verified: true }, 'unknown_person'],
    [
      'of the owner, by address',
      { sub: 'o', email: 'owner@shop.example', email_verified: true },
      'self_approval',
    ],
    ['of an agent', { sub: 'shop-agent' }, 'agent_credential'],
    ['that an agent asked for', { sub: 'reviewer-sub', azp: 'shop-agent' }, 'agent_credential'],
    [
      'that an agent has as its client',
      { sub: 'reviewer-sub', client_id: 'other-agent' },
      'agent_credential',
    ],
    ['with which an agent acts', { sub: 'reviewer-sub', act: { sub: 'shop-agent' } }, 'agent_credential'],
    ['of an agent of another issuer', { iss: 'https://other', sub: 'shop-agent' }, 'agent_credential'],
  ])('%s is refused, and the attempt is an entry', async (_what, claims, code) => {
    expect(await say(claims)).toMatchObject({ status: 403, code });
    const refused = (await world.entries()).filter(({ request_id }) => request_id === id).at(-1);
    expect(refused).toMatchObject({ kind: 'verdict_refused', detail: { code } });
    const read = await http.app.request('/api/requests', {
      headers: { authorization: `Bearer ${await issuer.token(claims)}` },
    });
    // The owner may look; nobody else of these.
    expect(read.status).toBe(code === 'self_approval' ? 200 : 403);
  });

  it.each<[string, () => Promise<string>]>([
    ['that has expired', () => issuer.token({ sub: 'reviewer-sub', exp: NOW() - 60 })],
    ['for another audience', () => issuer.token({ sub: 'reviewer-sub', aud: 'wiki' })],
    ['without an end', () => issuer.token({ sub: 'reviewer-sub', exp: undefined })],
    ['without a subject', () => issuer.token({ sub: undefined })],
    ['that is not valid yet', () => issuer.token({ sub: 'reviewer-sub', nbf: NOW() + 600 })],
    ['for acting on behalf of somebody', () => issuer.token({ sub: 'reviewer-sub', act: { sub: 'tool' } })],
    ['that names a person as its agent does', () => issuer.token({ sub: 'reviewer-sub', on_behalf_of: 'x' })],
    ['of another type', () => issuer.token({ sub: 'reviewer-sub' }, { typ: 'logout+jwt' })],
    [
      'with another signature',
      async () => `${(await issuer.token({ sub: 'reviewer-sub' })).slice(0, -8)}AAAAAAAA`,
    ],
    [
      'signed with the public key as a secret',
      () =>
        issuer.token(
          { sub: 'reviewer-sub' },
          { alg: 'HS256', key: new TextEncoder().encode(JSON.stringify(issuer.keySet().keys[0]).padEnd(64)) },
        ),
    ],
    [
      'without a signature',
      async () => {
        const [, claims] = (await issuer.token({ sub: 'reviewer-sub' })).split('.');
        return `${Buffer.from('{"alg":"none"}').toString('base64url')}.${claims}.`;
      },
    ],
  ])('%s is 401 with the reason', async (_what, make) => {
    const token = await make();
    const said = await sayWith(token);
    expect(said).toMatchObject({ status: 401, code: 'token_refused' });
    expect(said.detail).not.toContain(token);
    expect((await http.approvals.get(id))?.state).toBe('open');
  });

  it.each([
    ['subject', 'd1'],
    ['subject with the issuer', `${ISSUER}#d1`],
    ['name there', 'dep.uty'],
    ['address there, which nobody has verified', 'Other+x@shop.example'],
  ])(
    'of the person for whom the agent acts, under a %s that the configuration does not have, approves nothing',
    async (_what, onBehalfOf) => {
      const base = question({ text: `DROP TABLE for_${n}` });
      const session = { ...base.session, onBehalfOf };
      id = (await http.approvals.open({ ...base, session })).id;
      const claims = { sub: 'd1', preferred_username: 'dep.uty' };
      const known = { ...claims, email: 'deputy@shop.example', email_verified: true };
      if (onBehalfOf.startsWith('Other')) {
        const other = people.map((p) => (p.id === 'deputy' ? { ...p, oidc: [`${ISSUER}#d1`] } : p));
        const changed = await worldWith({}, other);
        id = (await changed.approvals.open({ ...base, session })).id;
        expect(await say({ ...claims, email: 'other@shop.example' }, 'approve', changed)).toMatchObject({
          status: 403,
          code: 'self_approval',
        });
        return;
      }
      expect(await say(known)).toMatchObject({ status: 403, code: 'self_approval' });
      expect(await say({ ...known, sub: 'd2', preferred_username: 'else' })).toMatchObject({ status: 200 });
    },
  );

  it('of another issuer is no credential', async () => {
    expect(await say({ iss: 'https://elsewhere', sub: 'reviewer-sub' })).toMatchObject({
      status: 401,
      code: 'no_credential',
    });
  });

  it('is 503 while the keys cannot be had', async () => {
    const away = await worldWith({ keys: { kind: 'url', url: 'http://127.0.0.1:1/jwks' } });
    expect(await say({ sub: 'reviewer-sub' }, 'approve', away)).toMatchObject({
      status: 503,
      code: 'issuer_unavailable',
    });
  });

  it('of another client than those of the configuration is refused', async () => {
    const strict = await worldWith({ clients: ['approver-cli'] });
    for (const [claims, status] of [
      [{ sub: 'reviewer-sub' }, 401],
      [{ sub: 'reviewer-sub', azp: 'some-app' }, 401],
      [{ sub: 'reviewer-sub', azp: 'approver-cli', client_id: 'some-app' }, 401],
      [{ sub: 'reviewer-sub', azp: 'approver-cli' }, 200],
    ] as const)
      expect(await say(claims, 'approve', strict)).toMatchObject({ status });
  });
});

describe('assurance 2', () => {
  const fresh = { sub: 'reviewer-sub', acr: 'gold' };
  it.each<[string, Record<string, unknown>, boolean]>([
    ['by acr and a fresh log-in', { ...fresh, auth_time: NOW() - 60 }, true],
    ['by one of amr', { sub: 'reviewer-sub', amr: ['pwd', 'hwk'], auth_time: NOW() - 60 }, true],
    ['not without auth_time', fresh, false],
    ['not by an old log-in', { ...fresh, auth_time: NOW() - 700 }, false],
    ['not by a log-in of the future', { ...fresh, auth_time: NOW() + 3_600 }, false],
    ['not by a password', { sub: 'reviewer-sub', acr: 'silver', amr: ['pwd'], auth_time: NOW() }, false],
    ['not by amr as one text', { sub: 'reviewer-sub', amr: 'hwk', auth_time: NOW() }, false],
  ])('%s', async (_what, claims, enough) => {
    const demand = { approvers: [], quorum: 1, assurance: 2 } as const;
    id = (await http.approvals.open(question({ text: `DROP TABLE sure_${n}`, demand }))).id;
    const said = await say(claims);
    if (enough) expect(said).toMatchObject({ status: 200, person: 'reviewer' });
    else expect(said).toMatchObject({ status: 403, code: 'assurance_too_low' });
    if (enough) expect((await http.approvals.get(id))?.verdicts).toMatchObject([{ assurance: 2 }]);
  });

  it('never where the configuration does not say what it is', async () => {
    const plain = await worldWith({ freshLogin: null });
    const demand = { approvers: [], quorum: 1, assurance: 2 } as const;
    id = (await plain.approvals.open(question({ text: 'DROP TABLE plain', demand }))).id;
    expect(await say({ ...fresh, auth_time: NOW() }, 'approve', plain)).toMatchObject({ status: 403 });
  });
});
