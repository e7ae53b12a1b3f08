import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { checkSlack } from '../../../src/channels/slack/check.ts';
import { BOT_SCOPES } from '../../../src/channels/slack/manifest.ts';
import { findingLine, manifestText, slackCommand } from '../../../src/cli/slack.ts';
import { MINIMAL } from '../../config/sample.ts';
import { SlackStandIn } from '../../support/slack-stand-in.ts';
import { configFor } from './harness.ts';

const person = (id: string, ...slack: string[]) => ({
  id,
  email: `${id}@example.com`,
  slack,
  oidc: [],
  groups: [],
});

describe('slack check', () => {
  let slack: SlackStandIn;
  beforeEach(async () => {
    slack = new SlackStandIn();
    await slack.start();
    slack.scopes = Object.keys(BOT_SCOPES).join(',');
    slack.userGroups.set('S0DBA', ['U0REVIEWER']);
    slack.users.set('U0REVIEWER', { id: 'U0REVIEWER', team_id: 'T0TEST' });
    slack.users.set('U0OLD', { id: 'U0OLD', team_id: 'T0TEST', deleted: true });
  });
  afterEach(() => slack.close());
  const people = [person('reviewer', 'T0TEST/U0REVIEWER')];

  it.each(['socket', 'http'] as const)('finds a good set-up good (%s)', async (mode) => {
    const groups = [{ name: 'dba', slackUserGroup: 'S0DBA' }];
    const found = await checkSlack(configFor(slack, mode), people, groups);
    expect(found.filter(({ result }) => result !== 'good')).toEqual([]);
    expect(found.map(({ what }) => what)).toEqual([
      'bot token',
      'workspace',
      'scopes',
      mode === 'socket' ? 'app token' : 'signing secret',
      'channel',
      'person reviewer',
      'group dba',
    ]);
    expect(slack.messages).toHaveLength(0);
  });

  const wrongs = async (changes: object, who = people) =>
    (await checkSlack({ ...configFor(slack, 'socket'), ...changes }, who, [])).filter(
      ({ result }) => result !== 'good',
    );

  it('says what is wrong with each part, and what to do', async () => {
    expect(await wrongs({ botToken: 'xapp-1-mixed-up' })).toMatchObject([
      { what: 'bot token', detail: expect.stringContaining('xoxb-') },
    ]);
    expect(await wrongs({ botToken: 'xoxb-revoked' })).toMatchObject([
      { what: 'bot token', detail: expect.stringContaining('invalid_auth') },
    ]);
    expect(await wrongs({ teamId: 'T0OTHER' }, [])).toMatchObject([
      { what: 'workspace', detail: expect.stringContaining('T0TEST') },
    ]);
    expect(await wrongs({ appToken: 'xapp-revoked' })).toMatchObject([
      { what: 'app token', detail: expect.stringContaining('connections:write') },
    ]);
    expect(await wrongs({ channel: '#approvals' })).toMatchObject([
      { what: 'channel', detail: expect.stringContaining('like C012AB') },
    ]);
    slack.inChannel = false;
    expect(await wrongs({})).toMatchObject([{ what: 'channel', detail: expect.stringContaining('/invite') }]);
    slack.inChannel = true;
    slack.scopes = slack.scopes.replace('users:read', 'x').replace('files:write', 'y');
    expect(await wrongs({})).toMatchObject([
      { what: 'scopes', result: 'warning', detail: expect.stringContaining('files:write') },
      { what: 'scopes', result: 'wrong', detail: expect.stringContaining('users:read') },
    ]);
  });

  it('finds people who could not answer', async () => {
    const who = [
      person('old', 'T0TEST/U0OLD'),
      person('gone', 'T0TEST/U0GONE'),
      person('far', 'T0OTHER/U0FAR'),
    ];
    expect(await wrongs({}, who)).toMatchObject([
      { what: 'person old', result: 'wrong', detail: expect.stringContaining('deactivated') },
      { what: 'person gone', result: 'wrong', detail: expect.stringContaining('user_not_found') },
      { what: 'person far', result: 'warning', detail: expect.stringContaining('another workspace') },
    ]);
  });

  it('repeats no token in what it says', async () => {
    const found = JSON.stringify([
      ...(await wrongs({ botToken: 'xoxb-revoked-1' })),
      ...(await wrongs({ appToken: 'xapp-revoked-1' })),
    ]);
    expect(found).not.toContain('revoked-1');
  });
});

