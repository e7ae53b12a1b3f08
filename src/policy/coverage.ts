import { STATEMENT_CLASSES, type StatementClass } from '../statement/analysis.ts';
import { type Cell, CONDITIONS, type Condition, type ConditionKey, conditionsOf } from './conditions.ts';
import { FLOOR_HOLD } from './decide.ts';
import type { PolicyRule } from './rule.ts';

/** Who there is: the configured agents, each with what rules can match on. */
export type KnownAgent = Omit<Cell, 'class'>;

/** Rules by their position. */
export type Unreachable =
  /** No agent satisfies it. `conditions`: those that no agent satisfies alone; empty: no agent satisfies all of them. */
  | { readonly kind: 'nobody'; readonly rule: number; readonly conditions: readonly ConditionKey[] }
  /** Whatever it matches, one of `by` matches before. `same`: and with the same effect. */
  | {
      readonly kind: 'covered';
      readonly rule: number;
      readonly by: readonly number[];
      readonly same: boolean;
    };

/** An allow rule that also matches classes that no rule can allow; they are held all the same. */
export type FloorAllow = { readonly rule: number; readonly classes: readonly StatementClass[] };

export type Coverage = {
  readonly unreachable: readonly Unreachable[];
  readonly floorAllows: readonly FloorAllow[];
};

/**
 * Which rules can never decide anything. Conditions on agents and classes are tried out, one cell for each agent and
 * class; the others count as covered only where that is certain, so nothing is reported that could still match.
 */
export function coverageOf(rules: readonly PolicyRule[], agents: readonly KnownAgent[]): Coverage {
  const unreachable: Unreachable[] = [];
  const floorAllows: FloorAllow[] = [];
  const covers = coverMemo();
  const cells = agents.flatMap((agent) => STATEMENT_CLASSES.map((name): Cell => ({ ...agent, class: name })));
  rules.forEach((rule, at) => {
    const own = cells.filter((cell) => mayMatchIn(rule, cell));
    if (own.length === 0) {
      unreachable.push({ kind: 'nobody', rule: at, conditions: unsatisfied(rule, cells) });
      return;
    }
    const earlier = rules.slice(0, at);
    // A trial (mode observe) leaves the decision to later rules, but not another trial.
    const counts = (other: PolicyRule) => rule.mode === 'observe' || other.mode !== 'observe';
    const coverers = own.map((cell) =>
      earlier.findIndex((other) => counts(other) && coversIn(other, rule, cell, covers)),
    );
    if (!coverers.includes(-1)) {
      const by = [...new Set(coverers)].sort((a, b) => a - b);
      const same = by.every((other) => effectOf(rules[other]) === effectOf(rule));
      unreachable.push({ kind: 'covered', rule: at, by, same });
      return;
    }
    if (rule.decision !== 'allow') return;
    const open = own.filter((cell, index) => FLOOR_HOLD.has(cell.class) && coverers[index] === -1);
    const classes = [...new Set(open.map((cell) => cell.class))];
    if (classes.length > 0) floorAllows.push({ rule: at, classes });
  });
  return { unreachable, floorAllows };
}

/** False: no statement of that agent and class can match the rule. */
export function mayMatchIn(rule: PolicyRule, cell: Cell): boolean {
  return conditionsOf(rule.match).every((key) => inCell(key, rule, cell) !== false);
}

/** Certain that `earlier` matches every statement of that agent and class that `later` matches. */
function coversIn(earlier: PolicyRule, later: PolicyRule, cell: Cell, covers: Covers): boolean {
  const known = conditionsOf(earlier.match).map((key) => [key, inCell(key, earlier, cell)] as const);
  if (known.some(([, holds]) => holds === false)) return false;
  return known.every(([key, holds]) => holds ?? covers(key, earlier, later));
}

type Covers = (key: ConditionKey, earlier: PolicyRule, later: PolicyRule) => boolean;

/** Cells do not matter to it, and there may be thousands of them. */
function coverMemo(): Covers {
  const known = new Map<PolicyRule, Map<PolicyRule, Map<ConditionKey, boolean>>>();
  return (key, earlier, later) => {
    const ofEarlier = known.get(earlier) ?? new Map<PolicyRule, Map<ConditionKey, boolean>>();
    known.set(earlier, ofEarlier);
    const answers = ofEarlier.get(later) ?? new Map<ConditionKey, boolean>();
    ofEarlier.set(later, answers);
    const answer = answers.get(key) ?? coversWherever(key, earlier, later);
    answers.set(key, answer);
    return answer;
  };
}

function inCell<K extends ConditionKey>(key: K, { match, decision }: PolicyRule, cell: Cell): boolean | null {
  const wanted = match[key];
  const condition: Condition<K> = CONDITIONS[key];
  return wanted === undefined ? true : condition.inCell({ wanted, decision }, cell);
}

function coversWherever<K extends ConditionKey>(key: K, earlier: PolicyRule, later: PolicyRule): boolean {
  const condition: Condition<K> = CONDITIONS[key];
  const before = earlier.match[key];
  const after = later.match[key];
  if (before === undefined) return true;
  return condition.covers(
    { wanted: before, decision: earlier.decision },
    after === undefined ? null : { wanted: after, decision: later.decision },
  );
}

function unsatisfied(rule: PolicyRule, cells: readonly Cell[]): readonly ConditionKey[] {
  return conditionsOf(rule.match).filter((key) => cells.every((cell) => inCell(key, rule, cell) === false));
}

/** All that a rule does beside matching. */
function effectOf(rule: PolicyRule | undefined): string {
  const { name: _name, match: _match, ...effect } = rule ?? { name: '', match: {} };
  return JSON.stringify(Object.entries(effect).sort());
}
