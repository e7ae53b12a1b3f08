import type { Person } from './config.ts';
import type { Path } from './document.ts';
import { type Add, ids, known } from './name-check.ts';
import { principalsOf } from './principals.ts';
import type { ConfigShape } from './schema.ts';

export function checkKeys(config: ConfigShape, add: Add): void {
  const people = ids(config.people);
  const taken = new Set([
    ...people,
    ...config.agents.map((a) => a.name),
    ...config.groups.map((g) => g.name),
  ]);
  const automations = new Map<string, string | undefined>();
  config.http.apiKeys.forEach(({ kind, name, automation = name, person, owner }, index) => {
    const path: Path = ['http', 'apiKeys', index];
    if (person !== undefined) known(person, people, 'a person', [...path, 'person'], add);
    if (owner !== undefined) known(owner, people, 'a person', [...path, 'owner'], add);
    if (kind !== 'automation') return;
    const named = automation === name ? 'name' : 'automation';
    if (taken.has(automation))
      add([...path, named], 'a person, group or agent has this name; an automation is none of them');
    if (automations.has(automation) && automations.get(automation) !== owner)
      add(
        [...path, 'owner'],
        'another key of this automation names another owner; one person answers for it',
      );
    else automations.set(automation, owner);
  });
}

/** A subject that is an agent's would let it in as the person. */
export function checkTokens({ http, agents, people, groups }: ConfigShape, add: Add): void {
  const { jwt } = http;
  if (jwt === undefined) return;
  const names = [...ids(people), ...groups.map((group) => group.name)];
  jwt.auditors.forEach((name, at) => {
    known(name, names, 'a person or group', ['http', 'jwt', 'auditors', at], add);
  });
  people.forEach(({ oidc }, index) => {
    oidc.forEach((subject, at) => {
      if (agents.some(({ name }) => subject === `${jwt.issuer}#${name}`))
        add(['people', index, 'oidc', at], 'an agent has this subject; people are not agents');
    });
  });
}

/** Everybody whom the guard would know. */
export function principals(config: ConfigShape): readonly Person[] {
  const apiKeys = config.http.apiKeys.flatMap(({ name, automation = name, owner }) =>
    owner === undefined ? [] : [{ name, person: automation, owner, sha256: '' }],
  );
  return principalsOf({ people: config.people, http: { apiKeys } });
}
