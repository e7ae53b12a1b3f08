import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { Membership } from '../../approval/membership.ts';
import type { Group, SlackConfig } from '../../config/config.ts';
import { failureOf, type SlackClient, slackClient } from './api.ts';
import { boltLogger, redactor } from './log.ts';
import type { Log } from './port.ts';

/** Between two looks at a group, milliseconds; more with many groups: Slack allows some twenty such calls a minute. */
const LOOK_MS = 30_000;
const PER_GROUP_MS = 6_000;
/** Looks that may fail before an answer is no longer believed: with up to five groups two minutes. */
const BELIEVED_LOOKS = 4;
/** After a failed look, milliseconds. */
const AGAIN_MS = 5_000;

/** For the first answers, so that what was approved before a restart can be released after it; milliseconds. */
const FIRST_MS = 3_000;

const usersShape = z.object({ users: z.array(z.string()) });

export type UserGroups = Membership & {
  /** Resolves when Slack has answered, or failed to, for each group once; at most after `FIRST_MS`. Never rejects. */
  readonly asked: Promise<void>;
  /** Why some group's members are not known; null: all are. */
  readonly trouble: () => string | null;
  readonly close: () => Promise<void>;
};

export type UserGroupsSetup = {
  readonly config: SlackConfig;
  readonly groups: readonly Group[];
  readonly log: Log;
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: () => number;
  /** For tests; default `LOOK_MS`. */
  readonly lookMs?: number;
};

/** One answer of Slack. */
type Known = { readonly at: number; readonly users: ReadonlySet<string> };

/**
 * Who is in the Slack user groups that the configuration names (usergroups.users.list, scope usergroups:read). Looks again
 * and again, and does not wait for Slack: until it has answered, and when it has not for a while, or says that there is no
 * such group, nobody is in the group.
 */
export function startUserGroups(setup: UserGroupsSetup): UserGroups {
  const { config, log, now = () => performance.now(), lookMs = LOOK_MS } = setup;
  const groups = setup.groups.flatMap(({ name, slackUserGroup: id }) => (id === null ? [] : [{ name, id }]));
  const interval = Math.max(lookMs, lookMs === LOOK_MS ? groups.length * PER_GROUP_MS : 0);
  const client = slackClient(config, boltLogger(log, redactor(config)));
  const known = new Map<string, Known>();
  const problems = new Map<string, string>();
  const closed = new AbortController();

  const membersOf = (name: string): ReadonlySet<string> | null => {
    const found = known.get(name);
    return found !== undefined && now() - found.at < interval * BELIEVED_LOOKS ? found.users : null;
  };
  const look = async (name: string, id: string): Promise<number> => {
    const asked = now();
    try {
      known.set(name, { at: asked, users: await usersIn(client, id) });
      problems.delete(name);
      return interval;
    } catch (error) {
      const failure = failureOf(error);
      const why = failure.kind === 'limited' ? 'rate limited' : failure.why;
      // Slack has answered: there is no such group, or it is not ours to see.
      if (failure.kind === 'refused' || failure.kind === 'setup') known.delete(name);
      if (problems.get(name) !== why)
        log.warn({ channel: 'slack', group: name, error: why }, 'members of a user group are not known');
      problems.set(name, why);
      return failure.kind === 'limited' ? failure.afterMs : Math.min(interval, AGAIN_MS);
    }
  };
  const first = groups.map(({ name, id }) => look(name, id));
  const keepLooking = async (
    { name, id }: { readonly name: string; readonly id: string },
    before: Promise<number>,
  ): Promise<void> => {
    for (let next = before; !closed.signal.aborted; next = look(name, id)) {
      const wait = await next;
      await sleep(wait, undefined, { signal: closed.signal, ref: false }).catch(() => {});
    }
  };
  const running = groups.map((group, place) =>
    keepLooking(group, first[place] ?? look(group.name, group.id)),
  );
  return {
    asked: Promise.race([Promise.all(first), sleep(FIRST_MS, undefined, { ref: false })]).then(() => {}),
    groupsOf: ({ slack }) =>
      groups.flatMap(({ name }) => {
        const users = membersOf(name);
        const inside = users !== null && slack.some((account) => isOneOf(account, config.teamId, users));
        return inside ? [name] : [];
      }),
    unknown: () => groups.map(({ name }) => name).filter((name) => membersOf(name) === null),
    trouble: () => {
      const [first] = groups.filter(({ name }) => membersOf(name) === null);
      if (first === undefined) return null;
      return `members of group ${first.name} are not known: ${problems.get(first.name) ?? 'not yet asked'}`;
    },
    close: async () => {
      closed.abort();
      // A call to a Slack that hangs must not hold up the shutdown.
      await Promise.race([Promise.all(running), sleep(1_000, undefined, { ref: false })]);
    },
  };
}

/** Ids of the users in a user group, as Slack knows it now. A group that is switched off has none. */
export async function usersIn(client: SlackClient, usergroup: string): Promise<ReadonlySet<string>> {
  return new Set(usersShape.parse(await client.usergroups.users.list({ usergroup })).users);
}

/** `TEAM/USER` of the configuration against bare ids of the workspace that was asked. */
export function isOneOf(account: string, teamId: string, users: ReadonlySet<string>): boolean {
  const [team, user] = account.split('/');
  return team === teamId && user !== undefined && users.has(user);
}
