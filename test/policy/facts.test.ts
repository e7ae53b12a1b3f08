import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isHeavy } from '../../src/analyser/scan.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { decide } from '../../src/policy/decide.ts';
import { matches } from '../../src/policy/match.ts';
import { CUT, factsText, MOST_FACTS } from '../../src/policy/statement-facts.ts';
import { NOTHING } from '../../src/policy/told.ts';
import { toldStatement } from '../../src/policy/told-facts.ts';
import { relationNames } from '../../src/session/record.ts';
import type { RelationUse, StatementAnalysis } from '../../src/statement/analysis.ts';
import { MOST_DETAILS } from '../../src/statement/details.ts';
import { analysed } from '../statement/support.ts';
import { AGENTS, anyRule, anyStatement } from './random.ts';
import { SHOP } from './support.ts';

const CORPUS = readFileSync(new URL('../../fixtures/statements/public-corpus.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as { readonly sql: string });

const PLAIN = '{"v":1}';

/** What is recorded of a text's only statement. */
function recordedOf(sql: string): string | null {
  const [statement] = analysed(sql, SHOP).statements;
  return statement === undefined ? 'no statement' : factsText(statement, sql);
}

/** The statement as it is read back from its row. */
function readBack(statement: StatementAnalysis, sql: string): StatementAnalysis | null {
  return toldStatement(factsText(statement, sql) ?? PLAIN, {
    class: statement.class,
    relations: relationNames(statement.relations),
    sql,
    pinned: statement.changesPinned,
  });
}

const use = (more: Partial<RelationUse>): RelationUse => ({
  schema: 'public',
  name: 't',
  oid: 1,
  mode: 'read',
  ...more,
});

describe('the recorded facts of a statement', () => {
  it.each(['BEGIN', ' commit', 'SET work_mem = 1', 'SELECT 1', 'select $1', 'SHOW search_path'])(
    'are none where it is plain: %s',
    (sql) => expect(recordedOf(sql)).toBeNull(),
  );

  it('are what differs from a plain one', () => {
    expect(recordedOf('SELECT name FROM countries WHERE code = 1')).toBe(
      '{"v":1,"relations":[{"read":["name","code"]}]}',
    );
    expect(recordedOf('/* c */ UPDATE countries SET name = 1 WHERE code = 1')).toBe(
      '{"v":1,"command":"UPDATE","relations":[{"mode":"write","read":["code"],"written":["name"]}],"bound":0,"sizes":[0,null,1]}',
    );
    expect(recordedOf('SELECT lower($1), app.score()')).toBe(
      '{"v":1,"functions":["lower",["app","score"]],"bound":1000}',
    );
    expect(recordedOf("COPY customers TO PROGRAM 'x'")).toContain('"boundary":["program"');
    expect(recordedOf('SELECT a FROM nowhere')).toContain('"relations":[{"unknown":true,');
  });

  it('are left out as a whole where they are too long, and that is said', () => {
    const wide = (n: number): StatementAnalysis => ({
      ...NOTHING,
      relations: [
        use({ columns: { read: Array.from({ length: n }, (_, i) => `column_${i}`), written: [] } }),
      ],
    });
    expect(factsText(wide(200), 'x')?.length).toBeLessThanOrEqual(MOST_FACTS);
    expect(factsText(wide(400), 'x')).toBe(CUT);
    expect(readBack(wide(200), 'x')?.relations[0]?.columns?.read).toHaveLength(200);
    expect(readBack(wide(400), 'x')).toBeNull();
    const overloads = Array.from({ length: MOST_DETAILS }, (_, oid) => ({
      schema: 'public',
      name: 'f',
      builtin: false,
      oid,
      volatility: null,
      securityDefiner: null,
    }));
    expect(factsText({ ...NOTHING, functions: overloads }, 'x')).toBe(CUT);
  });

  it('hold nothing that the database could not read as JSON', () => {
    for (const name of ['a\0b', '\ud800', '\udfff'])
      expect(factsText({ ...NOTHING, tags: [name] }, '')).toBe(CUT);
    for (const name of ['é😀', '\u0001', '"\\'])
      expect(factsText({ ...NOTHING, tags: [name] }, '')).toContain('"tags"');
  });

  it('name no value of the text', () => {
    const sql =
      "ALTER ROLE a PASSWORD 'hunter2'; SELECT set_config('x.y', 'hunter2', false), lower('hunter2')";
    const texts = analysed(sql, SHOP).statements.map((one) => factsText(one, sql.slice(one.start, one.end)));
    expect(texts).toHaveLength(2);
    expect(JSON.stringify(texts)).not.toContain('hunter2');
  });
});

describe('facts that are read back', () => {
  const row = { class: 'read', relations: ['public.t'], sql: 'SELECT', pinned: false } as const;

  it.each([
    ['of none', null],
    ['no JSON', '{'],
    ['of another version', '{"v":2}'],
    ['cut', CUT],
    ['with more than this version knows', '{"v":1,"settings":[]}'],
    ['of another number of relations', '{"v":1,"relations":[{},{}]}'],
    ['of a relation that is another', '{"v":1,"relations":[{"schema":"p.q"}]}'],
    ['of a boundary that nobody knows', '{"v":1,"boundary":["moon"]}'],
  ])('tell nothing where they are %s', (_, text) => expect(toldStatement(text, row)).toBeNull());

  it('tell the command by the text, so long as that is there', () => {
    expect(toldStatement(PLAIN, row)).toMatchObject({ command: 'SELECT', relations: [{ name: 't' }] });
    expect(toldStatement(PLAIN, { ...row, sql: null })).toBeNull();
    expect(toldStatement('{"v":1,"command":"TABLE"}', { ...row, sql: null })?.command).toBe('TABLE');
  });

  it('tell where the schema ends', () => {
    const relations = [
      use({}),
      use({ schema: 'a.b' }),
      use({ name: 'x.y' }),
      use({ schema: null }),
      use({ schema: null, name: 'x.y' }),
    ];
    const found = readBack({ ...NOTHING, relations }, '')?.relations;
    expect(found?.map(({ schema, name }) => [schema, name])).toEqual(
      relations.map(({ schema, name }) => [schema, name]),
    );
  });

  it('are what every rule would have seen of the corpus', () => {
    const rules = fc.sample(anyRule, { numRuns: 150, seed: 1 });
    const [context] = AGENTS;
    if (context === undefined) throw new Error('no agent');
    let statements = 0;
    // Texts that only a thread of their own parses are no others.
    for (const { sql } of CORPUS.filter(
      (one) => !isHeavy(Buffer.from(one.sql), DEFAULT_LIMITS.inlineParseBytes),
    )) {
      const all = analysed(sql, SHOP).statements;
      for (const one of all) {
        const told = readBack(
          one,
          all.length === 1 ? sql : Buffer.from(sql).toString('utf8', one.start, one.end),
        );
        if (told === null) throw new Error(`nothing is told of ${sql}`);
        for (const rule of rules) {
          const at = { ...context, database: 'shop', at: 0 };
          if (ruling(told, at, [rule]) !== ruling(one, at, [rule])) throw new Error(`${rule.name}: ${sql}`);
        }
        statements++;
      }
    }
    expect(statements).toBeGreaterThan(300);
  }, 180_000);

  it('are what every rule would have seen', () => {
    const more = fc.record({
      calls: fc.subarray(['public.f(integer) 7 x', '"a.b"."c""d"() 8', 'f()']),
      casts: fc.subarray(['to a type']),
      commands: fc.option(fc.subarray(['SELECT', 'DELETE', 'DROP TABLE']), { nil: undefined }),
      reaches: fc.option(fc.subarray([null, 'public', 'app']), { nil: undefined }),
      rowBoundBy: fc.constantFrom(null, 'limit' as const, 'nothing' as const),
      rowBound: fc.constantFrom(null, 0, 1, 5),
      own: fc.subarray(['pii', 'own']),
      sql: fc.constantFrom('SELECT 1', ' insert', '-- c\nSELECT', 'DROP TABLE t', ''),
    });
    const seen = { matched: 0, not: 0 };
    fc.assert(
      fc.property(
        fc.array(anyRule, { minLength: 8, maxLength: 8 }),
        anyStatement,
        more,
        (rules, some, rest) => {
          const { own, sql, commands, reaches, ...details } = rest;
          const statement: StatementAnalysis = {
            ...some,
            ...details,
            ...(commands === undefined ? {} : { commands }),
            ...(reaches === undefined ? {} : { reaches }),
            tags: [...new Set([...some.tags, ...own])],
          };
          const told = readBack(statement, sql);
          if (told === null) return false;
          for (const agent of AGENTS) {
            const context = { ...agent, database: agent.database ?? 'shop', at: 0 };
            for (const rule of rules) {
              const was = matches(rule, statement, context);
              seen[was ? 'matched' : 'not']++;
              if (matches(rule, told, context) !== was) return false;
              const [a, b] = [statement, told].map((one) => ruling(one, context, [rule]));
              if (a !== b) return false;
            }
          }
          return true;
        },
      ),
      { numRuns: 3_000 },
    );
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(2_000);
  }, 180_000);
});

function ruling(
  one: StatementAnalysis,
  context: Parameters<typeof decide>[1],
  rules: Parameters<typeof decide>[2]['rules'],
): string {
  const { class: rank, changesPinned } = one;
  const analysis = { statements: [one], class: rank, reasons: [], changesPinned, syntaxError: null };
  const { decision, rule, approval, limits } = decide(analysis, context, { digest: '', rules });
  return JSON.stringify({ decision, rule, approval, limits });
}
