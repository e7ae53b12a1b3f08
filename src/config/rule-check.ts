import { countPeople, isNamed } from '../approval/eligibility.ts';
import { durationMs } from '../policy/duration.ts';
import type { OnCall } from '../policy/rule.ts';
import { globMatches } from '../statement/glob.ts';
import { ANYBODY, eligible } from './agent-check.ts';
import type { Person } from './config.ts';
import type { Path } from './document.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { type Add, ids, known } from './name-check.ts';
import { windowsTogether } from './on-call-check.ts';
import { checkForm } from './rule-form.ts';
import type { RuleShape } from './rule-schema.ts';
import type { ConfigShape } from './schema.ts';

export function checkRule(config: ConfigShape, rule: RuleShape, path: Path, add: Add): void {
  const automations = config.http.apiKeys.flatMap(({ kind, name, automation = name, scopes }) =>
    kind === 'automation' ? [{ name: automation, scopes }] : [],
  );
  const groups = config.groups.map((group) => group.name);
  const names = [...ids(config.people), ...groups, ...automations.map((key) => key.name)];
  const what = automations.length === 0 ? 'a person or group' : 'a person, group or automation';
  const unknown = (rule.approvers ?? []).filter((name, at) => {
    const keys = automations.filter((one) => one.name === name);
    if (keys.length > 0 && !keys.some(({ scopes }) => scopes?.includes('approve') === true))
      add([...path, 'approvers', at], 'the API key of this automation has no scope approve');
    return !known(name, names, what, [...path, 'approvers', at], add);
  });
  const matched = [
    ...(rule.match.agent ?? []).map((name, at) => ({
      name,
      at,
      key: 'agent',
      among: config.agents.map((a) => a.name),
    })),
    ...(rule.match.owner ?? []).map((name, at) => ({ name, at, key: 'owner', among: ids(config.people) })),
  ];
  for (const { name, at, key, among } of matched)
    if (!/[*?]/.test(name)) known(name, among, `an ${key}`, [...path, 'match', key, at], add);

  const absent = (rule.onCall ?? []).flatMap(({ approvers }, window) =>
    approvers.filter(
      (name, at) =>
        !known(name, names, 'a person or group', [...path, 'onCall', window, 'approvers', at], add),
    ),
  );
  (rule.escalate?.approvers ?? []).forEach((name, at) => {
    known(name, names, 'a person or group', [...path, 'escalate', 'approvers', at], add);
  });
  checkForm(rule, path, add);
  checkEscalation(config, rule, [...path, 'escalate'], add);
  if (rule.channel !== undefined && config.slack === undefined)
    add(
      [...path, 'channel'],
      'expected slack in the configuration, whose channel this would be',
      'config_missing_key',
    );
  if (rule.decision !== 'hold') return;
  if (unknown.length > 0 || absent.length > 0) return;
  const demand = { ...ANYBODY, approvers: rule.approvers ?? [], quorum: rule.quorum ?? 1 };
  for (const agent of config.agents.filter(({ name, owner }) => mayMatch(rule, name, owner))) {
    const people = eligible(config, agent.name, agent.owner, demand);
    const able = countPeople(
      people.map(({ id }) => ({ person: id })),
      { people },
    );
    if (able < demand.quorum)
      add(
        [...path, rule.approvers === undefined ? 'quorum' : 'approvers'],
        `for agent ${agent.name} ${able} may approve (never its owner), but ${demand.quorum} must`,
      );
    else checkHours(rule, agent.name, people, demand.quorum, path, add);
  }
}

/** At every hour somebody must be on call who may approve. */
function checkHours(
  { onCall = [] }: RuleShape,
  agent: string,
  people: readonly Person[],
  quorum: number,
  path: Path,
  add: Add,
): void {
  // Absent keys are undefined here, which reads the same.
  const few = windowsTogether(onCall as readonly OnCall[])
    .map((places) => {
      const lists = places.map((place) => onCall[place]?.approvers ?? []);
      const named = people.filter((one) => lists.every((names) => isNamed(one, names)));
      return {
        places,
        able: countPeople(
          named.map(({ id }) => ({ person: id })),
          { people },
        ),
      };
    })
    .find(({ able }) => able < quorum);
  if (few === undefined) return;
  const [place = 0, ...others] = few.places;
  const together = others.length === 0 ? '' : ` while onCall[${others.join('] and [')}] hold too`;
  add(
    [...path, 'onCall', place, 'approvers'],
    `for agent ${agent} ${few.able} of these may approve${together} (never its owner), but ${quorum} must`,
  );
}

/** It must come while the request is still open, and its channel must be one. */
function checkEscalation(config: ConfigShape, { escalate, expiry }: RuleShape, path: Path, add: Add): void {
  if (escalate === undefined) return;
  const lifetimeMs =
    expiry === undefined
      ? (config.limits.requestLifetimeMs ?? DEFAULT_LIMITS.requestLifetimeMs)
      : durationMs(expiry);
  const afterMs = durationMs(escalate.after);
  if (afterMs !== null && lifetimeMs !== null && afterMs >= lifetimeMs)
    add(
      [...path, 'after'],
      `a request is over after ${lifetimeMs / 1000} s, before it would escalate; expected less than ${expiry === undefined ? 'limits.requestLifetimeMs' : 'expiry'}`,
      'config_invalid_value',
    );
  if (escalate.channel !== undefined && config.slack === undefined)
    add(
      [...path, 'channel'],
      'expected slack in the configuration, whose channel this would be',
      'config_missing_key',
    );
}

function mayMatch(rule: RuleShape, agent: string, owner: string): boolean {
  const may = (names: readonly string[] | undefined, name: string) =>
    names === undefined || names.some((glob) => globMatches(glob, name));
  return may(rule.match.agent, agent) && may(rule.match.owner, owner);
}
