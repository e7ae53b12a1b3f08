import { webApi } from '@slack/bolt';
import { z } from 'zod';
import type { Config, Group, Person, SlackConfig } from '../../config/config.ts';
import { clientOptions, type SlackClient, slackClient } from './api.ts';
import { checkChannels } from './check-channels.ts';
import { type Finding, good, tried, warning, wrong } from './finding.ts';
import { boltLogger, redactor } from './log.ts';
import { BOT_SCOPES, NEEDED_SCOPES } from './manifest.ts';
import { slackMembers } from './members.ts';
import type { Log } from './port.ts';
import { isOneOf, usersIn } from './user-groups.ts';

const testShape = z.object({
  team_id: z.string(),
  enterprise_id: z.string().nullish(),
  team: z.string().default(''),
  response_metadata: z.object({ scopes: z.array(z.string()).default([]) }).default({ scopes: [] }),
});

type Token = {
  readonly findings: readonly Finding[];
  readonly scopes: readonly string[];
  readonly enterpriseId: string | null;
};

/** Tries everything that the Slack channel needs, and says what is wrong. Posts nothing. Needs Slack to be reachable. */
export async function checkSlack(
  config: SlackConfig,
  people: readonly Person[],
  groups: readonly Group[],
  rules: Config['policy']['rules'] = [],
): Promise<readonly Finding[]> {
  const client = slackClient(config, boltLogger(SILENT, redactor(config)));
  const token = await checkBotToken(client, config);
  // Everything else would fail for the same reason.
  if (token.findings.some(({ what, result }) => what === 'bot token' && result === 'wrong'))
    return token.findings;
  // What fails for want of a scope has been said.
  const may = (scope: string) => token.scopes.includes(scope);
  const members = slackMembers(client, config.teamId, () => token.enterpriseId, Date.now);
  const named = groups.filter(({ slackUserGroup }) => slackUserGroup !== null);
  return [
    ...token.findings,
    await checkHearing(config),
    ...(await checkChannels(client, config, rules, members)),
    ...(may('users:read') ? await checkPeople(config, people, members) : []),
    ...(may('usergroups:read') ? await checkGroups(client, config, named, people) : []),
  ];
}

async function checkBotToken(client: SlackClient, config: SlackConfig): Promise<Token> {
  const what = 'bot token';
  const failed = (detail: string): Token => ({
    findings: [wrong(what, detail)],
    scopes: [],
    enterpriseId: null,
  });
  if (!config.botToken.startsWith('xoxb-'))
    return failed('slack.botToken is not a bot token: those begin with xoxb- (OAuth & Permissions).');
  const tested = await tried(async () => testShape.parse(await client.auth.test()));
  if ('failure' in tested) {
    return failed(
      tested.away
        ? `Slack cannot be reached: ${tested.failure}. Check that this host may connect to slack.com.`
        : `slack.botToken: Slack says ${tested.failure}. Install the app again and copy its Bot User OAuth Token.`,
    );
  }
  const { team_id: team, enterprise_id: enterpriseId, response_metadata: metadata } = tested.value;
  const findings = [
    good(what),
    team === config.teamId
      ? good('workspace')
      : wrong(
          'workspace',
          `The token belongs to ${team}, slack.teamId is ${config.teamId}. Change one of them.`,
        ),
    ...checkScopes(metadata.scopes),
  ];
  return { findings, scopes: metadata.scopes, enterpriseId: enterpriseId ?? null };
}

function checkScopes(granted: readonly string[]): Finding[] {
  const missing = Object.keys(BOT_SCOPES).filter((scope) => !granted.includes(scope));
  if (missing.length === 0) return [good('scopes')];
  return missing.map((scope) => {
    const detail = `${scope} is missing (to ${BOT_SCOPES[scope]}). Add it under OAuth & Permissions and install the app again.`;
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
    `slack.appToken: Slack says ${opened.failure}. It needs the scope connections:write, and Socket Mode enabled.`,
  );
}

async function checkPeople(
  config: SlackConfig,
  people: readonly Person[],
  members: ReturnType<typeof slackMembers>,
): Promise<Finding[]> {
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
      if ('failure' in asked)
        out.push(
          wrong(
            what,
            `Slack says ${asked.failure} of ${pair}. Copy the member ID from the person's profile.`,
          ),
        );
      else out.push(asked.value === null ? good(what) : wrong(what, `${pair}: ${asked.value}`));
    }
  }
  return out;
}

async function checkGroups(
  client: SlackClient,
  { teamId }: SlackConfig,
  groups: readonly Group[],
  people: readonly Person[],
): Promise<Finding[]> {
  const out: Finding[] = [];
  for (const { name, slackUserGroup } of groups) {
    const what = `group ${name}`;
    const asked = await tried(() => usersIn(client, slackUserGroup ?? ''));
    if ('failure' in asked) {
      out.push(
        wrong(
          what,
          `Slack says ${asked.failure} of ${slackUserGroup}. Copy the group ID from its page in the directory; nobody counts as a member until then.`,
        ),
      );
      continue;
    }
    const inside = people.filter(({ slack }) => slack.some((pair) => isOneOf(pair, teamId, asked.value)));
    out.push(
      inside.length > 0
        ? good(what)
        : warning(
            what,
            `none of the ${asked.value.size} members of ${slackUserGroup} is in people: nobody can answer as one of them.`,
          ),
    );
  }
  return out;
}

/** The findings say it all. */
const nothing = (): void => {};
const SILENT: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
