import type { Config, Person } from './config.ts';

/** Everybody whom the guard knows: the people, and the automations that have an API key of their own. */
export function principalsOf({
  people,
  http,
}: {
  readonly people: Config['people'];
  readonly http: Pick<Config['http'], 'apiKeys'>;
}): readonly Person[] {
  const automations = http.apiKeys.flatMap(({ person, owner }) => {
    const automationOf = people.find(({ id }) => id === owner);
    return automationOf === undefined ? [] : [automation(person, automationOf)];
  });
  return [...people, ...automations];
}

/** It has no address, account or group by which it could be taken for somebody. */
export function automation(id: string, automationOf: Person): Person {
  return { id, email: '', slack: [], oidc: [], groups: [], automationOf };
}
