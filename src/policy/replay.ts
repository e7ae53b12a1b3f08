import type { Analysis, StatementAnalysis } from '../statement/analysis.ts';
import { CONDITIONS, type Condition, type ConditionKey, conditionsOf } from './conditions.ts';
import { decide } from './decide.ts';
import type { Decision } from './decision.ts';
import type { Policy, PolicyRule } from './rule.ts';
import { NOTHING, type Told } from './told.ts';

/** A statement of the past, as far as the audit log tells, and what came of it. */
export type Recorded = Told & {
  /** With all that policy asks about; null: the log does not tell. */
  readonly statement: StatementAnalysis | null;
  /** It changes a pinned setting, which no rule decides. */
  readonly pinned: boolean;
  /** What flowed; null: it did not run to its end. */
  readonly flowed: { readonly rows: number; readonly bytes: number } | null;
};

export type Ruling = Pick<Decision, 'decision' | 'rule' | 'approval' | 'limits'>;

/** A condition of a rule that hangs on what was not recorded. */
export type Untold = { readonly rule: string; readonly condition: ConditionKey };

export type Comparison =
  | { readonly kind: 'same'; readonly from: Ruling; readonly to: Ruling }
  | {
      readonly kind: 'changed';
      /** What differs: the decision, who is asked and how, or whether a limit stops it. */
      readonly what: 'decision' | 'approval' | 'limits';
      readonly from: Ruling;
      readonly to: Ruling;
    }
  | { readonly kind: 'untold'; readonly because: readonly Untold[] };

/** More conditions that nobody can tell are not tried out one way and the other. */
const MOST_UNTOLD = 8;

/** A rule that may have matched: it did if all its untold conditions held. */
type Candidate = { readonly rule: PolicyRule; readonly untold: readonly string[] };

/**
 * What two policies would decide of one statement of the past. Where the log does not tell all about it, a condition that
 * nobody can tell is taken both ways, the same way in both policies: where that makes no difference to the answer, the
 * answer is certain.
 */
export function compare(recorded: Recorded, before: Policy, after: Policy): Comparison {
  if (recorded.statement !== null) return compareWhole(recorded.statement, recorded, before, after);
  const because: Untold[] = [];
  const names = new Map<string, number>();
  const [old, now] = [before, after].map((policy) => candidates(recorded, policy, names, because)) as [
    readonly Candidate[],
    readonly Candidate[],
  ];
  if (names.size > MOST_UNTOLD) return { kind: 'untold', because };
  let found: Comparison | null = null;
  for (let world = 0; world < 2 ** names.size; world++) {
    const holds = (name: string) => ((world >> (names.get(name) ?? 0)) & 1) === 1;
    const one = difference(recorded, rulingOf(recorded, old, holds), rulingOf(recorded, now, holds));
    if (found === null) found = one;
    else if (!alike(found, one)) return { kind: 'untold', because };
  }
  return found ?? { kind: 'untold', because };
}

/**
 * The same of a statement whose text was looked at again, with all its facts. Null: it is not the statement that was
 * recorded any more, because names mean something else now, or its secrets are gone from the text.
 */
export function compareAgain(
  statement: StatementAnalysis,
  recorded: Recorded,
  relations: readonly string[],
  before: Policy,
  after: Policy,
): Comparison | null {
  const names = statement.relations.map(({ schema, name }) => (schema === null ? name : `${schema}.${name}`));
  const same = statement.class === recorded.class && sorted(names) === sorted(relations);
  if (!same || statement.changesPinned !== recorded.pinned) return null;
  return compareWhole(statement, recorded, before, after);
}

/** With all facts, as the policies themselves decide. */
function compareWhole(
  statement: StatementAnalysis,
  recorded: Recorded,
  before: Policy,
  after: Policy,
): Comparison {
  const { context } = recorded;
  return difference(
    recorded,
    decide(alone(statement), context, before),
    decide(alone(statement), context, after),
  );
}

function sorted(names: readonly string[]): string {
  return JSON.stringify([...new Set(names)].sort());
}

function alone(statement: StatementAnalysis): Analysis {
  const { class: rank, reasons, changesPinned } = statement;
  return { statements: [statement], class: rank, reasons, changesPinned, syntaxError: null };
}

/** The rules that may have matched, up to the first that must have. */
function candidates(
  recorded: Recorded,
  { rules }: Policy,
  names: Map<string, number>,
  because: Untold[],
): readonly Candidate[] {
  const found: Candidate[] = [];
  for (const rule of rules) {
    if (rule.mode === 'observe') continue;
    const told = conditionsOf(rule.match).map((key) => [key, toldOf(key, rule, recorded)] as const);
    if (told.some(([, held]) => held === false)) continue;
    const untold = told.filter(([, held]) => held === null).map(([key]) => key);
    for (const condition of untold) {
      const name = nameOf(condition, rule);
      if (!names.has(name)) names.set(name, names.size);
      because.push({ rule: rule.name, condition });
    }
    found.push({ rule, untold: untold.map((key) => nameOf(key, rule)) });
    if (untold.length === 0) break;
  }
  return found;
}

function toldOf<K extends ConditionKey>(key: K, { match, decision }: PolicyRule, told: Told): boolean | null {
  const condition: Condition<K> = CONDITIONS[key];
  const wanted = match[key];
  return wanted === undefined ? true : condition.told({ wanted, decision }, told);
}

/** The same condition, read the same way, holds in both policies or in neither. */
function nameOf(key: ConditionKey, { match, decision }: PolicyRule): string {
  return JSON.stringify([key, match[key], decision === 'allow']);
}

function rulingOf(recorded: Recorded, among: readonly Candidate[], holds: (name: string) => boolean): Ruling {
  const matched = among.find(({ untold }) => untold.every(holds));
  // It matches, so what is left of it is what it does.
  const rules = matched === undefined ? [] : [{ ...matched.rule, match: {} }];
  const statement = { ...NOTHING, class: recorded.class, changesPinned: recorded.pinned };
  return decide(alone(statement), recorded.context, { digest: '', rules });
}

function difference(recorded: Recorded, from: Ruling, to: Ruling): Comparison {
  if (from.decision !== to.decision) return { kind: 'changed', what: 'decision', from, to };
  if (JSON.stringify(from.approval) !== JSON.stringify(to.approval))
    return { kind: 'changed', what: 'approval', from, to };
  if (isStopped(recorded, from) !== isStopped(recorded, to))
    return { kind: 'changed', what: 'limits', from, to };
  return { kind: 'same', from, to };
}

/** More flowed than the ruling's limits let through. */
export function isStopped({ flowed }: Recorded, { limits }: Ruling): boolean {
  if (flowed === null || limits === undefined) return false;
  const { rows, bytes } = limits;
  return (rows !== null && flowed.rows > rows) || (bytes !== null && flowed.bytes > bytes);
}

/** The same answer, perhaps by other rules where it is the same in both policies. */
function alike(a: Comparison, b: Comparison): boolean {
  if (a.kind === 'same' && b.kind === 'same') return true;
  if (a.kind !== 'changed' || b.kind !== 'changed') return false;
  return a.what === b.what && sameRuling(a.from, b.from) && sameRuling(a.to, b.to);
}

function sameRuling(a: Ruling, b: Ruling): boolean {
  return (
    a.rule === b.rule &&
    a.decision === b.decision &&
    JSON.stringify(a.approval) === JSON.stringify(b.approval)
  );
}
