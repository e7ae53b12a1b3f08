import type { Analyser } from '../analyser/analyser.ts';
import type { ListedFunction } from '../config/config.ts';
import type { Limits } from '../config/limits.ts';
import { analyseBody } from '../statement/analyse.ts';
import { type Tree, typeOf } from '../statement/tree.ts';
import { byList, type ListLog } from './function-list.ts';
import { type CatalogJudgement, DEFAULT_JUDGEMENT } from './judgement.ts';
import { proveByReading } from './prove.ts';

/**
 * The default judgement, and user functions and views by reading their bodies, or functions by what a person has listed.
 */
export function readingJudgement(
  analyser: Analyser,
  limits: Limits,
  functions: readonly ListedFunction[] = [],
  log: ListLog | null = null,
): CatalogJudgement {
  return {
    ...DEFAULT_JUDGEMENT,
    ...byList(functions, log),
    readView: (definition) => viewQuery(analyser, definition),
    prove: proveByReading({
      parse: (sql) => {
        const bytes = Buffer.from(sql);
        return analyser.needsWorker(bytes) ? null : analyser.parse(bytes);
      },
      parsePlpgsql: (definition, body) => analyser.parsePlpgsql(Buffer.from(definition), body),
      analyse: (parse, catalog, scope, variables) => analyseBody(parse, catalog, scope, limits, variables),
      exportRows: limits.exportRows,
    }),
  };
}

/** Too long for this thread: then the view is of any size. */
function viewQuery(analyser: Analyser, definition: string): Tree | null {
  const sql = Buffer.from(definition);
  if (analyser.needsWorker(sql)) return null;
  const parsed = analyser.parse(sql);
  const [only, ...more] = parsed.kind === 'tree' ? parsed.statements : [];
  return only !== undefined && more.length === 0 && typeOf(only.node) === 'SelectStmt' ? only.node : null;
}
