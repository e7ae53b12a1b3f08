import { findAmbiguousIds } from '../approval/eligibility.ts';
import { type Add, known } from './name-check.ts';
import type { ConfigShape } from './schema.ts';

/** Who is in a Slack user group is asked of the workspace that is configured. */
export function checkGroups({ groups, slack }: ConfigShape, add: Add): void {
  groups.forEach(({ slackUserGroup }, index) => {
    if (slackUserGroup === undefined) return;
    const first = groups.findIndex((other) => other.slackUserGroup === slackUserGroup);
    if (slack === undefined)
      add(
        ['groups', index, 'slackUserGroup'],
        'expected slack in the configuration, which is asked who is in it',
        'config_missing_key',
      );
    else if (first !== index)
      add(['groups', index, 'slackUserGroup'], 'the same user group is used above', 'config_invalid_value');
  });
}

export function checkPeople(config: ConfigShape, add: Add): void {
  for (const { people } of findAmbiguousIds(config.people)) {
    const [first, second] = people;
    if (first === second) continue; // The same id twice: `unique` says so.
    const index = config.people.findIndex(({ id }) => id === second);
    add(
      ['people', index],
      `${second} and ${first} have an id or address in common; each must mean one person`,
    );
  }
  const mailboxes = config.people.map(({ email }) => mailbox(email));
  config.people.forEach(({ email }, index) => {
    const first = config.people[mailboxes.indexOf(mailbox(email))];
    if (
      first !== undefined &&
      first !== config.people[index] &&
      first.email.toLowerCase() !== email.toLowerCase()
    )
      add(['people', index], `${email} and ${first.email} are the same mailbox; each must mean one person`);
  });
  const agentNames = config.agents.map(({ name }) => name);
  const groupNames = config.groups.map(({ name }) => name);
  config.people.forEach(({ id, groups }, index) => {
    if (agentNames.includes(id))
      add(['people', index, 'id'], 'an agent has this name; people are not agents');
    if (groupNames.includes(id))
      add(['people', index, 'id'], 'a group has this name; approvers could be either');
    groups.forEach((group, at) => {
      known(group, groupNames, 'a group', ['people', index, 'groups', at], add);
    });
  });
}

/** `ann+shop@example.com` reaches whoever reads `ann@example.com`. */
function mailbox(email: string): string {
  return email.toLowerCase().replace(/\+[^@]*(?=@[^@]*$)/, '');
}
