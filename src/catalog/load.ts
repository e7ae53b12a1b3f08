import { createHash } from 'node:crypto';
import type pg from 'pg';
import type { Catalog, CatalogFunction, Relation } from '../statement/catalog.ts';
import { Closure } from './closure.ts';
import { estimateRows } from './estimate.ts';
import { type CatalogJudgement, DEFAULT_JUDGEMENT } from './judgement.ts';
import { meantBy } from './meant.ts';
import { readCatalog } from './read.ts';
import { decodeRelation } from './relation.ts';
import { FIRST_USER_OID, type FunctionRow, label, type RelationRow } from './rows.ts';
import { decodeSnapshot, type Snapshot } from './snapshot.ts';
import { Tagger, type TagRule } from './tags.ts';

/**
 * Reads the upstream database's catalog in one snapshot (PostgreSQL 14 to 18) and decodes it. The client must be idle
 * and outside a transaction; it is left so. Rows become objects here; a relation's effects are worked out when it is
 * first looked up, and kept. `tags`: what configuration gives. Throws what `pg` throws.
 */
export async function loadCatalog(
  client: pg.ClientBase,
  judgement: CatalogJudgement = DEFAULT_JUDGEMENT,
  tags: readonly TagRule[] = [],
): Promise<Catalog> {
  const raw = await readCatalog(client);
  const snapshot = await decodeSnapshot(raw);
  return await catalogOf(snapshot, raw.digest, judgement, tags);
}

async function catalogOf(
  snapshot: Snapshot,
  digest: string,
  judgement: CatalogJudgement,
  tags: readonly TagRule[],
): Promise<Catalog> {
  // What is being proved is not proved yet: a function that calls itself stays user code.
  const proofs = new Map<number, boolean>();
  const proved = (fn: FunctionRow): boolean => {
    const known = proofs.get(fn.oid);
    if (known !== undefined) return known;
    proofs.set(fn.oid, false);
    const result = judgement.provedHarmless(fn, catalog);
    proofs.set(fn.oid, result);
    return result;
  };
  const closure = new Closure(snapshot, { judgeBuiltin: judgement.judgeBuiltin, proved });
  const tagger = new Tagger(snapshot, tags, (oid) => {
    const row = snapshot.relations.get(oid);
    return row === undefined ? [] : closure.columns(row).map(([name]) => name);
  });
  const byName = new Map<string, RelationRow[]>();
  const sizes = createHash('sha256').update(digest);
  let work = 0;
  let ambient: readonly string[] | undefined;
  let analyzed: readonly string[] | undefined;
  for (const row of snapshot.relations.values()) {
    add(byName, row.name, row);
    if (row.oid >= FIRST_USER_OID)
      sizes.update(`${row.oid}:${estimateRows(snapshot, row.oid, (r) => closure.columns(r))};`);
    if (++work % 1_000 === 0) await new Promise((next) => setImmediate(next));
  }
  const decoded = new Map<number, Relation>();
  const relationOf = (row: RelationRow): Relation => {
    const known = decoded.get(row.oid);
    if (known !== undefined) return known;
    const made = decodeRelation(snapshot, closure, tagger, row, judgement.readView);
    decoded.set(row.oid, made);
    return made;
  };
  const catalog: Catalog = {
    version: sizes.digest('hex').slice(0, 32),
    serverVersion: snapshot.serverVersion,
    relation: (schema: string, name: string) => {
      const row = byName.get(name)?.find((candidate) => candidate.schema === schema);
      return row === undefined ? undefined : relationOf(row);
    },
    relationsNamed: (name: string) => (byName.get(name) ?? []).map(relationOf),
    ...namedObjects(snapshot, closure),
    meant: (meaning) => meantBy(snapshot, closure, meaning),
    get ambientEffects() {
      ambient ??= ambientEffects(snapshot, closure);
      return ambient;
    },
    get analyzeEffects() {
      analyzed ??= analyzeEffects(snapshot, closure);
      return analyzed;
    },
  };
  return Object.freeze(catalog);
}

