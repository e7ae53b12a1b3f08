import type { Analyser } from '../analyser/analyser.ts';
import type { Limits } from '../config/limits.ts';
import { analyse } from '../statement/analyse.ts';
import { type Tree, typeOf } from '../statement/tree.ts';
import { type CatalogJudgement, DEFAULT_JUDGEMENT } from './judgement.ts';
import { provedByReading } from './prove.ts';

/** The default judgement, and user functions and views too, whose bodies are read. */
export function readingJudgement(analyser: Analyser, limits: Limits): CatalogJudgement {
  const read = provedByReading((sql, scope, catalog) =>
    analyser.needsWorker(sql) ? null : analyse(analyser.parse(sql), catalog, scope, limits),
  );
  return {
    ...DEFAULT_JUDGEMENT,
    readView: (definition) => viewQuery(analyser, definition),
    provedHarmless: (fn, catalog) => DEFAULT_JUDGEMENT.provedHarmless(fn, catalog) || read(fn, catalog),
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
