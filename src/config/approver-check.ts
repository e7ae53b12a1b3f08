import { forbiddenPeople, isNamed, refusalOf } from '../approval/eligibility.ts';
import type { KnownAgent } from '../policy/coverage.ts';
import { mayMatchIn } from '../policy/coverage.ts';
import type { ApprovalDemand } from '../policy/decision.ts';
import type { PolicyRule } from '../policy/rule.ts';
import { STATEMENT_CLASSES } from '../statement/analysis.ts';
import type { Person } from './config.ts';
import type { Path } from './document.ts';
import { possibleMembers } from './possible-members.ts';
import type { ConfigShape } from './schema.ts';

type AgentShape = ConfigShape['agents'][number];

/** Something about who may approve. `path` is in the configuration, or, after `rules`, in the list of rules. */
export type ApproverFinding = {
  readonly severity: 'error' | 'warning';
  readonly code: 'empty_group' | 'no_channel' | 'assurance' | 'on_behalf_of' | 'escalation';
  readonly in: 'config' | 'rules';
  readonly path: Path;
  readonly problem: string;
  readonly advice: string;
};

/** A way for people to answer, and how sure it makes of them. */
type Channel = {
  readonly name: string;
  readonly assurance: 1 | 2 | 3;
  readonly reaches: (person: Person) => boolean;
};

/** What is configured. The approval page is entered with an API key, or by a link that somebody prints. */
function channelsOf({ http, slack, people }: ConfigShape): readonly Channel[] {
  const api: Channel = {
    name: 'the API',
    assurance: http.jwt?.freshLogin === undefined ? 1 : 2,
    // Everybody has an address, by which the people's issuer may know them.
    reaches: ({ id }) => http.jwt !== undefined || http.apiKeys.some(({ person }) => person === id),
  };
  const passkey: Channel = {
    name: 'passkeys',
    assurance: 3,
    reaches: ({ passkeys = [] }) => passkeys.length > 0,
  };
  const always = people.some(passkey.reaches) ? [api, passkey] : [api];
  if (slack === undefined) return always;
  const { teamId } = slack;
  const reaches = (person: Person) => person.slack.some((account) => account.startsWith(`${teamId}/`));
  return [...always, { name: 'Slack', assurance: 1, reaches }];
}

/**
 * Holds that nobody, or too few, could ever release, beyond what makes a configuration unusable (`cross-check.ts`): empty
 * groups, people without a way to answer, an assurance that no channel gives, people whom an agent may act for.
 */
export function checkApprovers(
  config: ConfigShape,
  rules: readonly PolicyRule[],
): readonly ApproverFinding[] {
  const channels = channelsOf(config);
  return [
    ...emptyGroups(config, rules),
    ...rules.flatMap((rule, at) => [
      ...idleEscalation(config, rule, at),
      ...tooSure(rule, at, channels),
      ...config.agents.flatMap((agent) => [
        ...tooFew(config, rule, at, agent, channels),
        ...withoutPasskey(config, rule, at, agent),
      ]),
    ]),
    ...config.agents.flatMap((agent, index) => unheard(config, agent, index, channels)),
  ];
}

function emptyGroups(config: ConfigShape, rules: readonly PolicyRule[]): readonly ApproverFinding[] {
  const empty = config.groups
    .filter(({ slackUserGroup }) => slackUserGroup === undefined)
    .map(({ name }) => name)
    .filter((name) => !config.people.some(({ groups }) => groups.includes(name)));
  const named = ({ approvers = [], escalate }: PolicyRule, at: number) => [
    ...approvers.map((name, index) => ({ name, path: [at, 'approvers', index] })),
    ...(escalate?.approvers ?? []).map((name, index) => ({
      name,
      path: [at, 'escalate', 'approvers', index],
    })),
  ];
  return rules.flatMap(named).flatMap(({ name, path }): readonly ApproverFinding[] =>
    empty.includes(name)
      ? [
          {
            severity: 'warning',
            code: 'empty_group',
            in: 'rules',
            path,
            problem: `nobody is in the group ${name}`,
            advice: 'Give it to somebody in people[].groups, or leave it out.',
          },
        ]
      : [],
  );
}