describe('slack check, of what rules, groups and organizations name', () => {
  let slack: SlackStandIn;
  beforeEach(async () => {
    slack = new SlackStandIn();
    await slack.start();
    slack.scopes = Object.keys(BOT_SCOPES).join(',');
    slack.users.set('U0REVIEWER', { id: 'U0REVIEWER', team_id: 'T0TEST' });
    slack.users.set('U0BOT2', { id: 'U0BOT2', team_id: 'T0TEST', is_bot: true });
  });
  afterEach(() => slack.close());
  const rule = (name: string, rest: object) => ({ name, match: {}, decision: 'hold' as const, ...rest });
  const check = async (
    rules: readonly ReturnType<typeof rule>[],
    people = [person('reviewer', 'T0TEST/U0REVIEWER')],
    groups: { name: string; slackUserGroup: string | null }[] = [],
  ) => {
    const found = await checkSlack(configFor(slack, 'socket'), people, groups, rules);
    return found.filter(({ result }) => result !== 'good').map(findingLine);
  };

  it('tries every channel and person that rules name, once each, and names the rule', async () => {
    slack.channels.set('C0OUT', { is_member: false });
    slack.channels.set('C0OLD', { is_member: true, is_archived: true });
    slack.channels.set('C0SHARED', { is_member: true, is_ext_shared: true });
    expect(
      await check([
        rule('ddl', { channel: 'C0OUT', escalate: { after: '10m', channel: 'C0OLD' } }),
        rule('dml', { channel: 'C0OUT', escalate: { after: '10m', channel: 'C0OTHER' } }),
        rule('export', { channel: 'U0REVIEWER', escalate: { after: '1m', channel: 'C0SHARED' } }),
        rule('admin', { channel: 'U0BOT2', escalate: { after: '1m', channel: 'U0GONE' } }),
        rule('opaque', { channel: 'C0NOWHERE' }),
      ]),
    ).toEqual([
      'WRONG   channel C0OUT: rule ddl: channel, rule dml: channel: The app is not in the channel. There, type: /invite @Countersign\n',
      'WRONG   channel C0OLD: rule ddl: escalate.channel: the channel is archived. Name another one.\n',
      'warning channel C0SHARED: rule export: escalate.channel: it is shared with another organization, whose people read every statement there; their answers are refused.\n',
      'WRONG   messages to U0BOT2: rule admin: channel: This Slack account is a bot; only people can answer.\n',
      "WRONG   messages to U0GONE: rule admin: escalate.channel: Slack says user_not_found of U0GONE. Copy the member ID from the person's profile.\n",
      'WRONG   channel C0NOWHERE: rule opaque: channel: Slack says channel_not_found of C0NOWHERE. It must be the id, like C012AB, of a channel that the app is in.\n',
    ]);
    expect(slack.messages).toHaveLength(0);
  });

  it('asks who is in each user group', async () => {
    slack.userGroups.set('S0DBA', ['U0REVIEWER']);
    slack.userGroups.set('S0SALES', ['U0A', 'U0B']);
    expect(
      await check([], undefined, [
        { name: 'dba', slackUserGroup: 'S0DBA' },
        { name: 'sales', slackUserGroup: 'S0SALES' },
        { name: 'gone', slackUserGroup: 'S0GONE' },
        { name: 'plain', slackUserGroup: null },
      ]),
    ).toEqual([
      'warning group sales: none of the 2 members of S0SALES is in people: nobody can answer as one of them.\n',
      'WRONG   group gone: Slack says no_such_subteam of S0GONE. Copy the group ID from its page in the directory; nobody counts as a member until then.\n',
    ]);
  });

  it('says of a missing scope once, and not again of everything that needs it', async () => {
    slack.scopes = 'chat:write,files:write,usergroups:read,users:read';
    expect(await check([])).toEqual([
      'warning scopes: channels:read is missing (to see (in "slack check") whether the app is in the channels). Add it under OAuth & Permissions and install the app again.\n',
      'warning scopes: groups:read is missing (to the same for a private channel). Add it under OAuth & Permissions and install the app again.\n',
      'warning channel: slack.channel: cannot be seen without channels:read (groups:read for a private one).\n',
    ]);
    slack.scopes = Object.keys(BOT_SCOPES)
      .filter((scope) => !/^users:read|^usergroups/.test(scope))
      .join(',');
    expect(
      (await check([], undefined, [{ name: 'dba', slackUserGroup: 'S0DBA' }])).map((line) =>
        line.slice(0, 34),
      ),
    ).toEqual(['WRONG   scopes: users:read is miss', 'warning scopes: usergroups:read is']);
  });

  it('takes members of an organization with several workspaces for what Slack says', async () => {
    slack.enterpriseId = 'E0ORG';
    const member = (id: string, enterprise: string, ...teams: string[]) =>
      slack.users.set(id, {
        id,
        team_id: 'E0ORG',
        enterprise_user: { id, enterprise_id: enterprise, teams },
      });
    member('U0IN', 'E0ORG', 'T0TEST', 'T0OTHER');
    member('U0OUT', 'E0ORG', 'T0OTHER');
    member('U0ELSE', 'E0ELSE', 'T0TEST');
    const people = ['U0IN', 'U0OUT', 'U0ELSE'].map((id) => person(id.toLowerCase(), `T0TEST/${id}`));
    expect(await check([], people)).toEqual([
      'WRONG   person u0out: T0TEST/U0OUT: This Slack account belongs to another workspace or organization.\n',
      'WRONG   person u0else: T0TEST/U0ELSE: This Slack account belongs to another workspace or organization.\n',
    ]);
  });

  it('says that Slack cannot be reached', async () => {
    await slack.close();
    expect(await check([])).toEqual([
      expect.stringMatching(/^WRONG {3}bot token: Slack cannot be reached: .*ECONNREFUSED.*slack\.com\.\n$/),
    ]);
    await slack.start();
  });
});

