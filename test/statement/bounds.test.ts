import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import { readingJudgement } from '../../src/catalog/reading.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';
import type { Catalog } from '../../src/statement/catalog.ts';
import { createDatabase, superuser, type TestDatabase } from '../support/postgres.ts';

/**
 * The server as the oracle: no query of tables, views and queries in FROM, joined and conditioned at random, returns more
 * rows than the analysis says. COUNTERSIGN_BOUNDS_CASES and COUNTERSIGN_BOUNDS_SEED: more of them, and others.
 */
const CASES = Number(process.env['COUNTERSIGN_BOUNDS_CASES'] ?? 2_000);
const SEED = Number(process.env['COUNTERSIGN_BOUNDS_SEED'] ?? 20_261);

/** All columns are integers, so that any can be compared with any. */
const SCHEMA = `
  CREATE TABLE t (id integer PRIMARY KEY, a integer, b integer);
  INSERT INTO t SELECT i, i % 3, nullif(i % 4, 3) FROM generate_series(1, 14) i;
  CREATE TABLE u (id integer PRIMARY KEY, a integer, b integer, UNIQUE (a, b));
  INSERT INTO u SELECT i, i % 4, i / 4 FROM generate_series(1, 11) i;
  CREATE TABLE w (a integer, b integer, id integer);
  INSERT INTO w SELECT i % 5, i % 2, i % 7 FROM generate_series(1, 20) i;
  CREATE TABLE one (id integer, a integer, b integer);
  INSERT INTO one VALUES (1, 2, 3);
  CREATE VIEW v1 AS SELECT id, a, b FROM t WHERE b IS NOT NULL;
  CREATE VIEW v2 (id, a, b) AS SELECT t.a, t.id, u.b FROM t JOIN u ON u.id = t.a;
  CREATE VIEW v3 AS SELECT a, count(*)::int AS id, max(b) AS b FROM w GROUP BY a;
  CREATE VIEW v4 AS SELECT x.id, y.a, y.b FROM v1 x LEFT JOIN v2 y ON x.id = y.a;
  CREATE VIEW v5 AS SELECT id, b AS a, a AS b FROM (SELECT DISTINCT id, a, b FROM w LIMIT 9) s;
  ANALYZE;`;

let database: TestDatabase;
let client: pg.Client;
let analyser: Analyser;
let catalog: Catalog;
beforeAll(async () => {
  analyser = await loadAnalyser(DEFAULT_LIMITS);
  database = await createDatabase('bounds');
  await database.query(SCHEMA);
  client = new pg.Client(superuser(database.name));
  await client.connect();
  catalog = await loadCatalog(client, readingJudgement(analyser, DEFAULT_LIMITS));
  await client.query("SET statement_timeout = '10s'");
});
afterAll(async () => {
  await client?.end();
  await analyser?.close();
  await database?.drop();
});

/** Random numbers that can be had again (mulberry32). */
function generator(seed: number) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (n: number) => Math.floor(next() * n);
  const one = <T>(items: readonly T[]): T => items[below(items.length)] as T;
  return { below, one, chance: (share: number) => next() < share };
}
type Random = ReturnType<typeof generator>;

const COLUMNS = ['id', 'a', 'b'] as const;
const RELATIONS = ['t', 'u', 'w', 'one', 'v1', 'v2', 'v3', 'v4', 'v5'];

function condition(random: Random, aliases: readonly string[], depth: number): string {
  const column = () => `${random.one(aliases)}.${random.one(COLUMNS)}`;
  const number = () => random.below(6);
  switch (random.below(depth > 2 ? 7 : 9)) {
    case 0:
    case 1:
      return `${column()} = ${number()}`;
    case 2:
    case 3:
      return `${column()} = ${column()}`;
    case 4:
      return `${column()} IN (${number()}, ${number()})`;
    case 5:
      return `${column()} BETWEEN ${number()} AND ${number()}`;
    case 6: {
      const first = column();
      return `(${first} = ${number()} OR ${first} = ${number()})`;
    }
    case 7:
      return `${condition(random, aliases, depth + 1)} AND ${condition(random, aliases, depth + 1)}`;
    default:
      return `${column()} IN (SELECT z.${random.one(COLUMNS)} FROM ${random.one(RELATIONS)} z WHERE z.${random.one(COLUMNS)} = ${number()})`;
  }
}

