import type { Relation } from './catalog.ts';
import type { Context, QuerySize } from './context.ts';
import { Facts, isHigher } from './facts.ts';
import { rememberedSize } from './query-sizes.ts';
import { visit } from './walk.ts';

/**
 * How large a view is, as if its query stood in its place. Only that: what reading it sets off the catalog says. Null for
 * other relations, and where it cannot be looked into. Views are written by users.
 */
export function viewSize(context: Context, relation: Relation): QuerySize | null {
  const query = relation.kind === 'view' && context.viewsLeft > 0 ? (relation.viewQuery ?? null) : null;
  if (query === null) return null;
  context.viewsLeft -= 1;
  const { facts, level, ctes, path, tempPossible, definition, largestRows, largestAt } = context;
  const own = new Facts();
  context.facts = own;
  context.level = null;
  context.ctes = null;
  // The server prints every name with its schema.
  context.path = [];
  context.tempPossible = false;
  context.definition = true;
  visit(context, query);
  context.facts = facts;
  context.level = level;
  context.ctes = ctes;
  context.path = path;
  context.tempPossible = tempPossible;
  context.definition = definition;
  // Its positions are those of another text.
  context.largestRows = largestRows;
  context.largestAt = largestAt;
  if (own.beyondPlanner) facts.beyondPlanner = true;
  return isHigher(own.class, 'admin') ? null : rememberedSize(context, query);
}
