import type { Analysis, StatementAnalysis, StatementClass } from '../statement/analysis.ts';
import type { ApprovalDemand, Decision, DecisionContext, DecisionLimits, ObservedRule } from './decision.ts';
import { durationMs } from './duration.ts';
import { commonApprovers, commonEscalation, escalationOf, widenedLater } from './escalation.ts';
import { matches } from './match.ts';
import type { Policy, PolicyRule, RuleLimits } from './rule.ts';
import { boundByEstimate, withoutEstimate } from './size-conditions.ts';

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

type Ruling = Omit<Decision, 'class' | 'policy' | 'observed'>;

/**
 * What policy says of a string. Each of its statements is decided by the first rule that matches it, else by the
 * default table; the string gets the severest of these, because it runs as a whole. Floors come last and only raise.
 * A rule in mode observe decides nothing: what it would have decided is told beside the decision.
 * Pure. `mode` does not change the decision: in observe mode the caller lets everything run and records this.
 */
export function decide(
  analysis: Analysis,
  context: DecisionContext,
  policy: Policy,
  _mode: 'enforce' | 'observe' = 'enforce',
): Decision {
  const { statements } = analysis;
  const rest = { policy: policy.digest, class: analysis.class };
  if (analysis.changesPinned) return { ...PINNED, ...rest };
  let worst: Ruling | null = null;
  let observed: ObservedRule[] | null = null;
  for (const [place, statement] of statements.entries()) {
    const { ruling, trial } = decideOne(statement, context, policy);
    worst = worst === null ? ruling : severer(worst, ruling);
    if (trial === null) continue;
    observed ??= [];
    observed.push({ statement: place, rule: trial.name, decision: byRule(trial, statement).decision });
  }
  worst ??= byDefault('session', analysis.reasons);
  return observed === null ? { ...worst, ...rest } : { ...worst, ...rest, observed };
}

const PINNED: Ruling = {
  decision: 'deny',
  rule: 'floor:pinned',
  reasons: ['changes a setting that is pinned (client_encoding, standard_conforming_strings)'],
  approval: null,
};

/** `trial`: the first rule that matches, where that is one in mode observe. */
function decideOne(
  statement: StatementAnalysis,
  context: DecisionContext,
  { rules }: Policy,
): { readonly ruling: Ruling; readonly trial: PolicyRule | null } {
  const unestimated = withoutEstimate(statement);
  let trial: PolicyRule | null = null;
  let most: number | undefined;
  for (const rule of rules) {
    if (rule.mode === 'observe') {
      if (trial === null && matches(rule, statement, context)) trial = rule;
      continue;
    }
    if (matches(rule, statement, context)) return { ruling: notAbove(most, byRule(rule, statement)), trial };
    // It got past this rule by the planner's word, and is held to it.
    const above = rule.match.rows?.above;
    if (above !== undefined && unestimated !== null && matches(rule, unestimated, context))
      most = least(most, above);
  }
  return { ruling: notAbove(most, byDefault(statement.class, statement.reasons)), trial };
}

function notAbove(rows: number | undefined, ruling: Ruling): Ruling {
  if (rows === undefined) return ruling;
  return {
    ...ruling,
    limits: { rows: least(rows, ruling.limits?.rows) ?? null, bytes: ruling.limits?.bytes ?? null },
  };
}

function byRule(rule: PolicyRule, statement: StatementAnalysis): Ruling {
  const { decision, name, limits, parameters } = rule;
  const recording = parameters === undefined ? {} : { parameters };
  if (decision === 'allow' && FLOOR_HOLD.has(statement.class)) {
    const reasons = [...statement.reasons, `the rule ${name} cannot allow what nobody understands`];
    const floor = `floor:${statement.class}`;
    return { decision: 'hold', rule: floor, reasons, approval: PLAIN_DEMAND, ...recording };
  }
  const ruling: Ruling = {
    decision,
    rule: name,
    reasons: statement.reasons,
    approval: decision === 'hold' ? demandOf(rule) : null,
    ...recording,
  };
  const most = decision === 'allow' ? allowedSize(rule, statement) : limits;
  return most === undefined
    ? ruling
    : { ...ruling, limits: { rows: most.rows ?? null, bytes: most.bytes ?? null } };
}

