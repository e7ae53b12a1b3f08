import { z } from 'zod';
import type { Config, SlackConfig } from '../../config/config.ts';
import type { SlackClient } from './api.ts';
import { type Finding, good, tried, warning, wrong } from './finding.ts';
import type { Members } from './members.ts';

const channelShape = z.object({
  channel: z.object({
    is_member: z.boolean().default(false),
    is_archived: z.boolean().default(false),
    is_ext_shared: z.boolean().default(false),
  }),
});

/** Every place that cards go to: the configuration's, and those that rules name. Posts nothing. */
export async function checkChannels(
  client: SlackClient,
  config: SlackConfig,
  rules: Config['policy']['rules'],
  members: Members,
): Promise<readonly Finding[]> {
  const out: Finding[] = [await checkChannel(client, config.channel, 'channel', 'slack.channel')];
  for (const [id, keys] of placesOf(rules)) {
    if (id === config.channel) continue;
    const key = keys.join(', ');
    out.push(
      /^[UW]/.test(id)
        ? await checkPerson(id, members, key)
        : await checkChannel(client, id, `channel ${id}`, key),
    );
  }
  return out;
}

/** Ids with the keys that name them. */
function placesOf(rules: Config['policy']['rules']): ReadonlyMap<string, readonly string[]> {
  const places = new Map<string, string[]>();
  const add = (id: string | undefined, key: string) => {
    if (id !== undefined) places.set(id, [...(places.get(id) ?? []), key]);
  };
  for (const { name, channel, escalate } of rules) {
    add(channel, `rule ${name}: channel`);
    add(escalate?.channel, `rule ${name}: escalate.channel`);
  }
  return places;
}

async function checkChannel(
  client: SlackClient,
  channel: string,
  what: string,
  key: string,
): Promise<Finding> {
  const read = await tried(async () => channelShape.parse(await client.conversations.info({ channel })));
  if ('failure' in read) {
    return read.failure === 'missing_scope'
      ? warning(what, `${key}: cannot be seen without channels:read (groups:read for a private one).`)
      : wrong(
          what,
          `${key}: Slack says ${read.failure} of ${channel}. It must be the id, like C012AB, of a channel that the app is in.`,
        );
  }
  const { is_member: inside, is_archived: archived, is_ext_shared: shared } = read.value.channel;
  if (archived) return wrong(what, `${key}: the channel is archived. Name another one.`);
  if (!inside) return wrong(what, `${key}: The app is not in the channel. There, type: /invite @Countersign`);
  if (shared) {
    return warning(
      what,
      `${key}: it is shared with another organization, whose people read every statement there; their answers are refused.`,
    );
  }
  return good(what);
}

async function checkPerson(user: string, members: Members, key: string): Promise<Finding> {
  const what = `messages to ${user}`;
  const asked = await tried(() => members.objection(user));
  if ('failure' in asked)
    return wrong(
      what,
      `${key}: Slack says ${asked.failure} of ${user}. Copy the member ID from the person's profile.`,
    );
  return asked.value === null ? good(what) : wrong(what, `${key}: ${asked.value}`);
}
