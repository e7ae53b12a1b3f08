import { createHash } from 'node:crypto';
import type { Estimate } from '../statement/answers.ts';
import type { QuestionParameter, ServerQuestions } from './clarify.ts';

/** Estimates that are kept; each takes some 100 bytes. */
const MOST_KEPT = 1_000;
/** Sizes change without the catalog being another one. Milliseconds. */
const KEPT_MS = 60_000;

/**
 * The same questions; an estimate is asked for once a minute for each text, values of parameters, search_path and
 * version of the catalog. `now`: monotonic, milliseconds. That the server could not say is not kept.
 */
export function withEstimateCache(
  questions: ServerQuestions,
  version: () => string,
  now: () => number,
): ServerQuestions {
  const kept = new Map<string, { readonly estimate: Estimate; readonly until: number }>();
  return {
    meaning: questions.meaning,
    estimate: async (sql, searchPath, parameters) => {
      const key = keyOf(version(), sql, searchPath, parameters);
      const known = kept.get(key);
      if (known !== undefined && known.until > now()) return known.estimate;
      const estimate = await questions.estimate(sql, searchPath, parameters);
      kept.delete(key);
      if (estimate === null) return null;
      const [oldest] = kept.keys();
      if (kept.size >= MOST_KEPT && oldest !== undefined) kept.delete(oldest);
      kept.set(key, { estimate, until: now() + KEPT_MS });
      return estimate;
    },
  };
}

/** Texts and values are attacker-controlled: no two questions may look alike, so each part goes in with its length. */
function keyOf(
  version: string,
  sql: Buffer,
  searchPath: readonly string[],
  parameters: readonly QuestionParameter[] | null,
): string {
  const shape = parameters?.map(({ typeOid, format, value }) => [typeOid, format, value?.length ?? null]);
  const hash = createHash('sha256');
  hash.update(JSON.stringify([version, searchPath, sql.length, shape ?? null]));
  hash.update(sql);
  for (const { value } of parameters ?? []) if (value !== null) hash.update(value);
  return hash.digest('base64');
}
