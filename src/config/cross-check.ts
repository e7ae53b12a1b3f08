import {
  countPeople,
  findAmbiguousIds,
  forbiddenPeople,
  isNamed,
  refusalOf,
} from '../approval/eligibility.ts';
import { DEFAULT_BUDGET } from '../budget/budget.ts';
import type { ApprovalDemand } from '../policy/decision.ts';
import { durationMs } from '../policy/duration.ts';
import type { OnCall } from '../policy/rule.ts';
import { globMatches } from '../statement/glob.ts';
import type { Person } from './config.ts';
import type { Parsed, Path } from './document.ts';
import type { ConfigErrorCode, ConfigProblem } from './errors.ts';
import { DEFAULT_LIMITS } from './limits.ts';
import { nearest } from './nearest.ts';
import { windowsTogether } from './on-call-check.ts';
import { checkPasskeys } from './passkey-check.ts';
import type { ParsedRules } from './policy.ts';
import { possibleMembers } from './possible-members.ts';
import { principalsOf } from './principals.ts';
import { checkForm } from './rule-form.ts';
import type { RuleShape } from './rule-schema.ts';
import type { ConfigShape } from './schema.ts';

type Add = (path: Path, problem: string, code?: ConfigErrorCode) => void;

/**
 * Names against one another: owners, groups, approvers, keys; ids that mean two people; and whether each agent's
 * requests have somebody who may answer them.
 */
export function crossCheck(parsed: Parsed<ConfigShape>, rules: ParsedRules): readonly ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const add: Add = (path, problem, code = 'config_reference') =>
    problems.push(parsed.problem(code, path, problem));
  const config = parsed.value;

  unique(config.agents, 'name', ['agents'], add);
  unique(config.people, 'id', ['people'], add);
  unique(config.groups, 'name', ['groups'], add);
  checkGroups(config, add);
  unique(config.http.apiKeys, 'name', ['http', 'apiKeys'], add);
  unique(config.webhooks, 'name', ['webhooks'], add);
  checkBudgets(config, add);
  checkPeople(config, add);
  checkPasskeys(config, add);
  checkAgents(config, add);
  checkKeys(config, add);
  checkTokens(config, add);

  const addToRules: Add = (path, problem, code = 'config_reference') =>
    problems.push(rules.problem(code, path, problem));
  unique(rules.value, 'name', [], addToRules);
  rules.value.forEach((rule, index) => {
    checkRule(config, rule, [index], addToRules);
  });
  return problems;
}

function checkKeys(config: ConfigShape, add: Add): void {
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
function checkTokens({ http, agents, people, groups }: ConfigShape, add: Add): void {
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
function principals(config: ConfigShape): readonly Person[] {
  const apiKeys = config.http.apiKeys.flatMap(({ name, automation = name, owner }) =>
    owner === undefined ? [] : [{ name, person: automation, owner, sha256: '' }],
  );
  return principalsOf({ people: config.people, http: { apiKeys } });
}

function checkBudgets(config: ConfigShape, add: Add): void {
  unique(config.budgets, 'name', ['budgets'], add);
  const agents = config.agents.map(({ name }) => name);
  config.budgets.forEach(({ name, agent }, index) => {
    if (name === DEFAULT_BUDGET)
      add(
        ['budgets', index, 'name'],
        'this is the name of the budget that limits give',
        'config_invalid_value',
      );
    agent?.forEach((glob, at) => {
      if (!/[*?]/.test(glob)) known(glob, agents, 'an agent', ['budgets', index, 'agent', at], add);
    });
  });
}

/** Who is in a Slack user group is asked of the workspace that is configured. */
function checkGroups({ groups, slack }: ConfigShape, add: Add): void {
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

function checkPeople(config: ConfigShape, add: Add): void {
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

function checkAgents(config: ConfigShape, add: Add): void {
  config.agents.forEach(({ name, owner, auth }, index) => {
    checkAuth(config, auth, ['agents', index, 'auth'], add);
    if (!known(owner, ids(config.people), 'a person', ['agents', index, 'owner'], add)) return;
    if (eligible(config, name, owner, ANYBODY).length === 0)
      add(
        ['agents', index, 'owner'],
        'nobody but the owner could approve this agent’s requests; expected another person in people',
      );
  });
}

/** Tokens and certificates need TLS, certificates also an authority that is believed. */
function checkAuth(
  config: ConfigShape,
  auth: ConfigShape['agents'][number]['auth'],
  path: Path,
  add: Add,
): void {
  const { tls } = config.listen;
  const kind = auth.jwt !== undefined ? 'jwt' : auth.cert !== undefined ? 'cert' : null;
  if (kind !== null && tls === undefined)
    add([...path, kind], `${kind} works over TLS only; expected listen.tls`, 'config_missing_key');
  else if (kind === 'cert' && tls?.clientCa === undefined)
    add([...path, kind], 'expected listen.tls.clientCa, whose certificates are taken', 'config_missing_key');
}

function checkRule(config: ConfigShape, rule: RuleShape, path: Path, add: Add): void {
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

/** `ann+shop@example.com` reaches whoever reads `ann@example.com`. */
function mailbox(email: string): string {
  return email.toLowerCase().replace(/\+[^@]*(?=@[^@]*$)/, '');
}

const ANYBODY: ApprovalDemand = { approvers: [], quorum: 1, assurance: 1 };

/** Who may approve an agent's requests when it acts for nobody else: the same functions that judge a verdict. */
function eligible(
  config: ConfigShape,
  agent: string,
  owner: string,
  demand: ApprovalDemand,
): readonly Person[] {
  const directory = { people: possibleMembers(config, principals(config)) };
  const forbidden = forbiddenPeople(directory, { agent, owner, onBehalfOf: null });
  return directory.people.filter(
    (person) => refusalOf(person, forbidden, demand, 'approve', demand.assurance, null) === null,
  );
}

function mayMatch(rule: RuleShape, agent: string, owner: string): boolean {
  const may = (names: readonly string[] | undefined, name: string) =>
    names === undefined || names.some((glob) => globMatches(glob, name));
  return may(rule.match.agent, agent) && may(rule.match.owner, owner);
}

function known(name: string, names: readonly string[], what: string, path: Path, add: Add): boolean {
  if (names.includes(name)) return true;
  const near = nearest(name, names);
  add(path, `no such name; expected ${what}${near === null ? '' : `; did you mean ${near}?`}`);
  return false;
}

function unique<K extends string>(
  items: readonly { readonly [key in K]: string }[],
  key: K,
  path: Path,
  add: Add,
): void {
  items.forEach((item, index) => {
    const first = items.findIndex((other) => other[key] === item[key]);
    if (first !== index) add([...path, index, key], `the same ${key} is used above`, 'config_invalid_value');
  });
}

function ids(people: readonly { readonly id: string }[]): string[] {
  return people.map(({ id }) => id);
}
