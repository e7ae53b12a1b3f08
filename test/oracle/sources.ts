import { readFileSync } from 'node:fs';
import type { Candidate } from './candidate.ts';
import { Generator } from './grammar/generator.ts';
import { mutate } from './mutate.ts';
import type { Random } from './random.ts';

/** How often each kind is made. */
const KINDS = [
  ...Array<string>(7).fill('select'),
  ...Array<string>(5).fill('dml'),
  ...Array<string>(3).fill('wrapped'),
  'session',
  'session',
  'ddl',
  'ddl',
  'privilege',
  'copy',
] as const;

/** Lines for COPY FROM STDIN; which fits is left to chance. */
const LINES = ['7001\tx', '7001', 'x', '7001,x', '7001\tx\t1', '\\N', '7002\t5'];

/** How bare names are resolved, and how often so. */
const PATHS = [
  { searchPath: ['lab'], share: 0.67 },
  { searchPath: ['shadow', 'lab'], share: 0.22 },
  { searchPath: ['hostile', 'lab'], share: 0.11 },
] as const;

/** Generated statements, and mutations of them. */
export function generated(random: Random, mutated: number): () => Candidate {
  const generator = new Generator(random);
  let last = 'SELECT 1';
  return () => {
    const kind = random.pick(KINDS);
    const sql = generator.statement(kind);
    const data = random.pick(LINES);
    const searchPath = pickPath(random);
    if (!random.chance(mutated)) {
      last = sql;
      return { sql, source: kind, data, searchPath };
    }
    return { sql: mutate(random, sql, last), source: 'mutated', data, searchPath };
  };
}

function pickPath(random: Random): readonly string[] {
  let at = random.next();
  for (const { searchPath, share } of PATHS) {
    if (at < share) return searchPath;
    at -= share;
  }
  return PATHS[0].searchPath;
}

/** Mutations of the public corpus. */
export function corpusMutations(random: Random): () => Candidate {
  const all = readFileSync(new URL('../../fixtures/statements/public-corpus.jsonl', import.meta.url), 'utf8')
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { sql: string }).sql)
    // Sleeping takes time, and large results take more.
    .filter((sql) => !/pg_sleep|generate_series\(1, *\d{6}|repeat\(/i.test(sql) && sql.length < 5_000);
  return () => {
    const sql = mutate(random, random.pick(all), random.pick(all));
    return { sql, source: 'corpus', data: random.pick(LINES), searchPath: ['public'] };
  };
}

/** Under each path one statement for each alternative of the grammar, in any order, so that every kind comes early. */
export function swept(random: Random): readonly Candidate[] {
  const all = PATHS.flatMap(({ searchPath }) =>
    new Generator(random)
      .sweep()
      .map((sql) => ({ sql, source: 'sweep', data: random.pick(LINES), searchPath })),
  );
  for (let at = all.length - 1; at > 0; at -= 1) {
    const other = random.below(at + 1);
    const [a, b] = [all[at], all[other]];
    if (a === undefined || b === undefined) continue;
    all[at] = b;
    all[other] = a;
  }
  return all;
}