describe('slack manifest', () => {
  it('asks for what the channel uses, in both modes', () => {
    const socket = parse(manifestText({ mode: 'socket' }));
    expect(socket.settings).toMatchObject({ socket_mode_enabled: true, interactivity: { is_enabled: true } });
    expect(socket.oauth_config.scopes.bot).toContain('chat:write');
    const http = parse(manifestText({ mode: 'http', url: 'https://countersign.example/' }));
    expect(http.settings.socket_mode_enabled).toBe(false);
    expect(http.settings.interactivity.request_url).toBe('https://countersign.example/slack/events');
    expect(() => manifestText({ mode: 'http', url: 'http://countersign.example' })).toThrow('https://');
    expect(() => manifestText({ mode: 'http' })).toThrow('https://');
  });
});

describe('the command', () => {
  let directory: string;
  let out = '';
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'countersign-slack-'));
    out = '';
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      out += String(text);
      return true;
    });
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    process.exitCode = undefined;
    await rm(directory, { recursive: true });
  });

  it('prints the manifest', async () => {
    const program = new Command().exitOverride();
    slackCommand(program);
    await program.parseAsync(['slack', 'manifest'], { from: 'user' });
    expect(parse(out)).toMatchObject({ features: { bot_user: { display_name: 'Countersign' } } });
  });

  it('checks what a file configures, and ends with 1 when something is wrong', async () => {
    const slack = new SlackStandIn();
    await slack.start();
    slack.scopes = Object.keys(BOT_SCOPES).join(',');
    const file = join(directory, 'countersign.yaml');
    const secret = join(directory, 'token');
    await writeFile(secret, slack.botToken);
    await writeFile(join(directory, 'app'), slack.appToken);
    const lines = [
      `slack: { botToken: { file: ${secret} }, appToken: { file: ${join(directory, 'app')} },`,
      `  teamId: ${slack.teamId}, channel: ${slack.channel}, apiUrl: '${slack.apiUrl}' }`,
    ];
    await writeFile(file, `${MINIMAL}${lines.join('\n')}\n`);
    const check = async (): Promise<void> => {
      out = '';
      const program = new Command().exitOverride();
      slackCommand(program);
      await program.parseAsync(['slack', 'check', '--config', file], { from: 'user' });
    };
    await check();
    expect(out).toMatch(
      /^good {4}bot token\ngood {4}workspace\ngood {4}scopes\ngood {4}app token\ngood {4}channel\n/,
    );
    expect(process.exitCode).toBeUndefined();
    slack.inChannel = false;
    await check();
    expect(out).toContain('WRONG   channel: slack.channel: The app is not in the channel');
    expect(process.exitCode).toBe(1);
    await slack.close();
  });

  it('refuses a file without Slack', async () => {
    const program = new Command().exitOverride();
    slackCommand(program);
    const file = join(directory, 'countersign.yaml');
    await writeFile(file, 'version: 1\n');
    await expect(
      program.parseAsync(['slack', 'check', '--config', file], { from: 'user' }),
    ).rejects.toThrow();
    expect(out).toBe('');
  });
});
