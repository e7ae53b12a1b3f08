import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Question } from '../../src/approval/port.ts';
import { type ApprovalHandle, openApprovals } from '../../src/approval/store.ts';
import { createTransactionalAppender } from '../../src/audit/log/transactional.ts';
import type { ApiKey, Config, Person } from '../../src/config/config.ts';
import { openKeys } from '../../src/signing/keys.ts';
import { question } from '../approval/support.ts';
import { type Message, SlackStandIn } from '../support/slack-stand-in.ts';
import { type Stack, startStack } from '../support/stack.ts';

/**
 * Twelve ways to approve one's own request, each through the real door of every channel of a whole installation: HTTP with
 * API keys, the pages with their cookies and forms, and Slack's signed payloads. Each ends with its code in the audit log.
 */
let stack: Stack;
let slack: SlackStandIn;
/** Another process of the same installation, which asks: for people that only a token could name. */
let desk: ApprovalHandle;
let n = 0;

const key = (name: string, token: string, person: string): ApiKey => ({
  name,
  sha256: createHash('sha256').update(token).digest('hex'),
  person,
});

function peopleOf(team: string): readonly Person[] {
  const one = (id: string, groups: readonly string[] = [], more: readonly string[] = []): Person => ({
    id,
    email: `${id}@example.com`,
    slack: [id, ...more].map((name) => `${team}/U0${name.toUpperCase()}`),
    oidc: [],
    groups,
  });
  return [
    one('owner', ['dba', 'administrators'], ['owner2']),
    one('approver', ['dba']),
    one('principal', ['dba']),
    one('twin', [], ['shared']),
    // What loading a configuration refuses; the guard does not rely on that.
    { ...one('other', [], ['shared']), id: 'twin' },
  ];
}

beforeAll(async () => {
  slack = new SlackStandIn();
  await slack.start();
  for (const name of ['OWNER', 'OWNER2', 'APPROVER', 'PRINCIPAL', 'SHARED', 'NOBODY'])
    slack.users.set(`U0${name}`, { id: `U0${name}`, team_id: slack.teamId });
  slack.users.set('U0AGENT', { id: 'U0AGENT', team_id: slack.teamId, is_bot: true });
  stack = await startStack({
    config: (config) => ({
      ...config,
      http: { ...config.http, apiKeys: keysOf(config) },
      people: peopleOf(slack.teamId),
      slack: {
        mode: 'http',
        botToken: slack.botToken,
        appToken: null,
        signingSecret: slack.signingSecret,
        teamId: slack.teamId,
        channel: slack.channel,
        apiUrl: slack.apiUrl,
      },
    }),
  });
  slack.requestUrl = `${stack.httpUrl}/slack/events`;
  const { config } = stack;
  const keys = await openKeys(config.keys.directory);
  desk = await openApprovals({
    url: config.audit.url,
    limits: config.limits,
    people: config.people,
    keys,
    appendAudit: createTransactionalAppender({ schema: config.audit.schema, signer: keys.signer }).append,
    log: { info: () => {}, warn: () => {}, error: () => {} },
    publicUrl: config.http.publicUrl,
    processId: randomBytes(8).toString('hex'),
  });
});
afterAll(async () => {
  await desk?.close();
  await stack?.close();
  await slack?.close();
});

function keysOf(config: Config): readonly ApiKey[] {
  return [
    ...config.http.apiKeys,
    ...['approver', 'principal', 'twin', 'ghost'].map((id) => key(`${id}'s`, `${id}-token`, id)),
    key("owner's", 'owner-token', 'owner'),
    key("owner's second", 'owner2-token', 'owner'),
    // The agent's password made a key of somebody else's.
    key('reused', 'agent-secret', 'approver'),
  ];
}

type As = {
  readonly person: string;
  /** Where another account of the person answers: its API token, its Slack user. */
  readonly account?: string;
  /** What the agent would show beside, or instead. */
  readonly agent?: string;
};
type Attempt = (id: string, as: As) => Promise<void>;

