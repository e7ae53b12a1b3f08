import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { STATEMENT_CLASSES, type StatementClass } from '../statement/analysis.ts';
import { type Path, parseYaml } from './document.ts';
import { ConfigError, throwIfAny } from './errors.ts';

/** A file of statements with what policy must say of each: `countersign policy test`. */

const text = z.string().min(1);

const circumstances = {
  agent: text.optional().describe('Whose rules apply: the name of an agent.'),
  role: text.optional().describe("The database role. Default: the agent's."),
  database: text.optional().describe("Default: the configuration's, or the upstream's."),
  time: z.iso
    .datetime({ offset: true, error: 'expected a time with its zone, for example 2026-01-31T12:00:00Z' })
    .optional()
    .describe('When it is asked. Default: now.'),
  search_path: z
    .union([text, z.array(text)])
    .optional()
    .describe('Schemas for bare names, as a list or with commas between.'),
};

const oneCase = z
  .union([
    text.describe('One string of SQL.'),
    z.strictObject({
      sql: text.describe('One string of SQL.'),
      ...circumstances,
      rule: text.optional().describe('The rule that must decide: its name, default:<class> or floor:<name>.'),
      class: z.enum(STATEMENT_CLASSES).optional().describe('The class that it must have.'),
      why: text.optional().describe('What the case is for; shown when it fails.'),
    }),
  ])
  .describe('SQL, or SQL with what is particular about it.');

const cases = z.array(oneCase).default([]);

export const policyCasesSchema = z.strictObject({
  ...circumstances,
  must_allow: cases.describe('What must run at once.'),
  must_hold: cases.describe('What must wait for a person.'),
  must_deny: cases.describe('What must be refused.'),
});

export type PolicyCase = {
  /** Where it stands in the file, from 1; null: unknown. */
  readonly line: number | null;
  readonly decision: 'allow' | 'hold' | 'deny';
  readonly sql: string;
  readonly agent: string | null;
  readonly role: string | null;
  readonly database: string | null;
  readonly time: Date | null;
  readonly searchPath: string | readonly string[] | null;
  readonly rule: string | null;
  readonly class: StatementClass | null;
  readonly why: string | null;
};

export type PolicyCases = {
  readonly cases: readonly PolicyCase[];
  /** An error about a case, with its line. */
  readonly error: (one: PolicyCase, key: string, problem: string) => ConfigError;
};

/** Reads the file. Throws `ConfigError` with file, line and key. */
export async function readPolicyCases(file: string): Promise<PolicyCases> {
  const content = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const problem = error.code === 'ENOENT' ? 'no such file' : `cannot be read (${error.code ?? 'unknown'})`;
    throw new ConfigError({ code: 'config_unreadable', file, line: null, key: '', problem });
  });
  return parsePolicyCases(file, content);
}

/** The same, of a text. */
export function parsePolicyCases(file: string, content: string): PolicyCases {
  const parsed = parseYaml(file, content, policyCasesSchema);
  const top = parsed.value;
  const places = new Map<PolicyCase, Path>();
  const listed = (['allow', 'hold', 'deny'] as const).flatMap((decision) =>
    top[`must_${decision}`].map((given, index) => {
      const own = typeof given === 'string' ? { sql: given } : given;
      const path = [`must_${decision}`, index];
      const { time, ...said } = { ...circumstancesOf(top), ...own };
      const one: PolicyCase = {
        line: parsed.problem('config_invalid_value', path, '').line,
        decision,
        sql: own.sql,
        agent: said.agent ?? null,
        role: said.role ?? null,
        database: said.database ?? null,
        time: time === undefined ? null : new Date(time),
        searchPath: said.search_path ?? null,
        rule: said.rule ?? null,
        class: said.class ?? null,
        why: said.why ?? null,
      };
      places.set(one, path);
      return one;
    }),
  );
  if (listed.length === 0)
    throwIfAny([
      parsed.problem('config_missing_key', [], 'expected cases in must_allow, must_hold or must_deny'),
    ]);
  return {
    cases: listed,
    error: (one, key, problem) => {
      const path = places.get(one) ?? [];
      const own = top[`must_${one.decision}`][Number(path[1])];
      const there = typeof own === 'object' && Object.hasOwn(own, key) ? [...path, key] : [key];
      return new ConfigError(parsed.problem('config_reference', there, problem));
    },
  };
}

/** `rule`, `class` and `why` are a case's own. */
function circumstancesOf(
  top: z.output<typeof policyCasesSchema>,
): Partial<Exclude<z.output<typeof oneCase>, string>> {
  const { must_allow: _allow, must_hold: _hold, must_deny: _deny, ...given } = top;
  return given;
}
