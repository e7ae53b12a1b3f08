import type { Analysis, StatementAnalysis, StatementClass } from '../statement/analysis.ts';
import type { ApprovalDemand, Decision, DecisionContext } from './decision.ts';
import { matches } from './match.ts';
import type { Policy, PolicyRule } from './rule.ts';

/** What happens to a class that no rule speaks of (DESIGN.md, section 7). */
export const DEFAULT_TABLE: Readonly<Record<StatementClass, 'allow' | 'hold'>> = {
  session: 'allow',
  read: 'allow',
  write: 'allow',
  bulk_write: 'hold',
  export: 'hold',
  ddl: 'hold',
  privilege: 'hold',
  opaque: 'hold',
  admin: 'hold',
  unparsed: 'hold',
};

/** Classes that no rule can allow: what nobody understands waits for a person. */
export const FLOOR_HOLD: ReadonlySet<StatementClass> = new Set(['unparsed', 'opaque']);

const PLAIN_DEMAND: ApprovalDemand = { approvers: [], quorum: 1, assurance: 1 };
const SEVERITY = { allow: 0, hold: 1, deny: 2 } as const;

type Ruling = Omit<Decision, 'class' | 'policy'>;

/**
 * What policy says of a string. Each of its statements is decided by the first rule that matches it, else by the
 * default table; the string gets the severest of these, because it runs as a whole. Floors come last and only raise.
 * Pure. `mode` does not change the decision: in observe mode the caller lets everything run and records this.
 */
export function decide(
  analysis: Analysis,
  context: DecisionContext,
  policy: Policy,
  _mode: 'enforce' | 'observe' = 'enforce',
): Decision {
  if (analysis.changesPinned) {
    return {
      decision: 'deny',
      rule: 'floor:pinned',
      policy: policy.digest,
      class: analysis.class,
      reasons: ['changes a setting that is pinned (client_encoding, standard_conforming_strings)'],
      approval: null,
    };
  }
  const [first, ...others] = analysis.statements;
  if (first === undefined)
    return { ...byDefault('session', analysis.reasons), policy: policy.digest, class: 'session' };
  let worst = decideOne(first, context, policy);
  for (const statement of others) worst = severer(worst, decideOne(statement, context, policy));
  return { ...worst, policy: policy.digest, class: analysis.class };
}

function decideOne(statement: StatementAnalysis, context: DecisionContext, policy: Policy): Ruling {
  const rule = policy.rules.find((candidate) => matches(candidate, statement, context));
  if (rule === undefined) return byDefault(statement.class, statement.reasons);
  if (rule.decision === 'allow' && FLOOR_HOLD.has(statement.class)) {
    const reasons = [...statement.reasons, `the rule ${rule.name} cannot allow what nobody understands`];
    return { decision: 'hold', rule: `floor:${statement.class}`, reasons, approval: PLAIN_DEMAND };
  }
  return {
    decision: rule.decision,
    rule: rule.name,
    reasons: statement.reasons,
    approval: rule.decision === 'hold' ? demandOf(rule) : null,
  };
}

function byDefault(statementClass: StatementClass, reasons: readonly string[]): Ruling {
  const decision = DEFAULT_TABLE[statementClass];
  return {
    decision,
    rule: `default:${statementClass}`,
    reasons,
    approval: decision === 'hold' ? PLAIN_DEMAND : null,
  };
}

function demandOf(rule: PolicyRule): ApprovalDemand {
  return { approvers: rule.approvers ?? [], quorum: rule.quorum ?? 1, assurance: rule.assurance ?? 1 };
}

/** Two holds in one string ask for what satisfies both. */
function severer(a: Ruling, b: Ruling): Ruling {
  if (SEVERITY[a.decision] !== SEVERITY[b.decision])
    return SEVERITY[a.decision] > SEVERITY[b.decision] ? a : b;
  if (a.approval === null || b.approval === null) return a;
  const approvers = common(a.approval.approvers, b.approval.approvers);
  if (approvers === null) {
    const reasons = ['its statements need different approvers: send them one by one'];
    return { decision: 'deny', rule: 'floor:approvers', reasons, approval: null };
  }
  return {
    decision: 'hold',
    rule: a.rule,
    reasons: [...new Set([...a.reasons, ...b.reasons])],
    approval: {
      approvers,
      quorum: Math.max(a.approval.quorum, b.approval.quorum),
      assurance: a.approval.assurance > b.approval.assurance ? a.approval.assurance : b.approval.assurance,
    },
  };
}

/** Those that both lists name (an empty list names everybody); null where nobody is in both. */
function common(a: readonly string[], b: readonly string[]): readonly string[] | null {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const both = a.filter((name) => b.includes(name));
  return both.length === 0 ? null : both;
}
