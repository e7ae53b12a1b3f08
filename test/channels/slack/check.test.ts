import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { checkSlack } from '../../../src/channels/slack/check.ts';
import { BOT_SCOPES } from '../../../src/channels/slack/manifest.ts';
import { manifestText, slackCommand } from '../../../src/cli/slack.ts';
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
