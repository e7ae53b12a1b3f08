import { CONDITIONS, type ConditionKey, conditionsOf } from './conditions.ts';
import { coverageOf, type KnownAgent, type Unreachable } from './coverage.ts';
import type { KnownNames } from './known-names.ts';
import type { PolicyRule } from './rule.ts';

/** Something in the rules that is wrong (`error`) or may not be what was meant (`warning`). */
export type RuleFinding = {
  readonly severity: 'error' | 'warning';
  /** Stable. */
  readonly code: 'never_matches' | 'nobody' | 'allows_floor' | 'unknown_name';
  /** Where: position of the rule, then keys within it. */
  readonly path: readonly [number, ...(string | number)[]];
  readonly problem: string;
  /** What to do. */
  readonly advice: string;
};

/**
 * Rules against one another, the agents and, where they are known, the names of the upstream's catalog. `nearest` gives
 * the name of a list that a word was probably meant to be.
 */
export function checkRules(
  rules: readonly PolicyRule[],
  agents: readonly KnownAgent[],
  names: KnownNames | null,
  nearest: (word: string, among: readonly string[]) => string | null,
): readonly RuleFinding[] {
  const { unreachable, floorAllows } = coverageOf(rules, agents);
  return [
    ...unreachable.map((one) => (one.kind === 'nobody' ? nobody(rules, one) : covered(rules, one))),
    ...floorAllows.map(({ rule, classes }): RuleFinding => {
      const named = rules[rule]?.match.class === undefined;
      return {
        severity: 'warning',
        code: 'allows_floor',
        path: [rule, 'decision'],
        problem: `allows also what is ${classes.join(' or ')}, which no rule can: that is held all the same`,
        advice: named ? 'Name the classes that it is for in match.class.' : 'Leave these out of match.class.',
      };
    }),
    ...(names === null ? [] : rules.flatMap((rule, at) => unknownNames(rule, at, names, nearest))),
  ];
}

function covered(rules: readonly PolicyRule[], one: Extract<Unreachable, { kind: 'covered' }>): RuleFinding {
  const by = one.by.map((at) => rules[at]?.name ?? '').join(', ');
  const first = one.by.length === 1 ? 'an earlier rule' : 'earlier rules';
  return {
    severity: one.same ? 'warning' : 'error',
    code: 'never_matches',
    path: [one.rule],
    problem: `can never match: ${first} (${by}) take${one.by.length === 1 ? 's' : ''} everything that it is for`,
    advice: one.same
      ? 'It decides the same; leave it out.'
      : 'The first rule that matches decides: put it before them, or leave it out.',
  };
}

function nobody(rules: readonly PolicyRule[], one: Extract<Unreachable, { kind: 'nobody' }>): RuleFinding {
  const [first] = one.conditions;
  const together = conditionsOf(rules[one.rule]?.match ?? {}).filter((key) => SESSION.has(key));
  return {
    severity: 'error',
    code: 'nobody',
    path: first === undefined ? [one.rule, 'match'] : [one.rule, 'match', first],
    problem:
      first === undefined
        ? `can never match: no agent has this ${together.join(' and ')} together`
        : `can never match: no agent has this ${one.conditions.join(', nor this ')}`,
    advice: 'Compare with agents: their name, owner and upstream.user, and the database of upstream.',
  };
}

const SESSION: ReadonlySet<ConditionKey> = new Set(['agent', 'owner', 'role', 'database']);

/** Where none of a condition's globs means anything, the rule does nothing: worse than one that is misspelt. */
function unknownNames(
  { match }: PolicyRule,
  at: number,
  known: KnownNames,
  nearest: (word: string, among: readonly string[]) => string | null,
): readonly RuleFinding[] {
  return conditionsOf(match).flatMap((key): readonly RuleFinding[] => {
    const { names } = CONDITIONS[key];
    const globs: unknown = match[key];
    if (names === null || !Array.isArray(globs)) return [];
    const texts = globs.map(String);
    const missing = texts.filter((glob) => !names.matches(glob, known));
    return missing.map((glob): RuleFinding => {
      const near = nearest(glob, names.all(known));
      return {
        severity: missing.length === texts.length ? 'error' : 'warning',
        code: 'unknown_name',
        path: [at, 'match', key, texts.indexOf(glob)],
        problem: `the database has no ${names.what} ${glob}`,
        advice: near === null ? `Correct the name, or leave it out.` : `Did you mean ${near}?`,
      };
    });
  });
}
