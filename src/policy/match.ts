import type { RelationUse, StatementAnalysis } from '../statement/analysis.ts';
import { globMatches } from '../statement/glob.ts';
import type { DecisionContext } from './decision.ts';
import type { PolicyRule } from './rule.ts';

/**
 * True where every condition of the rule holds for the statement. Relations: to hold or deny, one that matches is
 * enough; to allow, all must match, or a join would carry other tables through.
 */
export function matches(rule: PolicyRule, statement: StatementAnalysis, context: DecisionContext): boolean {
  const { agent, owner, database, role, relation } = rule.match;
  if (rule.match.class !== undefined && !rule.match.class.includes(statement.class)) return false;
  if (agent !== undefined && !anyMatches(agent, context.agent)) return false;
  if (owner !== undefined && (context.owner === null || !anyMatches(owner, context.owner))) return false;
  if (database !== undefined && !anyMatches(database, context.database)) return false;
  if (role !== undefined && !anyMatches(role, context.role)) return false;
  if (relation === undefined) return true;
  const { relations } = statement;
  if (rule.decision !== 'allow') return relations.some((use) => isMeant(relation, use, true));
  return relations.length > 0 && relations.every((use) => isMeant(relation, use, false));
}

function anyMatches(globs: readonly string[], value: string): boolean {
  return globs.some((glob) => globMatches(glob, value));
}

/** `unknownToo`: a relation whose schema is not known could be in any. */
function isMeant(globs: readonly string[], use: RelationUse, unknownToo: boolean): boolean {
  if (use.schema !== null) return anyMatches(globs, `${use.schema}.${use.name}`);
  return unknownToo && globs.some((glob) => globMatches(glob.slice(glob.indexOf('.') + 1), use.name));
}
