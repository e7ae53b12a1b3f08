import { webApi } from '@slack/bolt';
import { z } from 'zod';
import type { Group, Person, SlackConfig } from '../../config/config.ts';
import { clientOptions, failureOf, type SlackClient, slackClient } from './api.ts';
import { boltLogger, redactor } from './log.ts';
import { BOT_SCOPES, NEEDED_SCOPES } from './manifest.ts';
import { slackMembers } from './members.ts';
import type { Log } from './port.ts';

/** One thing that was tried. `warning`: it works without, but less well. */
export type Finding = {
  readonly what: string;
  readonly result: 'good' | 'wrong' | 'warning';
  /** For `wrong` and `warning`: what is the matter, and what to do. */
  readonly detail: string;
};

const testShape = z.object({
  team_id: z.string(),
  team: z.string().default(''),
  response_metadata: z.object({ scopes: z.array(z.string()).default([]) }).default({ scopes: [] }),
});
const channelShape = z.object({ channel: z.object({ is_member: z.boolean().default(false) }) });

/** Tries everything that the Slack channel needs, and says what is wrong. Posts nothing. Needs Slack to be reachable. */
export async function checkSlack(
  config: SlackConfig,
  people: readonly Person[],
  groups: readonly Group[],
  rules: readonly ChannelRule[] = [],
): Promise<readonly Finding[]> {
  const client = slackClient(config, boltLogger(SILENT, redactor(config)));
  const token = await checkBotToken(client, config);
  // Everything else would fail for the same reason.
  if (token.some(({ what, result }) => what === 'bot token' && result === 'wrong')) return token;
  return [
    ...token,
    await checkHearing(config),
    await checkChannel(client, config.channel, 'channel', 'slack.channel'),
    ...(await checkRuleChannels(client, config, rules)),
    ...(await checkPeople(client, config, people)),
    ...(await checkGroups(client, groups)),
  ];
}

async function checkBotToken(client: SlackClient, config: SlackConfig): Promise<Finding[]> {
  const what = 'bot token';
  if (!config.botToken.startsWith('xoxb-')) {
    return [wrong(what, 'slack.botToken is not a bot token: those begin with xoxb- (OAuth & Permissions).')];
  }
  const tested = await tried(async () => testShape.parse(await client.auth.test()));
  if ('failure' in tested) {
    return [
      wrong(what, `Slack says ${tested.failure}. Install the app again and copy its Bot User OAuth Token.`),
    ];
  }
  const { team_id: team, response_metadata: metadata } = tested.value;
  return [
    good(what),
    team === config.teamId
      ? good('workspace')
      : wrong(
          'workspace',
          `The token belongs to ${team}, slack.teamId is ${config.teamId}. Change one of them.`,
        ),
    ...checkScopes(metadata.scopes),
  ];
}

function checkScopes(granted: readonly string[]): Finding[] {
  const missing = Object.keys(BOT_SCOPES).filter((scope) => !granted.includes(scope));
  if (missing.length === 0) return [good('scopes')];
  return missing.map((scope) => {
    const detail = `${scope} is missing (to ${BOT_SCOPES[scope]}). Add it and install the app again.`;
    return NEEDED_SCOPES.includes(scope) ? wrong('scopes', detail) : warning('scopes', detail);
  });
}

async function checkHearing(config: SlackConfig): Promise<Finding> {
  if (config.mode === 'http') {
    const secret = config.signingSecret ?? '';
    return /^[0-9a-f]{32}$/.test(secret)
      ? good('signing secret')
      : wrong('signing secret', 'slack.signingSecret: expected 32 hexadecimal digits (Basic Information).');
  }
  const token = config.appToken ?? '';
  const what = 'app token';
  if (!token.startsWith('xapp-')) {
    return wrong(
      what,
      'slack.appToken is not an app-level token: those begin with xapp- (Basic Information).',
    );
  }
  const options = clientOptions(config, boltLogger(SILENT, redactor(config)));
  const opened = await tried(() => new webApi.WebClient(token, options).apps.connections.open({}));
  if (!('failure' in opened)) return good(what);
  return wrong(
    what,
    `Slack says ${opened.failure}. It needs the scope connections:write, and Socket Mode enabled.`,
  );
}

/** A rule of the policy that may send its cards to a channel of its own. */
export type ChannelRule = { readonly name: string; readonly channel?: string };

/** Each channel once, for all rules that name it. */
async function checkRuleChannels(
  client: SlackClient,
  config: SlackConfig,
  rules: readonly ChannelRule[],
): Promise<Finding[]> {
  const named = new Map<string, string[]>();
  for (const { name, channel } of rules)
    if (channel !== undefined && channel !== config.channel)
      named.set(channel, [...(named.get(channel) ?? []), name]);
  const out: Finding[] = [];
  for (const [channel, names] of named)
    out.push(
      await checkChannel(
        client,
        channel,
        `channel ${channel} of rule ${names.join(', ')}`,
        'A rule’s channel',
      ),
    );
  return out;
}

async function checkChannel(
  client: SlackClient,
  channel: string,
  what: string,
  key: string,
): Promise<Finding> {
  const read = await tried(async () => channelShape.parse(await client.conversations.info({ channel })));
  if ('failure' in read) {
    if (read.failure === 'missing_scope') {
      return warning(what, 'Cannot be seen without channels:read (groups:read for a private one).');
    }
    return wrong(what, `Slack says ${read.failure}. ${key} is the id, like C012AB; invite the app to it.`);
  }
  return read.value.channel.is_member
    ? good(what)
    : wrong(what, 'The app is not in the channel. There, type: /invite @Countersign');
}

async function checkPeople(
  client: SlackClient,
  config: SlackConfig,
  people: readonly Person[],
): Promise<Finding[]> {
  const members = slackMembers(client, config.teamId, Date.now);
  const out: Finding[] = [];
  for (const { id, slack } of people) {
    for (const pair of slack) {
      const [team, user] = pair.split('/');
      const what = `person ${id}`;
      if (team !== config.teamId || user === undefined) {
        out.push(warning(what, `${pair} is of another workspace and cannot answer here.`));
        continue;
      }
      const asked = await tried(() => members.objection(user));
      if ('failure' in asked) out.push(wrong(what, `Slack says ${asked.failure} of ${pair}.`));
      else out.push(asked.value === null ? good(what) : wrong(what, `${pair}: ${asked.value}`));
    }
  }
  return out;
}

async function checkGroups(client: SlackClient, groups: readonly Group[]): Promise<Finding[]> {
  const out: Finding[] = [];
  for (const { name, slackUserGroup } of groups) {
    if (slackUserGroup === null) continue;
    const asked = await tried(() => client.usergroups.users.list({ usergroup: slackUserGroup }));
    const what = `group ${name}`;
    out.push(
      'failure' in asked ? wrong(what, `Slack says ${asked.failure} of ${slackUserGroup}.`) : good(what),
    );
  }
  return out;
}

async function tried<T>(
  work: () => Promise<T>,
): Promise<{ readonly value: T } | { readonly failure: string }> {
  try {
    return { value: await work() };
  } catch (error) {
    const failure = failureOf(error);
    return { failure: failure.kind === 'limited' ? 'rate limited, try later' : failure.why };
  }
}

function good(what: string): Finding {
  return { what, result: 'good', detail: '' };
}

function wrong(what: string, detail: string): Finding {
  return { what, result: 'wrong', detail };
}

function warning(what: string, detail: string): Finding {
  return { what, result: 'warning', detail };
}

/** The findings say it all. */
const nothing = (): void => {};
const SILENT: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
