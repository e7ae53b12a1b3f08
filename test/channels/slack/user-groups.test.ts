import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startUserGroups, type UserGroups } from '../../../src/channels/slack/user-groups.ts';
import type { Person } from '../../../src/config/config.ts';
import { SlackStandIn } from '../../support/slack-stand-in.ts';
import { configFor, memoryLog, until } from './harness.ts';

const person = (id: string, ...slack: string[]): Person => ({
  id,
  email: `${id}@example.com`,
  slack,
  oidc: [],
  groups: [],
});
const REVIEWER = person('reviewer', 'T0TEST/U0REVIEWER');
const GROUPS = [
  { name: 'dbas', slackUserGroup: 'S0DBA' },
  { name: 'plain', slackUserGroup: null },
];

describe('Slack user groups', () => {
  let slack: SlackStandIn;
  let groups: UserGroups | null = null;
  let clock = 0;
  const logged: string[] = [];
  beforeEach(async () => {
    slack = new SlackStandIn();
    await slack.start();
    slack.userGroups.set('S0DBA', ['U0REVIEWER', 'U0OTHER']);
    clock = 0;
  });
  afterEach(async () => {
    await groups?.close();
    await slack.close();
    expect(logged.join()).not.toContain(slack.botToken);
  });
  const start = (lookMs = 50): UserGroups => {
    const config = configFor(slack, 'socket');
    groups = startUserGroups({ config, groups: GROUPS, log: memoryLog(logged), now: () => clock, lookMs });
    return groups;
  };

  it('knows who is in them, by accounts of this workspace alone', async () => {
    const on = start();
    await on.asked;
    expect(on.groupsOf(REVIEWER)).toEqual(['dbas']);
    expect(on.groupsOf(person('deputy', 'T0TEST/U0DEPUTY'))).toEqual([]);
    expect(on.groupsOf(person('far', 'T0OTHER/U0REVIEWER'))).toEqual([]);
    expect(on.groupsOf(person('far', 'T0OTHER/U0FAR', 'T0TEST/U0OTHER'))).toEqual(['dbas']);
    expect(on.unknown()).toEqual([]);
    expect(on.trouble()).toBeNull();
    expect(slack.callsOf('usergroups.users.list')[0]?.args).toMatchObject({ usergroup: 'S0DBA' });
  });

  it('hears of who joins and who leaves', async () => {
    const on = start();
    await on.asked;
    slack.userGroups.set('S0DBA', []);
    await until(() => on.groupsOf(REVIEWER).length === 0);
    expect(on.trouble()).toBeNull();
    slack.userGroups.set('S0DBA', ['U0REVIEWER']);
    await until(() => on.groupsOf(REVIEWER).length === 1);
  });

  it('has nobody in them until Slack has answered', async () => {
    slack.script('usergroups.users.list', { delayMs: 300 });
    const on = start();
    expect(on.groupsOf(REVIEWER)).toEqual([]);
    expect(on.unknown()).toEqual(['dbas']);
    expect(on.trouble()).toContain('not yet asked');
    await on.asked;
    expect(on.groupsOf(REVIEWER)).toEqual(['dbas']);
  });

  it('believes an answer for four looks, and then nobody is in the group', async () => {
    const on = start(50);
    await on.asked;
    await slack.close();
    await until(() => on.trouble() === null && slack.connections === 0);
    clock = 199;
    expect(on.groupsOf(REVIEWER)).toEqual(['dbas']);
    clock = 200;
    expect(on.groupsOf(REVIEWER)).toEqual([]);
    expect(on.unknown()).toEqual(['dbas']);
    await until(() => (on.trouble() ?? '').includes('ECONN'));
  });

  it.each(['no_such_subteam', 'missing_scope', 'token_revoked'])(
    'forgets the members at once when Slack says %s',
    async (error) => {
      const on = start();
      await on.asked;
      slack.script('usergroups.users.list', ...Array.from({ length: 100 }, () => ({ error })));
      await until(() => on.unknown().length === 1);
      expect(on.groupsOf(REVIEWER)).toEqual([]);
      expect(on.trouble()).toContain(error);
    },
  );

  it('waits as long as a 429 says, and keeps what it knows for a while', async () => {
    const on = start();
    await on.asked;
    slack.script('usergroups.users.list', { status: 429, retryAfter: 1 });
    const calls = () => slack.callsOf('usergroups.users.list').length;
    await until(() => logged.some((line) => line.includes('rate limited')));
    const before = calls();
    const began = Date.now();
    expect(on.groupsOf(REVIEWER)).toEqual(['dbas']);
    await until(() => calls() > before);
    expect(Date.now() - began).toBeGreaterThan(800);
  });

  it('does not take rubbish for an answer', async () => {
    const on = start();
    await on.asked;
    slack.userGroups.set('S0DBA', [7] as unknown as string[]);
    clock = 1_000;
    await until(() => on.trouble() !== null);
    expect(on.groupsOf(REVIEWER)).toEqual([]);
  });
});
