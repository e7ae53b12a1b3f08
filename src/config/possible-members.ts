import type { Person } from './config.ts';
import type { ConfigShape } from './schema.ts';

/**
 * People with every group that they could be in: who is in a Slack user group is known only while the program runs, so
 * each person with an account in the workspace could be.
 */
export function possibleMembers(
  { groups, slack }: Pick<ConfigShape, 'groups' | 'slack'>,
  people: readonly Person[],
): readonly Person[] {
  const inSlack = groups.filter(({ slackUserGroup }) => slackUserGroup !== undefined).map(({ name }) => name);
  if (slack === undefined || inSlack.length === 0) return people;
  return people.map((person) =>
    person.slack.some((account) => account.startsWith(`${slack.teamId}/`))
      ? { ...person, groups: [...new Set([...person.groups, ...inSlack])] }
      : person,
  );
}
