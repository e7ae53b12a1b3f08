import type { NameScope } from '../statement/analysis.ts';
import type { Catalog, CatalogFunction, Relation } from '../statement/catalog.ts';
import { Closure, decodeColumns } from './closure.ts';
import { proveStored } from './code-steps.ts';
import type { CatalogJudgement, FunctionProof } from './judgement.ts';
import { meantBy } from './meant.ts';
import { decodeRelation } from './relation.ts';
import { type ColumnRow, FIRST_USER_OID, type FunctionRow, label, type RelationRow } from './rows.ts';
import type { Snapshot } from './snapshot.ts';
import { Tagger, type TagRule } from './tags.ts';

/** Under a search_path that nobody knows, where temporary objects may exist. */
export const ANYWHERE: NameScope = { searchPath: null, tempPossible: true };

/** More scopes than this are not kept: a session can make up any number. */
const MOST_SCOPES = 64;

/** A proof that rests on more proofs, one below the other, is not made: each takes some stack. */
const DEEPEST_PROOF = 24;

export type ScopedCatalog = {
  readonly catalog: Catalog;
  readonly closure: Closure;
  /** What a function does when it is called there. */
  readonly prove: (fn: FunctionRow) => FunctionProof;
};

/**
 * One snapshot of a database's catalog, as sessions with different scopes see it: functions that pin no search_path run
 * under their caller's. What is the same for all is decoded once; proofs and effects are worked out for each scope when
 * they are first asked for.
 */
export class ScopedCatalogs {
  /** Of the snapshot; set once it has been computed. */
  version = '';
  /** See `Catalog.objects`. */
  objects = '';
  readonly snapshot: Snapshot;
  readonly #judgement: CatalogJudgement;
  readonly #tagger: Tagger;
  readonly #columns = new Map<number, readonly ColumnRow[]>();
  readonly #relations = new Map<string, RelationRow[]>();
  readonly #functions = new Map<string, FunctionRow[]>();
  readonly #operators = new Map<string, Set<string>>();
  readonly #scopes = new Map<string, ScopedCatalog>();
  /** Proofs under way: each may need another, and what is under way must not be forgotten. */
  #proving = 0;
  /** By the array itself, which a session keeps: one for each answer to `tempPossible`. */
  #recent = new WeakMap<readonly string[], [ScopedCatalog | null, ScopedCatalog | null]>();

