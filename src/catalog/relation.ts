import type { Column, Relation, RelationKind } from '../statement/catalog.ts';
import type { Tree } from '../statement/tree.ts';
import { cascades } from './cascades.ts';
import type { Closure, Outcome } from './closure.ts';
import { columnStatistics } from './column-statistics.ts';
import { estimateRows } from './estimate.ts';
import type { CatalogJudgement } from './judgement.ts';
import { FIRST_USER_OID, type RelationRow } from './rows.ts';
import type { Snapshot } from './snapshot.ts';
import type { Access } from './step.ts';
import type { Tagger } from './tags.ts';
import { uniqueKeys } from './unique-keys.ts';

const KINDS: Readonly<Record<string, RelationKind>> = {
  r: 'table',
  p: 'partitioned',
  v: 'view',
  m: 'matview',
  f: 'foreign',
  S: 'sequence',
  i: 'index',
  I: 'index',
  t: 'toast',
  c: 'composite',
};

/** A relation as analysis sees it; its effects are worked out when they are first asked for. */
export function decodeRelation(
  snapshot: Snapshot,
  closure: Closure,
  tagger: Tagger,
  row: RelationRow,
  readView: CatalogJudgement['readView'],
): Relation {
  const tags = tagger.tags(row.oid);
  const outcome = (access: Access) =>
    closure.outcome([{ kind: 'relation', oid: row.oid, access }], access !== 'read' && access !== 'casts');
  const allOf = ({ effects, folds }: Outcome) => [...effects, ...folds];
  const outcomes = lazy({
    read: () => outcome('read'),
    insert: () => outcome('insert'),
    update: () => outcome('update'),
    delete: () => outcome('delete'),
  });
  let castEffects: readonly string[] | undefined;
  const rows = estimateRows(snapshot, row.oid, (r) => closure.columns(r));
  const definition = snapshot.viewDefinitions.get(row.oid) ?? null;
  let query: { readonly tree: Tree | null } | null = null;
  let analyzed: readonly string[] | undefined;
  return {
    oid: row.oid,
    schema: row.schema,
    name: row.name,
    kind: KINDS[row.kind] ?? 'foreign',
    rows,
    columns: closure.columns(row).map(
      ([name, type, typmod, , , , , number]): Column => ({
        name,
        typeOid: type,
        type: snapshot.typeNames.get(`${type}:${typmod}`) ?? String(type),
        builtinType: type < FIRST_USER_OID,
        ...columnStatistics(snapshot.columnStatistics.get(`${row.oid}:${number}`), rows),
      }),
    ),
    uniqueKeys: uniqueKeys(snapshot, closure, row),
    effects: lazy({
      read: () => outcomes.read.effects,
      insert: () => allOf(outcomes.insert),
      update: () => allOf(outcomes.update),
      delete: () => allOf(outcomes.delete),
    }),
    get analyzeEffects() {
      analyzed ??= allOf(outcome('analyze'));
      return analyzed;
    },
    runsUserCode: lazy({
      read: () => outcomes.read.runsUserCode,
      insert: () => outcomes.insert.runsUserCode,
      update: () => outcomes.update.runsUserCode,
      delete: () => outcomes.delete.runsUserCode,
    }),
    get castEffects() {
      castEffects ??= allOf(outcome('casts'));
      return castEffects;
    },
    get folds() {
      return outcomes.read.folds.length > 0;
    },
    cascades: {
      update: cascades(snapshot, closure, row, 'update'),
      delete: cascades(snapshot, closure, row, 'delete'),
    },
    viewDefinition: definition,
    get viewQuery() {
      query ??= { tree: definition === null ? null : (readView?.(definition) ?? null) };
      return query.tree;
    },
    ...(tags === null ? {} : { tags: tags.relation, columnTags: tags.columns }),
  };
}

/** Each value is worked out when it is first asked for. */
function lazy<T extends Record<string, () => unknown>>(
  makers: T,
): { readonly [K in keyof T]: ReturnType<T[K]> } {
  const made = {};
  for (const [name, make] of Object.entries(makers))
    Object.defineProperty(made, name, {
      enumerable: true,
      configurable: true,
      get: () => {
        const value = make();
        Object.defineProperty(made, name, { value, enumerable: true });
        return value;
      },
    });
  return made as { readonly [K in keyof T]: ReturnType<T[K]> };
}