const DOORS: Readonly<Record<string, Attempt>> = {
  api: async (id, { person, account = person, agent }) => {
    const authorization = agent ?? `Bearer ${account}-token`;
    const response = await verdict(`/api/requests/${id}/verdict`, { authorization }, 'application/json', {
      verdict: 'approve',
    });
    expect(response.status === 403 || response.status === 409 || response.status === 401).toBe(true);
  },
  console: async (id, { person, agent }) => {
    const link = await stack.running.signInLink(person);
    const signIn = await fetch(`${stack.httpUrl}${new URL(link).pathname}${new URL(link).search}`);
    const cookie = (signIn.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
    const page = await (await fetch(`${stack.httpUrl}/`, { headers: { cookie } })).text();
    const csrf = /name="csrf" value="([0-9a-f]{64})"/.exec(page)?.[1] ?? '';
    const response = await verdict(
      `/requests/${id}/verdict`,
      { cookie, origin: stack.httpUrl, ...(agent === undefined ? {} : { authorization: agent }) },
      'application/x-www-form-urlencoded',
      { csrf, verdict: 'approve', reason: '' },
    );
    expect([403, 409]).toContain(response.status);
  },
  slack: async (id, { person, account = person, agent }) => {
    const user = agent === undefined ? `U0${account.toUpperCase()}` : 'U0AGENT';
    const answer = await slack.deliver(slack.clickPayload(await card(id), 'countersign_approve', user));
    expect(answer.status).toBe(200);
  },
};

function verdict(path: string, headers: Record<string, string>, type: string, body: Record<string, string>) {
  return fetch(`${stack.httpUrl}${path}`, {
    method: 'POST',
    redirect: 'manual',
    headers: { ...headers, 'content-type': type },
    body: type === 'application/json' ? JSON.stringify(body) : new URLSearchParams(body).toString(),
  });
}

async function card(id: string): Promise<Message> {
  return eventually(() => slack.messages.find(({ blocks }) => JSON.stringify(blocks).includes(id)) ?? null);
}

async function eventually<T>(find: () => T | null | Promise<T | null>): Promise<T> {
  for (let i = 0; i < 1_200; i += 1) {
    const found = await find();
    if (found !== null) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error('it did not come within a minute');
}

async function opened(changes: Partial<Question> = {}): Promise<string> {
  n += 1;
  const base = question({ text: `DROP TABLE route_${n}` });
  const session = { ...base.session, agent: 'agent', ...changes.session };
  return (await desk.open({ ...base, ...changes, session })).id;
}
const forPerson = (onBehalfOf: string) => ({
  session: { ...question().session, agent: 'agent', onBehalfOf },
});
const approvers = (...names: string[]) => ({
  demand: { approvers: names, quorum: 1, assurance: 1 } as const,
});

async function codesOf(id: string): Promise<readonly string[]> {
  const rows = await stack.audited(
    "SELECT detail ->> 'code' AS code, detail ->> 'channel' AS channel FROM audit.events WHERE kind = 'verdict_refused' AND request_id = $1",
    [id],
  );
  return rows.map(({ code, channel }) => `${channel} ${code}`);
}

const BASIC = `Basic ${Buffer.from('agent:agent-secret').toString('base64')}`;

type Route = readonly [
  name: string,
  asked: Partial<Question>,
  as: As,
  /** By channel, or one for all. */
  code: string | Readonly<Record<string, string>>,
];
const ROUTES: readonly Route[] = [
  [
    "1 the agent's own credential",
    {},
    { person: 'approver', agent: BASIC },
    { api: 'agent_credential', console: 'agent_credential', slack: 'not_a_member' },
  ],
  ['2 the owner', {}, { person: 'owner' }, 'self_approval'],
  ['3 the person it acts for', forPerson('principal'), { person: 'principal' }, 'self_approval'],
  ['4 a second account of the owner', {}, { person: 'owner', account: 'owner2' }, 'self_approval'],
  ['6 the owner, a member of the group', approvers('dba'), { person: 'owner' }, 'self_approval'],
  [
    '7 the owner, an administrator and named by the rule',
    approvers('owner', 'administrators'),
    { person: 'owner' },
    'self_approval',
  ],
  [
    "8 an API key that is the agent's password",
    {},
    { person: 'approver', agent: 'Bearer agent-secret' },
    { api: 'agent_credential', console: 'agent_credential', slack: 'not_a_member' },
  ],
  ['9 an account that two people share', {}, { person: 'twin', account: 'twin' }, 'ambiguous_person'],
  [
    '10 an alias address of the approver, for whom it acts',
    forPerson('Approver+bot@EXAMPLE.com'),
    { person: 'approver' },
    'self_approval',
  ],
  [
    '10 an address that looks like it',
    forPerson('аpprover@example.com'),
    { person: 'approver' },
    'self_approval',
  ],
];

describe.each(Object.keys(DOORS))('through the door of %s', (channel) => {
  const attempt: Attempt = async (id, as) => DOORS[channel]?.(id, as);

  it.each(ROUTES)('%s: refused, and an entry', async (_name, asked, as, code) => {
    const id = await opened(asked);
    const account = channel === 'slack' && as.account === 'twin' ? { ...as, account: 'shared' } : as;
    await attempt(id, account);
    const wanted = typeof code === 'string' ? code : code[channel];
    const codes = await eventually(async () => {
      const found = await codesOf(id);
      return found.length > 0 ? found : null;
    });
    expect(codes).toEqual([`${channel} ${wanted}`]);
    expect(await desk.get(id)).toMatchObject({ state: 'open', verdicts: [] });
  });

  it('12 a request edited after it was opened: refused, and an entry', async () => {
    const id = await opened();
    if (channel === 'slack') await card(id);
    await stack.audit.query("UPDATE countersign.request SET sql = 'SELECT 1' WHERE id = $1", [id]);
    await attempt(id, { person: 'approver' });
    const codes = await eventually(async () => {
      const found = await codesOf(id);
      return found.length > 0 ? found : null;
    });
    expect(codes).toEqual([`${channel} request_altered`]);
    expect((await desk.get(id))?.state).toBe('open');
  });
});

it('5 a second channel, 11 a replayed answer: one person is one of two, however often and from wherever', async () => {
  const id = await opened({ demand: { approvers: [], quorum: 2, assurance: 1 } });
  const click = slack.clickPayload(await card(id), 'countersign_approve', 'U0APPROVER');
  await Promise.all(Array.from({ length: 20 }, () => slack.deliver(click)));
  await eventually(async () => (((await desk.get(id))?.verdicts.length ?? 0) > 0 ? true : null));
  for (let i = 0; i < 3; i += 1) {
    const response = await verdict(
      `/api/requests/${id}/verdict`,
      { authorization: 'Bearer approver-token' },
      'application/json',
      { verdict: 'approve' },
    );
    expect(await response.json()).toMatchObject({ state: 'open', repeated: true, approvals: 1 });
  }
  const rows = await stack.audited("SELECT FROM audit.events WHERE kind = 'verdict' AND request_id = $1", [
    id,
  ]);
  expect(rows).toHaveLength(1);
  expect(await desk.get(id)).toMatchObject({ state: 'open', verdicts: [{ person: 'approver' }] });
});

it('11 an old click sent again, one of another workspace, and one for another request: refused, and entries', async () => {
  const id = await opened();
  const shown = await card(id);
  const fresh = slack.clickPayload(shown, 'countersign_approve', 'U0APPROVER') as { actions: object[] };
  const old = { action_ts: `${Math.floor(Date.now() / 1000) - 3_600}.000100` };
  await slack.deliver({ ...fresh, actions: [{ ...fresh.actions[0], ...old }] });
  await slack.deliver({ ...fresh, team: { id: 'T0OTHER', domain: 'other' } });
  // With another request's id the signature no longer fits; with a new one, the digest is another.
  const other = await opened();
  const moved = JSON.parse(JSON.stringify(fresh).replaceAll(id, other)) as object;
  const body = new URLSearchParams({ payload: JSON.stringify(moved) }).toString();
  expect((await slack.deliver(fresh, { body })).status).toBe(401);
  await slack.deliver(moved);
  const codes = await eventually(async () => {
    const found = [...(await codesOf(id)), ...(await codesOf(other))];
    return found.length === 3 ? found : null;
  });
  expect([...codes].sort()).toEqual(['slack not_as_shown', 'slack other_workspace', 'slack stale_click']);
  for (const one of [id, other]) expect(await desk.get(one)).toMatchObject({ state: 'open', verdicts: [] });
});
