import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Question } from '../../../src/approval/port.ts';
import type { ApprovalHandle } from '../../../src/approval/store.ts';
import {
  type ApprovalWorld,
  answer,
  approvalWorld,
  deputy,
  owner,
  PEOPLE,
  question,
  reviewer,
} from '../../approval/support.ts';
import { AGENT_PASSWORD, type HttpWorld, httpWorld, post } from '../api/support.ts';
import { signIn } from './support.ts';

/** Twelve routes to one's own approval, each through every channel that this program serves over HTTP. */
let world: ApprovalWorld;
let http: HttpWorld;
let n = 0;
beforeAll(async () => {
  world = await approvalWorld('aproute');
  http = await httpWorld(world);
});
afterAll(() => world?.close());

type Tried = { readonly status: number; readonly text: string };
type Attempt = (
  id: string,
  as: { readonly person: string; readonly token?: string; readonly authorization?: string },
) => Promise<Tried>;

const CHANNELS: Readonly<Record<string, Attempt>> = {
  api: async (id, { person, token, authorization }) => {
    const response = await post(http.app, id, authorization ?? `Bearer ${token ?? `${person}-token`}`, {
      verdict: 'approve',
    });
    return { status: response.status, text: await response.text() };
  },
  console: async (id, { person, authorization }) => {
    const tab = await signIn(http, person);
    const extra = authorization === undefined ? {} : { authorization };
    const response = await tab.post(
      `/requests/${id}/verdict`,
      { csrf: tab.csrf, verdict: 'approve', reason: '' },
      extra,
    );
    return { status: response.status, text: await response.text() };
  },
};

async function opened(changes: Partial<Question> = {}): Promise<string> {
  n += 1;
  return (await http.approvals.open(question({ text: `DROP TABLE route_${n}`, ...changes }))).id;
}
const forPerson = (onBehalfOf: string) => ({ session: { ...question().session, onBehalfOf } });
const demand = (changes: object) => ({
  demand: { approvers: [], quorum: 1, assurance: 1, ...changes } as Question['demand'],
});

async function expectRefused(id: string, tried: Tried, code: string): Promise<void> {
  expect(tried.status).toBe(403);
  expect(await http.approvals.get(id)).toMatchObject({ state: 'open', verdicts: [] });
  const refused = (await world.entries()).filter(
    (entry) => entry.request_id === id && entry.kind === 'verdict_refused',
  );
  expect(refused.at(-1)?.detail['code']).toBe(code);
}

const basic = `Basic ${Buffer.from(`shop-agent:${AGENT_PASSWORD}`).toString('base64')}`;

describe.each(Object.keys(CHANNELS))('through the %s', (channel) => {
  const attempt: Attempt = (id, as) => {
    const send = CHANNELS[channel];
    if (send === undefined) throw new Error(`no channel ${channel}`);
    return send(id, as);
  };

  it.each<[string, Partial<Question>, Parameters<Attempt>[1], string]>([
    ["1 the agent's own credential", {}, { person: 'reviewer', authorization: basic }, 'agent_credential'],
    ['2 the owner', {}, { person: 'owner' }, 'self_approval'],
    ['3 the person it acts for', forPerson('principal'), { person: 'principal' }, 'self_approval'],
    ['4 a second account of the owner', {}, { person: 'owner', token: 'owner-other-token' }, 'self_approval'],
    [
      '6 the owner as a member of the approving group',
      demand({ approvers: ['dba'] }),
      { person: 'owner' },
      'self_approval',
    ],
    ['7 the owner named as approver', demand({ approvers: ['owner'] }), { person: 'owner' }, 'self_approval'],
    [
      '10 an alias address of the person it acts for',
      forPerson('Reviewer+bot@SHOP.example'),
      { person: 'reviewer' },
      'self_approval',
    ],
    [
      '10 a Slack account of the person it acts for',
      forPerson('T2/UDAN2'),
      { person: 'reviewer' },
      'self_approval',
    ],
    [
      '– somebody whom the rule does not name',
      demand({ approvers: ['security'] }),
      { person: 'reviewer' },
      'not_an_approver',
    ],
    ['– too weak a sign-in', demand({ assurance: 2 }), { person: 'reviewer' }, 'assurance_too_low'],
    ['– an account of nobody', {}, { person: 'ghost' }, 'unknown_person'],
  ])('%s is refused', async (_route, changes, as, code) => {
    const id = await opened(changes);
    await expectRefused(id, await attempt(id, as), code);
  });

  it('5 a second channel, 11 a replayed click: one person is one of two', async () => {
    const id = await opened(demand({ quorum: 2 }));
    for (const send of Object.values(CHANNELS)) await send(id, { person: 'reviewer' });
    for (let i = 0; i < 5; i += 1) await attempt(id, { person: 'reviewer' });
    const slack = answer(id, [{ kind: 'slack', value: 'T2/UDAN2' }], { channel: 'slack' });
    expect(await http.approvals.guard.decide(slack)).toMatchObject({
      ok: true,
      repeated: true,
      state: 'open',
    });
    expect((await http.approvals.get(id))?.verdicts).toHaveLength(1);
    await attempt(id, { person: 'deputy' });
    expect(await http.approvals.get(id)).toMatchObject({ state: 'approved' });
  });

  it('12 a request edited after it was opened takes no approval', async () => {
    const id = await opened();
    await world.database.query("UPDATE countersign.request SET sql = 'SELECT 1' WHERE id = $1", [id]);
    expect((await attempt(id, { person: 'reviewer' })).status).toBe(409);
    expect((await http.approvals.get(id))?.state).toBe('open');
  });
});

it("8 an API key whose secret is an agent's password is no person's key", async () => {
  const id = await opened();
  const token = AGENT_PASSWORD;
  const response = await post(http.app, id, `Bearer ${token}`, { verdict: 'approve' });
  await expectRefused(id, { status: response.status, text: '' }, 'agent_credential');
});

it('9 a chat account that two people share identifies neither', async () => {
  const shared = { slack: ['T1/USHARED'] };
  const people = [{ ...reviewer, ...shared }, { ...deputy, ...shared }, owner];
  const other: ApprovalHandle = await world.open({ people });
  const id = await opened();
  const result = await other.guard.decide(
    answer(id, [{ kind: 'slack', value: 'T1/USHARED' }], { channel: 'slack' }),
  );
  expect(result).toMatchObject({ ok: false, code: 'ambiguous_person' });
  expect(people.length).toBeLessThan(PEOPLE.length);
});
