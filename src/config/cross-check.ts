import { DEFAULT_BUDGET } from '../budget/budget.ts';
import { checkAgents } from './agent-check.ts';
import type { Parsed } from './document.ts';
import type { ConfigProblem } from './errors.ts';
import { checkKeys, checkTokens } from './key-check.ts';
import { type Add, known, unique } from './name-check.ts';
import { checkPasskeys } from './passkey-check.ts';
import { checkGroups, checkPeople } from './people-check.ts';
import type { ParsedRules } from './policy.ts';
import { checkRule } from './rule-check.ts';
import type { ConfigShape } from './schema.ts';

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