/** What matched by an estimate of its rows may not come to more than the rule was told. */
function allowedSize({ match, limits }: PolicyRule, statement: StatementAnalysis): RuleLimits | undefined {
  const atMost = match.rows?.atMost;
  if (atMost === undefined || !boundByEstimate(statement, atMost)) return limits;
  return { ...limits, rows: Math.min(atMost, limits?.rows ?? atMost) };
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
  const { approvers, quorum, assurance, expiry, holdTimeout, channel, onCall, maxPerMinute, escalate } = rule;
  const expiryMs = expiry === undefined ? null : durationMs(expiry);
  const holdMs = holdTimeout === undefined ? null : durationMs(holdTimeout);
  const escalation = escalate === undefined ? null : escalationOf(escalate);
  const windows = onCall === undefined ? undefined : widenedLater(onCall, escalation);
  return {
    approvers: approvers ?? [],
    quorum: quorum ?? 1,
    assurance: assurance ?? 1,
    ...(expiryMs === null ? {} : { expiryMs }),
    ...(holdMs === null ? {} : { holdMs }),
    ...(channel === undefined ? {} : { channel }),
    ...(windows === undefined ? {} : { onCall: windows }),
    ...(maxPerMinute === undefined ? {} : { maxPerMinute }),
    ...(escalation === null ? {} : { escalation }),
  };
}

/** Two holds in one string ask for what satisfies both; limits of any statement are limits of each. */
function severer(a: Ruling, b: Ruling): Ruling {
  const limits = narrower(a.limits, b.limits);
  return { ...withoutLimits(a, b), ...(limits === undefined ? {} : { limits }) };
}

function withoutLimits(a: Ruling, b: Ruling): Ruling {
  if (SEVERITY[a.decision] !== SEVERITY[b.decision])
    return SEVERITY[a.decision] > SEVERITY[b.decision] ? a : b;
  if (a.approval === null || b.approval === null) return a;
  const approvers = commonApprovers(a.approval.approvers, b.approval.approvers);
  if (approvers === null) {
    const reasons = ['its statements need different approvers: send them one by one'];
    return { decision: 'deny', rule: 'floor:approvers', reasons, approval: null };
  }
  const expiryMs = least(a.approval.expiryMs, b.approval.expiryMs);
  const holdMs = least(a.approval.holdMs, b.approval.holdMs);
  const channel = a.approval.channel ?? b.approval.channel;
  // Windows only narrow, so all of both are what satisfies both; each is widened by its own rule's escalation alone.
  const onCall = [...(a.approval.onCall ?? []), ...(b.approval.onCall ?? [])];
  const maxPerMinute = least(a.approval.maxPerMinute, b.approval.maxPerMinute);
  const escalation = commonEscalation(a.approval, b.approval, approvers);
  return {
    decision: 'hold',
    rule: a.rule,
    reasons: [...new Set([...a.reasons, ...b.reasons])],
    approval: {
      approvers,
      quorum: Math.max(a.approval.quorum, b.approval.quorum),
      assurance: a.approval.assurance > b.approval.assurance ? a.approval.assurance : b.approval.assurance,
      ...(expiryMs === undefined ? {} : { expiryMs }),
      ...(holdMs === undefined ? {} : { holdMs }),
      ...(channel === undefined ? {} : { channel }),
      ...(onCall.length === 0 ? {} : { onCall }),
      ...(maxPerMinute === undefined ? {} : { maxPerMinute }),
      ...(escalation === undefined ? {} : { escalation }),
    },
  };
}

function narrower(a: DecisionLimits | undefined, b: DecisionLimits | undefined): DecisionLimits | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return { rows: least(a.rows, b.rows) ?? null, bytes: least(a.bytes, b.bytes) ?? null };
}

/** The lesser of those that are there. */
function least(a: number | null | undefined, b: number | null | undefined): number | undefined {
  if (a == null || b == null) return a ?? b ?? undefined;
  return Math.min(a, b);
}