/** Something with columns id, a, b. `outer`: what a LATERAL query may refer to. */
function item(random: Random, depth: number, ctes: readonly string[], outer: readonly string[]): string {
  if (depth > 2 || random.chance(0.55)) return random.one([...RELATIONS, ...ctes, ...ctes]);
  const inner = fromList(random, depth + 1, ctes);
  const from = random.one(inner.aliases);
  const [x, y, z] = random.one([
    ['id', 'a', 'b'],
    ['a', 'id', 'b'],
    ['b', 'a', 'id'],
  ] as const);
  const where = random.chance(0.6) ? ` WHERE ${condition(random, [...inner.aliases, ...outer], depth)}` : '';
  if (random.chance(0.2))
    return `(SELECT ${from}.${x} AS id, count(*)::int AS a, min(${from}.${y}) AS b FROM ${inner.sql}${where} GROUP BY ${random.one([`${from}.${x}`, '1', 'id'])})`;
  const distinct = random.chance(0.15) ? 'DISTINCT ' : '';
  const limit = random.chance(0.15) ? ` LIMIT ${random.below(9)}` : '';
  return `(SELECT ${distinct}${from}.${x} AS id, ${from}.${y} AS a, ${random.one(inner.aliases)}.${z} AS b FROM ${inner.sql}${where}${limit})`;
}

/** One row for each of its neighbour's. */
function keyed(random: Random, outer: readonly string[]): string {
  const key = `${random.one(outer)}.${random.one(COLUMNS)}`;
  return `(SELECT y.id, y.a, y.b FROM ${random.one(['t', 'u', 'v1'])} y WHERE y.id = ${key})`;
}

const JOINS = ['JOIN', 'JOIN', 'LEFT JOIN', 'RIGHT JOIN', 'FULL JOIN', ',', 'LATERAL'];

let names = 0;

function fromList(
  random: Random,
  depth: number,
  ctes: readonly string[],
): { sql: string; aliases: string[] } {
  const aliases: string[] = [];
  let sql = '';
  const items = 1 + random.below(depth === 0 ? 3 : 2);
  for (let i = 0; i < items; i++) {
    const alias = `q${++names}`;
    const join = i === 0 ? '' : random.one(JOINS);
    const source =
      join === 'LATERAL' && random.chance(0.7)
        ? keyed(random, aliases)
        : item(random, depth, ctes, join === 'LATERAL' ? aliases : []);
    aliases.push(alias);
    if (join === '') sql = `${source} ${alias}`;
    else if (join === 'LATERAL' && source.startsWith('('))
      sql = `${sql} CROSS JOIN LATERAL ${source} ${alias}`;
    else if (join === ',' || join === 'LATERAL') sql = `${sql} CROSS JOIN ${source} ${alias}`;
    else if (random.chance(0.2)) sql = `${sql} ${join} ${source} ${alias} ON ${alias}.id = ${aliases[0]}.id`;
    else sql = `${sql} ${join} ${source} ${alias} ON ${condition(random, aliases, 2)}`;
  }
  return { sql, aliases };
}

function query(random: Random): string {
  names = 0;
  const ctes: string[] = [];
  let clause = '';
  if (random.chance(0.3)) {
    clause = `WITH c (id, a, b) AS (SELECT * FROM ${item(random, 1, [], [])} x) `;
    ctes.push('c');
  }
  const { sql, aliases } = fromList(random, 0, ctes);
  const where = random.chance(0.75) ? ` WHERE ${condition(random, aliases, 0)}` : '';
  const from = random.one(aliases);
  const tail = random.chance(0.15) ? ` GROUP BY ${from}.id, ${from}.a` : '';
  return `${clause}SELECT ${from}.id FROM ${sql}${where}${tail}`;
}

it(`no more rows come than the analysis says (seed ${SEED})`, async () => {
  const random = generator(SEED);
  const wrong: string[] = [];
  let ran = 0;
  let bounded = 0;
  for (let i = 0; i < CASES; i++) {
    const sql = query(random);
    const scope = { searchPath: ['public'], tempPossible: false };
    const parse = analyser.parse(Buffer.from(sql));
    const bound = analyse(parse, catalog, scope, DEFAULT_LIMITS).statements[0]?.rowBound ?? null;
    const result = await client.query(sql).catch((error: { code?: string }) => error.code);
    if (result === undefined || typeof result === 'string') continue;
    ran += 1;
    const most = bound ?? Number.POSITIVE_INFINITY;
    if (most < 20) bounded += 1;
    if (result.rows.length > most) wrong.push(`${result.rows.length} rows, not ${most}: ${sql}`);
  }
  console.log(`${ran} of ${CASES} ran, ${bounded} of them bounded by less than 20 rows`);
  expect(wrong.slice(0, 5)).toEqual([]);
  // Otherwise nothing was tested.
  expect(ran).toBeGreaterThan(CASES / 2);
  expect(bounded).toBeGreaterThan(CASES / 20);
}, 300_000);
