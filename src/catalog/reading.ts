import type { Analyser } from '../analyser/analyser.ts';
import type { Limits } from '../config/limits.ts';
import { analyse } from '../statement/analyse.ts';
import { type CatalogJudgement, DEFAULT_JUDGEMENT } from './judgement.ts';
import { provedByReading } from './prove.ts';

/** The default judgement, and user functions too where their bodies are read and proved to be harmless. */
export function readingJudgement(analyser: Analyser, limits: Limits): CatalogJudgement {
  const read = provedByReading((sql, scope, catalog) =>
    analyser.needsWorker(sql) ? null : analyse(analyser.parse(sql), catalog, scope, limits),
  );
  return {
    ...DEFAULT_JUDGEMENT,
    provedHarmless: (fn, catalog) => DEFAULT_JUDGEMENT.provedHarmless(fn, catalog) || read(fn, catalog),
  };
}
