import { createHash } from 'node:crypto';
import type { QuestionParameter, ServerQuestions } from './clarify.ts';

/** Answers of each kind that are kept; each takes some 100 bytes, what names mean up to some kilobytes. */
const MOST_KEPT = 1_000;
/** Sizes change without the catalog being another one, and a change of names may be seen late. Milliseconds. */
const KEPT_MS = 60_000;

/** What answers rest on. Both change with the catalog; `objects` only where names may mean something else. */
export type CatalogVersions = { readonly objects: string; readonly all: string };

/**
 * The same questions, for one role in one database; each is asked once a minute for each text, search_path and version of
 * the catalog, a size also for each values of parameters. Who asks what is being asked already waits for that answer.
 * `now`: monotonic, milliseconds. That the server could not say is not kept.
 */
export function withAnswerCache(
  questions: ServerQuestions,
  versions: () => CatalogVersions,
  now: () => number,
): ServerQuestions {
  const meanings = keeper<Awaited<ReturnType<ServerQuestions['meaning']>>>(now);
  const estimates = keeper<Awaited<ReturnType<ServerQuestions['estimate']>>>(now);
  return {
    meaning: (sql, searchPath, types) =>
      meanings(keyOf([versions().objects, searchPath, types], sql, []), () =>
        questions.meaning(sql, searchPath, types),
      ),
    estimate: (sql, searchPath, parameters) =>
      estimates(keyOf([versions().all, searchPath, shapeOf(parameters)], sql, parameters ?? []), () =>
        questions.estimate(sql, searchPath, parameters),
      ),
  };
}

type Kept<T> = { readonly answer: Promise<T>; readonly until: number };

/** Keeps what `ask` answers under a key. */
function keeper<T>(now: () => number): (key: string, ask: () => Promise<T>) => Promise<T> {
  const kept = new Map<string, Kept<T>>();
  const forget = (key: string, one: Kept<T>) => {
    if (kept.get(key) === one) kept.delete(key);
  };
  return (key, ask) => {
    const known = kept.get(key);
    if (known !== undefined && known.until > now()) return known.answer;
    kept.delete(key);
    const [oldest] = kept.keys();
    if (kept.size >= MOST_KEPT && oldest !== undefined) kept.delete(oldest);
    const one = { answer: ask(), until: now() + KEPT_MS };
    kept.set(key, one);
    one.answer.then(
      (answer) => {
        if (answer === null) forget(key, one);
      },
      () => forget(key, one),
    );
    return one.answer;
  };
}

/** Texts and values are attacker-controlled: no two questions may look alike, so each part goes in with its length. */
function keyOf(rest: readonly unknown[], sql: Buffer, parameters: readonly QuestionParameter[]): string {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([...rest, sql.length]));
  hash.update(sql);
  for (const { value } of parameters) if (value !== null) hash.update(value);
  return hash.digest('base64');
}

function shapeOf(parameters: readonly QuestionParameter[] | null): unknown {
  return parameters?.map(({ typeOid, format, value }) => [typeOid, format, value?.length ?? null]) ?? null;
}
