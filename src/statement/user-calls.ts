import type { CatalogFunction, FunctionSize } from './catalog.ts';
import { type Context, raiseIfRun } from './context.ts';

/** A call of a user's function that is known: what it does counts. */
export function noteDeed(context: Context, { schema, name, does }: CatalogFunction): void {
  context.facts.runsUserCode = true;
  if (does !== undefined) raiseIfRun(context, does.class, `calls ${schema}.${name}, which ${does.reason}`);
}

/** What the functions that may be meant give back; an aggregate may carry all of its input. */
export function noteSizes(context: Context, candidates: readonly CatalogFunction[]): void {
  const { level } = context;
  if (level === null || candidates.length === 0) return;
  if (candidates.some((candidate) => candidate.effects.length === 0 && candidate.aggregate !== false)) {
    level.folds = true;
    // Also where its arguments belong to a query around this one.
    for (let at: typeof level | null = level; at !== null; at = at.parent) at.mayAggregate = true;
  }
  const size = largestSize(candidates);
  if (size === null) return unknownSize(context, candidates);
  if (size.data) {
    level.carriesData = true;
    // Of functions the planner only guesses what they give back.
    context.facts.beyondPlanner = true;
  }
  if (size.perRow > 1) level.carried += size.perRow;
  if (candidates.some(({ returnsSet }) => returnsSet !== false)) level.multiplied *= Math.max(1, size.rows);
}

/** What is proved to be harmless, but nobody has counted: each call of a set may give as many rows as a statement may. */
function unknownSize({ level, limits }: Context, candidates: readonly CatalogFunction[]): void {
  if (level === null) return;
  if (!candidates.some((one) => one.effects.length === 0 && one.returnsSet !== false)) return;
  level.multiplied *= limits.exportRows;
  level.carriesData = true;
}

/** The size of the output of a call that may mean any of these; null: not known of any of them. */
export function largestSize(candidates: readonly CatalogFunction[]): FunctionSize | null {
  const sizes = candidates.flatMap(({ size }) => size ?? []);
  if (sizes.length === 0) return null;
  return {
    rows: Math.max(...sizes.map(({ rows }) => rows)),
    perRow: Math.max(...sizes.map(({ perRow }) => perRow)),
    data: sizes.some(({ data }) => data),
  };
}
