/** The parts of the composition that are Slack's; each is null where Slack is not configured. */
import type { ApprovalDesk } from '../approval/guard.ts';
import { type SlackChannel, startSlack } from '../channels/slack/slack.ts';
import { startUserGroups, type UserGroups } from '../channels/slack/user-groups.ts';
import type { Config } from '../config/config.ts';
import type { Logger } from '../telemetry/log.ts';

type Opened = (() => Promise<void>)[];

/** Waits for Slack's first answers, but not long: what was approved before a restart is to be released after it. */
export async function openUserGroups(
  { slack, groups }: Config,
  log: Logger,
  opened: Opened,
): Promise<UserGroups | null> {
  if (slack === null) return null;
  const userGroups = startUserGroups({ config: slack, groups, log });
  opened.push(() => userGroups.close());
  await userGroups.asked;
  return userGroups;
}

export async function openSlack(
  { slack, people, groups }: Config,
  desk: ApprovalDesk,
  log: Logger,
  opened: Opened,
): Promise<SlackChannel | null> {
  if (slack === null) return null;
  const channel = await startSlack({ config: slack, desk, people, groups, log });
  opened.push(() => channel.close());
  return channel;
}
