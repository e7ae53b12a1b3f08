import type { Person } from '../config/config.ts';
import type { Directory } from './eligibility.ts';

/** Who is in groups that are kept elsewhere. Asked at each verdict and at each release. */
export type Membership = {
  /** Names of such groups that this person is in now; none where nobody can say: what is not known makes nobody eligible. */
  readonly groupsOf: (person: Person) => readonly string[];
  /** Names of such groups whose members are not known now. */
  readonly unknown: () => readonly string[];
};

export const NO_MEMBERSHIP: Membership = { groupsOf: () => [], unknown: () => [] };

/** People with the groups of the configuration and those that they are in elsewhere at this moment. */
export function directoryNow(people: readonly Person[], membership: Membership): Directory {
  return {
    people: people.map((person) => {
      const more = membership.groupsOf(person);
      return more.length === 0 ? person : { ...person, groups: [...new Set([...person.groups, ...more])] };
    }),
  };
}
