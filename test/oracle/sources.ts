import { readFileSync } from 'node:fs';
import type { Candidate } from './campaign.ts';
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

/** Generated statements, and mutations of them. */
export function generated(random: Random, mutated: number): () => Candidate {
  const generator = new Generator(random);
  let last = 'SELECT 1';
  return () => {
    const kind = random.pick(KINDS);
    const sql = generator.statement(kind);
    const data = random.pick(LINES);
    if (!random.chance(mutated)) {
      last = sql;
      return { sql, source: kind, data };
    }
    return { sql: mutate(random, sql, last), source: 'mutated', data };
  };
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
    const sql = random.pick(all);
    return { sql: mutate(random, sql, random.pick(all)), source: 'corpus', data: random.pick(LINES) };
  };
}

/** One statement for each alternative of the grammar. */
export function swept(random: Random): () => Candidate | null {
  const open = new Generator(random).sweep();
  return () => {
    const sql = open.shift();
    return sql === undefined ? null : { sql, source: 'sweep', data: random.pick(LINES) };
  };
}
