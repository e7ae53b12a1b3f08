import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import type { SlackConfig } from '../../src/config/config.ts';
import { until } from '../channels/slack/harness.ts';
import { type Message, SlackStandIn } from '../support/slack-stand-in.ts';
import { type Stack, startStack } from '../support/stack.ts';

const APPROVE = 'countersign_approve';
const DENY = 'countersign_deny';

let stack: Stack;
let slack: SlackStandIn;
afterEach(async () => {
  await stack.close();
  await slack.close();
});

async function start(mode: SlackConfig['mode']): Promise<void> {
  slack = new SlackStandIn();
  await slack.start();
  for (const id of ['U0OWNER', 'U0APPROVER', 'U0NOBODY']) slack.users.set(id, { id, team_id: slack.teamId });
  stack = await startStack({
    config: (config) => ({
      ...config,
      people: config.people.map((one) => ({ ...one, slack: [`${slack.teamId}/U0${one.id.toUpperCase()}`] })),
      slack: {
        mode,
        botToken: slack.botToken,
        appToken: mode === 'socket' ? slack.appToken : null,
        signingSecret: mode === 'http' ? slack.signingSecret : null,
        teamId: slack.teamId,
        channel: slack.channel,
        apiUrl: slack.apiUrl,
      },
    }),
  });
  if (mode === 'http') slack.requestUrl = `${stack.httpUrl}/slack/events`;
  else await until(() => slack.connections > 0, 30_000);
}

async function card(text: string): Promise<Message> {
  const find = () => slack.messages.find((message) => JSON.stringify(message.blocks).includes(text));
  await until(() => find() !== undefined, 30_000);
  return find() as Message;
}

describe.each(['socket', 'http'] as const)(
  'Slack (%s), from the agent to the click to the result',
  (mode) => {
    it('approves, denies with a reason, refuses the owner and strangers, and takes a replayed click once', {
      timeout: 120_000,
    }, async () => {
      await start(mode);
      const client = new pg.Client({ connectionString: stack.agentUrl });
      // A test that fails leaves its connection to be cut.
      client.on('error', () => {});
      await client.connect();

      const approved = client.query('CREATE TABLE asked_in_slack (id int)');
      const first = await card('asked_in_slack');
      await slack.deliver(slack.clickPayload(first, APPROVE, 'U0NOBODY'));
      await slack.deliver(slack.clickPayload(first, APPROVE, 'U0OWNER'));
      await until(() => slack.ephemerals.length === 2, 30_000);
      expect(slack.ephemerals.map(({ user }) => user).sort()).toEqual(['U0NOBODY', 'U0OWNER']);
      expect((await stack.api.open()).length).toBe(1);
      const click = slack.clickPayload(first, APPROVE, 'U0APPROVER');
      await Promise.all(Array.from({ length: 20 }, () => slack.deliver(click)));
      await approved;
      await until(() => JSON.stringify(slack.messages[0]?.blocks).includes('CREATE TABLE, '), 30_000);

      const denied = client.query('DROP TABLE asked_in_slack').catch((error: pg.DatabaseError) => error);
      await slack.deliver(slack.clickPayload(await card('DROP TABLE asked_in_slack'), DENY, 'U0APPROVER'));
      await until(() => slack.views.length === 1, 30_000);
      await slack.deliver(slack.submitPayload('still needed', 'U0APPROVER'));
      expect(await denied).toMatchObject({
        code: '42501',
        message: 'countersign: denied by approver: still needed',
      });

      const verdicts = await stack.audit.query(
        "SELECT kind, people FROM audit.entry WHERE kind IN ('verdict', 'verdict_refused') ORDER BY at",
      );
      expect(verdicts.rows.filter(({ kind }) => kind === 'verdict').map(({ people }) => people)).toEqual([
        ['approver'],
        ['approver'],
      ]);
      expect(verdicts.rows.filter(({ kind }) => kind === 'verdict_refused')).toHaveLength(2);
      await client.end();
    });
  },
);
