import type { Config, Person } from './config.ts';

/** Everybody whom the guard knows: the people, and the automations that have an API key of their own. */
export function principalsOf({
  people,
  http,
}: {
  readonly people: Config['people'];
  readonly http: Pick<Config['http'], 'apiKeys'>;
}): readonly Person[] {
  const automations = new Map<string, Person>();
  for (const { person, owner } of http.apiKeys) {
    const automationOf = people.find(({ id }) => id === owner);
    // Two keys of one automation are one principal; the configuration has checked that its owner is one, too.
    if (automationOf !== undefined && !automations.has(person))
      automations.set(person, automation(person, automationOf));
  }
  return [...people, ...automations.values()];
}

/** It has no address, account or group by which it could be taken for somebody. */
export function automation(id: string, automationOf: Person): Person {
  return { id, email: '', slack: [], oidc: [], groups: [], automationOf };
}