/** An escalation that brings in nobody new for an agent: all of them may answer already, or never may. */
function idleEscalation(config: ConfigShape, rule: PolicyRule, at: number): readonly ApproverFinding[] {
  const added = rule.escalate?.approvers;
  if (rule.decision !== 'hold' || added === undefined) return [];
  const finding = (problem: string, advice: string): ApproverFinding => ({
    severity: 'warning',
    code: 'escalation',
    in: 'rules',
    path: [at, 'escalate', 'approvers'],
    problem,
    advice,
  });
  const approvers = rule.approvers ?? [];
  const { onCall = [] } = rule;
  if (approvers.length === 0 && onCall.length === 0)
    return [
      finding(
        'everybody may answer from the beginning, so it brings in nobody',
        'Name approvers in the rule, or leave only the channel in escalate.',
      ),
    ];
  const demand: ApprovalDemand = { approvers, quorum: rule.quorum ?? 1, assurance: 1 };
  return config.agents
    .filter((agent) => concerns(rule, knownAgent(config, agent)))
    .flatMap((agent) => {
      const before = eligible(config, agent, demand).map(({ id }) => id);
      const everybody = approvers.length === 0;
      const later = eligible(config, agent, {
        ...demand,
        approvers: everybody ? [] : [...approvers, ...added],
      });
      // Into hours in which somebody else is on call it may bring whoever may answer otherwise.
      const intoHours = (person: Person) =>
        isNamed(person, added) && onCall.some((window) => !isNamed(person, window.approvers));
      return later.some((person) => !before.includes(person.id) || intoHours(person))
        ? []
        : [
            finding(
              `for agent ${agent.name} it brings in nobody: they may answer already, or never may`,
              'Name somebody else; the owner of an agent never approves.',
            ),
          ];
    });
}

function tooSure(rule: PolicyRule, at: number, channels: readonly Channel[]): readonly ApproverFinding[] {
  const most = Math.max(...channels.map(({ assurance }) => assurance));
  if (rule.decision !== 'hold' || (rule.assurance ?? 1) <= most) return [];
  return [
    {
      severity: 'error',
      code: 'assurance',
      in: 'rules',
      path: [at, 'assurance'],
      problem: `no channel gives assurance ${rule.assurance}: what it holds could never be approved`,
      advice: `${rule.assurance === 3 ? 'Nobody has people[].passkeys; each is made on the approval page, at /passkeys. ' : ''}Of the configured channels (${channels.map(({ name }) => name).join(', ')}) the surest gives ${most}.`,
    },
  ];
}

/** Enough people, but too few of them have a passkey. */
function withoutPasskey(
  config: ConfigShape,
  rule: PolicyRule,
  at: number,
  agent: AgentShape,
): readonly ApproverFinding[] {
  if (rule.decision !== 'hold' || rule.assurance !== 3 || !concerns(rule, knownAgent(config, agent)))
    return [];
  const demand: ApprovalDemand = { approvers: rule.approvers ?? [], quorum: rule.quorum ?? 1, assurance: 3 };
  const able = eligible(config, agent, demand);
  const having = able.filter(({ passkeys = [] }) => passkeys.length > 0);
  // Where nobody has any, `tooSure` says so.
  if (having.length >= demand.quorum || !config.people.some(({ passkeys }) => passkeys.length > 0)) return [];
  const lacking = able.filter((person) => !having.includes(person)).map(({ id }) => id);
  return [
    {
      severity: 'error',
      code: 'assurance',
      in: 'rules',
      path: [at, 'assurance'],
      problem: `for agent ${agent.name} ${demand.quorum} must approve with a passkey, but ${having.length} of those who may have one (none: ${lacking.join(', ')})`,
      advice: 'Each makes one on the approval page, at /passkeys, and has it added to people[].passkeys.',
    },
  ];
}

