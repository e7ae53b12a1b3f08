import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import { makePolicy } from '../../src/config/policy.ts';
import { cardsOf, textOf, until } from '../channels/slack/harness.ts';
import { type Message, SlackStandIn } from '../support/slack-stand-in.ts';
import { type Stack, startStack } from '../support/stack.ts';

const APPROVE = 'countersign_approve';
const WAIT_MS = 60_000;

let stack: Stack;
let slack: SlackStandIn;
const clients: pg.Client[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) await client.end().catch(() => {});
  await stack.close();
  await slack.close();
});

/** A rule for DDL: the approver from the beginning, the members of the Slack user group S0ONCALL after a while. */
async function start(after: string): Promise<void> {
  slack = new SlackStandIn();
  await slack.start();
  for (const id of ['U0OWNER', 'U0APPROVER', 'U0DEPUTY', 'U0REVIEWER'])
    slack.users.set(id, { id, team_id: slack.teamId });
  slack.userGroups.set('S0ONCALL', ['U0DEPUTY', 'U0OWNER']);
  const person = (id: string) => ({
    id,
    email: `${id}@example.com`,
    slack: [`${slack.teamId}/U0${id.toUpperCase()}`],
    oidc: [],
    groups: [],
  });
  stack = await startStack({
    config: (config) => ({
      ...config,
      people: ['owner', 'approver', 'deputy', 'reviewer'].map(person),
      groups: [{ name: 'oncall', slackUserGroup: 'S0ONCALL' }],
      policy: makePolicy([
        {
          name: 'ddl',
          match: { class: ['ddl'] },
          decision: 'hold',
          approvers: ['approver'],
          escalate: { after, approvers: ['oncall'], channel: slack.otherChannel },
        },
      ]),
      slack: {
        mode: 'socket',
        botToken: slack.botToken,
        appToken: slack.appToken,
        signingSecret: null,
        teamId: slack.teamId,
        channel: slack.channel,
        apiUrl: slack.apiUrl,
      },
    }),
  });
  await until(() => slack.connections > 0, WAIT_MS);
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => {});
  clients.push(client);
  await client.connect();
  return client;
}

async function cardIn(channel: string, text: string): Promise<Message> {
  const find = () =>
    cardsOf(slack).find((message) => message.channel === channel && textOf(message).includes(text));
  await until(() => find() !== undefined, WAIT_MS);
  return find() as Message;
}

describe('an escalation, from the agent to the click to the result', { timeout: 240_000 }, () => {
  it('brings in the members of a Slack user group, once, with two processes, and nobody else', async () => {
    await start('20s');
    const second = await stack.second();
    await until(() => slack.connections > 1, WAIT_MS);
    const running = (await connect(stack.agentUrl)).query('CREATE TABLE escalated (id int)');
    const first = await cardIn(slack.channel, 'CREATE TABLE escalated');
    expect(textOf(first)).toContain(' UTC also: oncall');
    await slack.deliver(slack.clickPayload(first, APPROVE, 'U0DEPUTY'));
    await until(() => slack.ephemerals.length === 1, WAIT_MS);
    expect(slack.ephemerals[0]).toMatchObject({ user: 'U0DEPUTY' });
    expect(slack.ephemerals[0]?.text).toContain('names other approvers');
    expect(cardsOf(slack)).toHaveLength(1);

    const escalated = await cardIn(slack.otherChannel, 'Escalated, approval needed');
    expect(JSON.stringify(escalated.blocks)).toContain('{"type":"usergroup","usergroup_id":"S0ONCALL"}');
    // In the user group, but the agent is his; and somebody who is in no group.
    for (const user of ['U0OWNER', 'U0REVIEWER'])
      await slack.deliver(slack.clickPayload(escalated, APPROVE, user));
    await until(() => slack.ephemerals.length === 3, WAIT_MS);
    expect(
      slack.ephemerals.map(({ text }) => /somebody else|other approvers/.exec(text)?.[0]).sort(),
    ).toEqual(['other approvers', 'other approvers', 'somebody else']);
    await slack.deliver(slack.clickPayload(escalated, APPROVE, 'U0DEPUTY'));
    expect((await running).command).toBe('CREATE');
    for (const channel of [slack.channel, slack.otherChannel])
      expect(textOf(await cardIn(channel, 'Outcome: CREATE TABLE'))).toContain('Approved by deputy');
    expect(cardsOf(slack)).toHaveLength(2);
    await until(() => slack.messages.some(({ threadTs }) => threadTs !== null), WAIT_MS);
    expect(slack.messages.filter(({ threadTs }) => threadTs !== null)).toHaveLength(1);
    const [row] = await stack.audited("SELECT approvers FROM audit.statements WHERE tag = 'CREATE TABLE'");
    expect(row).toEqual({ approvers: ['deputy'] });
    await second.running.close();
  });

  it('lets nobody of a user group release that he left, and says why nobody can say', async () => {
    await start('1s');
    slack.userGroups.delete('S0ONCALL');
    slack.script('usergroups.users.list', ...Array.from({ length: 50 }, () => ({ status: 503 })));
    // Members are asked for anew by a process that starts now, and Slack does not say.
    await stack.restart();
    await until(() => slack.connections > 0, WAIT_MS);
    const asked = (await connect(stack.agentUrl)).query('CREATE TABLE unknown_members (id int)');
    asked.catch(() => {});
    const escalated = await cardIn(slack.otherChannel, 'unknown_members');
    await slack.deliver(slack.clickPayload(escalated, APPROVE, 'U0DEPUTY'));
    await until(() => slack.ephemerals.length === 1, WAIT_MS);
    expect(slack.ephemerals[0]?.text).toContain('group oncall is not known just now');
    const ready = await fetch(`${stack.httpUrl}/readyz`);
    expect(ready.status).toBe(200);
    expect(JSON.stringify(await ready.json())).toContain('members of group oncall are not known');
    await slack.deliver(slack.clickPayload(escalated, APPROVE, 'U0APPROVER'));
    expect((await asked).command).toBe('CREATE');
  });
});