  constructor(snapshot: Snapshot, judgement: CatalogJudgement, tags: readonly TagRule[]) {
    this.snapshot = snapshot;
    this.#judgement = judgement;
    this.#tagger = new Tagger(snapshot, tags, (oid) => {
      const row = snapshot.relations.get(oid);
      return row === undefined ? [] : this.columns(row).map(([name]) => name);
    });
    for (const row of snapshot.relations.values()) add(this.#relations, row.name, row);
    for (const row of snapshot.functions.values()) add(this.#functions, row.name, row);
    for (const { name, schema } of snapshot.operators.values())
      this.#operators.set(name, (this.#operators.get(name) ?? new Set()).add(schema));
  }

  columns(relation: RelationRow): readonly ColumnRow[] {
    return decodeColumns(this.#columns, relation);
  }

  /** What a session sees of which nothing is known. */
  anywhere(): Catalog {
    return this.under(ANYWHERE).catalog;
  }

  under(scope: NameScope): ScopedCatalog {
    const { searchPath, tempPossible } = scope;
    const recent = searchPath === null ? undefined : this.#recent.get(searchPath);
    const known = recent?.[tempPossible ? 1 : 0];
    if (known != null) return known;
    const found = this.#byKey(scope);
    if (searchPath === null) return found;
    const pair = recent ?? [null, null];
    pair[tempPossible ? 1 : 0] = found;
    if (recent === undefined) this.#recent.set(searchPath, pair);
    return found;
  }

  #byKey(scope: NameScope): ScopedCatalog {
    const key = JSON.stringify([scope.searchPath, scope.tempPossible]);
    const known = this.#scopes.get(key);
    if (known !== undefined) return known;
    if (this.#scopes.size >= MOST_SCOPES && this.#proving === 0) {
      this.#scopes.clear();
      this.#recent = new WeakMap();
    }
    const made = this.#make({ ...scope });
    this.#scopes.set(key, made);
    return made;
  }

  #make(scope: NameScope): ScopedCatalog {
    const { snapshot } = this;
    // What is being proved is not proved yet: a function that calls itself stays user code.
    const proofs = new Map<number, FunctionProof>();
    const prove = (fn: FunctionRow): FunctionProof => {
      const known = proofs.get(fn.oid);
      if (known !== undefined) return known;
      if (this.#proving >= DEEPEST_PROOF) return { proved: false, why: 'calls are nested too deeply' };
      proofs.set(fn.oid, { proved: false, why: 'it calls itself' });
      this.#proving += 1;
      const proof = this.#prove(fn, catalog, scope, prove);
      this.#proving -= 1;
      proofs.set(fn.oid, proof);
      return proof;
    };
    const judges = {
      judgeBuiltin: this.#judgement.judgeBuiltin,
      prove,
      later: (oid: number, via: string) =>
        this.under(ANYWHERE).closure.effects([{ kind: 'function', oid, via }], true),
    };
    const closure = new Closure(snapshot, judges, this.#columns);
    const catalog = Object.freeze(this.#catalog(closure, prove));
    return { catalog, closure, prove };
  }

  #prove(
    fn: FunctionRow,
    catalog: Catalog,
    scope: NameScope,
    prove: (fn: FunctionRow) => FunctionProof,
  ): FunctionProof {
    const seen =
      fn.sqlTree === '' ? this.#judgement.prove(fn, catalog, scope) : proveStored(this.snapshot, prove, fn);
    if (seen.proved && seen.does.class === 'read') return seen;
    const listed = this.#judgement.listed?.(fn) ?? null;
    if (listed === null) return seen;
    const rows = fn.returnsSet ? Number.POSITIVE_INFINITY : 1;
    return { proved: true, does: listed, size: { rows, perRow: 1, data: true } };
  }

  #catalog(closure: Closure, prove: (fn: FunctionRow) => FunctionProof): Catalog {
    const { snapshot, version, objects } = this;
    const types = groupTypes(snapshot, closure);
    const relations = new Map<number, Relation>();
    const relationOf = (row: RelationRow): Relation =>
      keep(relations, row.oid, () =>
        decodeRelation(snapshot, closure, this.#tagger, row, this.#judgement.readView),
      );
    const functions = new Map<string, readonly CatalogFunction[]>();
    let ambient: readonly string[] | undefined;
    let analyzed: readonly string[] | undefined;
    return {
      version,
      objects,
      serverVersion: snapshot.serverVersion,
      relation: (schema, name) => {
        const row = this.#relations.get(name)?.find((candidate) => candidate.schema === schema);
        return row === undefined ? undefined : relationOf(row);
      },
      relationsNamed: (name) => (this.#relations.get(name) ?? []).map(relationOf),
      functionsNamed: (name) => {
        const rows = this.#functions.get(name);
        if (rows === undefined) return NO_FUNCTIONS;
        return keep(functions, name, () => rows.map((row) => decodeFunction(snapshot, closure, row, prove)));
      },
      operatorSchemas: (name) => [...(this.#operators.get(name) ?? [])],
      typesNamed: (name) => types().get(name) ?? [],
      get ambientEffects() {
        ambient ??= ambientEffects(snapshot, closure);
        return ambient;
      },
      meant: (meaning) => meantBy(snapshot, closure, meaning),
      get analyzeEffects() {
        analyzed ??= analyzeEffects(snapshot, closure);
        return analyzed;
      },
      under: (scope) => this.under(scope).catalog,
    };
  }
}

const NO_FUNCTIONS: readonly CatalogFunction[] = [];

type NamedType = { readonly schema: string; readonly effects: readonly string[] };

function groupTypes(snapshot: Snapshot, closure: Closure): () => ReadonlyMap<string, readonly NamedType[]> {
  let types: Map<string, NamedType[]> | null = null;
  return () => {
    if (types !== null) return types;
    types = new Map();
    for (const row of snapshot.types.values()) {
      let effects: readonly string[] | undefined;
      add(types, row.name, {
        schema: row.schema,
        get effects() {
          const via = `type ${label(row)}`;
          effects ??= closure.effects(
            (['input', 'cast', 'casts-from', 'compare'] as const).map((access) => ({
              kind: 'type',
              oid: row.oid,
              access,
              via,
            })),
          );
          return effects;
        },
      });
    }
    return types;
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

function decodeFunction(
  snapshot: Snapshot,
  closure: Closure,
  row: FunctionRow,
  prove: (fn: FunctionRow) => FunctionProof,
): CatalogFunction {
  const [first = 0] = row.argTypes;
  let type = snapshot.types.get(first);
  while (type?.kind === 'd') type = snapshot.types.get(type.base);
  const fixed = {
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
  };
  let effects: readonly string[] | undefined;
  const proof = () => (row.kind === 'f' && row.language !== 'internal' ? prove(row) : null);
  return {
    ...fixed,
    get effects() {
      effects ??= closure.effects(
        [{ kind: 'function', oid: row.oid, via: 'the statement', deed: false }],
        true,
      );
      return effects;
    },
    get does() {
      const found = proof();
      return found?.proved ? found.does : READS;
    },
    get size() {
      const found = proof();
      return found?.proved && found.size !== null ? found.size : undefined;
    },
  };
}

const READS = { class: 'read', reason: 'only computes' } as const;

function keep<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

function add<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const at = map.get(key);
  if (at === undefined) map.set(key, [value]);
  else at.push(value);
}