/** Functions, operators, types and casts that users made. */
function namedObjects(snapshot: Snapshot, closure: Closure) {
  const functions = new Map<string, CatalogFunction[]>();
  for (const row of snapshot.functions.values())
    add(functions, row.name, decodeFunction(snapshot, closure, row));
  const operators = new Map<string, Set<string>>();
  for (const row of snapshot.operators.values())
    operators.set(row.name, (operators.get(row.name) ?? new Set()).add(row.schema));
  const types = new Map<string, { readonly schema: string; readonly effects: readonly string[] }[]>();
  for (const row of snapshot.types.values())
    add(types, row.name, {
      schema: row.schema,
      get effects() {
        const via = `type ${label(row)}`;
        return closure.effects(
          (['input', 'cast', 'casts-from', 'compare'] as const).map((access) => ({
            kind: 'type',
            oid: row.oid,
            access,
            via,
          })),
        );
      },
    });
  return {
    functionsNamed: (name: string) => functions.get(name) ?? [],
    operatorSchemas: (name: string) => [...(operators.get(name) ?? [])],
    typesNamed: (name: string) => types.get(name) ?? [],
  };
}

/** What ANALYZE without a table works on. */
function analyzeEffects(snapshot: Snapshot, closure: Closure): readonly string[] {
  const tables = [...snapshot.relations.values()].filter(
    ({ oid, kind }) => oid >= FIRST_USER_OID && 'rmpf'.includes(kind),
  );
  return closure.effects(tables.map(({ oid }) => ({ kind: 'relation', oid, access: 'analyze' })));
}

/** Casts between built-in types, and default operator classes for them: no name in a statement shows their use. */
function ambientEffects(snapshot: Snapshot, closure: Closure): readonly string[] {
  const casts = [...snapshot.castsFrom.values()]
    .flat()
    .filter((c) => c.source < FIRST_USER_OID && c.target < FIRST_USER_OID && c.function !== 0)
    .map((c) => ({ kind: 'function', oid: c.function, via: c.label }) as const);
  const classes = [...snapshot.classes.values()]
    .filter((c) => c.type < FIRST_USER_OID && c.isDefault)
    .map((c) => ({ kind: 'class', oid: c.oid, via: `operator class ${label(c)}` }) as const);
  return closure.effects([...casts, ...classes]);
}

/** Types that accept any row: record and the polymorphic ones. */
const ROW_LIKE = new Set([2249, 2276, 2283, 2776, 3500, 3831, 5077, 5079, 5080]);

const VOLATILITIES = { i: 'immutable', s: 'stable', v: 'volatile' } as const;

function decodeFunction(snapshot: Snapshot, closure: Closure, row: FunctionRow): CatalogFunction {
  const [first = 0] = row.argTypes;
  let type = snapshot.types.get(first);
  while (type?.kind === 'd') type = snapshot.types.get(type.base);
  return {
    oid: row.oid,
    schema: row.schema,
    name: row.name,
    minArgs: Math.max(0, row.args - row.defaults - (row.variadic ? 1 : 0)),
    // CALL of a procedure also counts its OUT arguments.
    maxArgs: row.variadic ? Infinity : Math.max(row.args, row.kind === 'p' ? row.allArgs : 0),
    volatility: VOLATILITIES[row.volatility],
    securityDefiner: row.securityDefiner,
    takesRow: type?.kind === 'c' || ROW_LIKE.has(first),
    aggregate: row.kind === 'a',
    returnsSet: row.returnsSet,
    unbounded: row.sqlTree !== '' && /:relid [1-9]/.test(row.sqlTree),
    get effects() {
      return closure.effects([{ kind: 'function', oid: row.oid, via: 'the statement' }]);
    },
  };
}

function add<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const at = map.get(key);
  if (at === undefined) map.set(key, [value]);
  else at.push(value);
}