/** Enough by the rule and never its owner (else the configuration is refused): but can they answer, and always? */
function tooFew(
  config: ConfigShape,
  rule: PolicyRule,
  at: number,
  agent: AgentShape,
  channels: readonly Channel[],
): readonly ApproverFinding[] {
  if (rule.decision !== 'hold' || !concerns(rule, knownAgent(config, agent))) return [];
  const demand: ApprovalDemand = { approvers: rule.approvers ?? [], quorum: rule.quorum ?? 1, assurance: 1 };
  const path: Path = [at, rule.approvers === undefined ? 'quorum' : 'approvers'];
  const finding = (code: ApproverFinding['code'], problem: string, advice: string): ApproverFinding[] => [
    { severity: 'warning', code, in: 'rules', path, problem, advice },
  ];
  const able = eligible(config, agent, demand);
  const heard = able.filter((person) => channels.some(({ reaches }) => reaches(person)));
  // Without `approvers` and `quorum` it is as for every hold of the agent.
  if (
    heard.length < demand.quorum &&
    able.length >= demand.quorum &&
    (rule.approvers ?? rule.quorum) !== undefined
  )
    return finding('no_channel', cannotAnswer(agent.name, able, heard, demand.quorum), HOW_TO_ANSWER);
  if (
    agent.auth.jwt !== undefined &&
    able.length === demand.quorum &&
    (rule.approvers ?? rule.quorum) !== undefined
  )
    return finding('on_behalf_of', actsFor(agent.name, able), 'Have one more person who may approve.');
  return [];
}

/** What the default table holds, and rules that name nobody: anybody may approve. */
function unheard(
  config: ConfigShape,
  agent: AgentShape,
  index: number,
  channels: readonly Channel[],
): readonly ApproverFinding[] {
  const able = eligible(config, agent, { approvers: [], quorum: 1, assurance: 1 });
  const heard = able.filter((person) => channels.some(({ reaches }) => reaches(person)));
  const path: Path = ['agents', index, 'owner'];
  const finding = (code: ApproverFinding['code'], problem: string, advice: string): ApproverFinding[] => [
    { severity: 'warning', code, in: 'config', path, problem, advice },
  ];
  if (able.length > 0 && heard.length === 0)
    return finding('no_channel', cannotAnswer(agent.name, able, heard, 1), HOW_TO_ANSWER);
  if (agent.auth.jwt !== undefined && able.length === 1)
    return finding('on_behalf_of', actsFor(agent.name, able), 'Have one more person in people.');
  return [];
}

function cannotAnswer(
  agent: string,
  able: readonly Person[],
  heard: readonly Person[],
  quorum: number,
): string {
  const silent = able.filter((person) => !heard.includes(person)).map(({ id }) => id);
  return `for agent ${agent} ${quorum} must approve, but ${heard.length} can answer (${silent.join(', ')}: no API key and no Slack account here)`;
}
const HOW_TO_ANSWER = 'Give them an entry in http.apiKeys, or their account in people[].slack.';

function actsFor(agent: string, able: readonly Person[]): string {
  const who = able.map(({ id }) => id).join(' or ');
  return `when agent ${agent} acts for ${who}, too few may approve: nobody approves what is done for them`;
}

function eligible(
  config: ConfigShape,
  { name, owner }: AgentShape,
  demand: ApprovalDemand,
): readonly Person[] {
  const people = possibleMembers(config, config.people);
  const forbidden = forbiddenPeople({ people }, { agent: name, owner, onBehalfOf: null });
  return people.filter((person) => refusalOf(person, forbidden, demand, 'approve', 3, null) === null);
}

/** It can hold something of that agent. */
function concerns(rule: PolicyRule, agent: KnownAgent): boolean {
  return STATEMENT_CLASSES.some((name) => mayMatchIn(rule, { ...agent, class: name }));
}

/** An agent as rules see it. The database is known where the URL is written down and names one. */
export function knownAgent(config: ConfigShape, agent: AgentShape): KnownAgent {
  const { url } = config.upstream;
  const path = typeof url === 'string' && URL.canParse(url) ? new URL(url).pathname.slice(1) : '';
  const database = path === '' ? null : decodeURIComponent(path);
  return { agent: agent.name, owner: agent.owner, role: agent.upstream.user, database };
}
