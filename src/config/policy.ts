import { createHash } from 'node:crypto';
import { type CanonicalValue, canonicalJson } from '../approval/canonical-json.ts';
import type { Policy, PolicyRule } from '../policy/rule.ts';
import type { Parsed } from './document.ts';
import type { RuleShape } from './rule-schema.ts';

/** The rules, with the means to name their lines: they may stand in a file of their own. */
export type ParsedRules = Parsed<readonly RuleShape[]>;

/** Rules with their digest: equal content has an equal digest, whatever its layout, comments or order of keys. */
export function makePolicy(rules: readonly RuleShape[]): Policy {
  const plain = rules.map(plainRule);
  const digest = createHash('sha256')
    .update(`{"rules":${rulesText(plain)}}`)
    .digest('hex');
  return { digest, rules: plain };
}

/** The one text (RFC 8785) of these rules: the digest is the sha256 of `{"rules":…}` around it. */
export function rulesText(rules: readonly PolicyRule[]): string {
  return canonicalJson(rules as unknown as CanonicalValue);
}

/** Optional keys are left out, not undefined. */
function plainRule(rule: RuleShape): PolicyRule {
  return JSON.parse(JSON.stringify(rule)) as PolicyRule;
}
