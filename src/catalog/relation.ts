import type { Cascade, Column, Relation, RelationKind } from '../statement/catalog.ts';
import { type Closure, cascade } from './closure.ts';
import { estimateRows } from './estimate.ts';
import { type ColumnStatisticsRow, type ConstraintRow, FIRST_USER_OID, type RelationRow } from './rows.ts';
import type { Snapshot } from './snapshot.ts';
import type { Access } from './step.ts';

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
export function decodeRelation(snapshot: Snapshot, closure: Closure, row: RelationRow): Relation {
  const effects = (access: Access) => closure.effects([{ kind: 'relation', oid: row.oid, access }]);
  const rows = estimateRows(snapshot, row.oid, (r) => closure.columns(r));
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
      read: () => effects('read'),
      insert: () => effects('insert'),
      update: () => effects('update'),
      delete: () => effects('delete'),
    }),
    castEffects: effects('casts'),
    cascades: {
      update: cascades(snapshot, closure, row, 'update'),
      delete: cascades(snapshot, closure, row, 'delete'),
    },
    viewDefinition: snapshot.viewDefinitions.get(row.oid) ?? null,
  };
}

/**
 * Without a list of common values no value stood out from the average in the sample: then twice the average, and at
 * least what a sample of 30,000 rows cannot tell from nothing.
 */
function columnStatistics(
  row: ColumnStatisticsRow | undefined,
  rows: number | null,
): Pick<Column, 'commonestShare' | 'distinctValues'> {
  if (row === undefined || row.distinct === 0) return {};
  if (row.distinct < 0 && rows === null) return { commonestShare: row.commonest, distinctValues: null };
  const values = row.distinct > 0 ? row.distinct : Math.max(1, -row.distinct * (rows ?? 0));
  const average = (2 * (1 - row.nulls)) / values;
  return {
    commonestShare: row.commonest ?? Math.min(1, Math.max(average, 1e-4)),
    distinctValues: Math.round(values),
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

function uniqueKeys(snapshot: Snapshot, closure: Closure, row: RelationRow): readonly (readonly string[])[] {
  // An index of a table does not cover the tables that inherit from it; one of a partitioned table covers its partitions.
  if (row.kind !== 'p' && (snapshot.children.get(row.oid) ?? []).length > 0) return [];
  const columns = new Map(closure.columns(row).map((column) => [column[7], column]));
  return (snapshot.indexes.get(row.oid) ?? []).flatMap((index) => {
    const keys = index.columns.slice(0, index.keyColumns).map((number) => columns.get(number));
    const plain = index.unique && index.classes.every((oid) => trustedClass(snapshot, oid));
    const names: string[] = [];
    for (const [at, column] of keys.entries()) {
      // Another collation than the column's own may tell apart what `=` on the column does not.
      if (column === undefined || column[5] !== index.collations[at]) return [];
      names.push(column[0]);
    }
    return plain && names.length > 0 ? [names] : [];
  });
}

/** Equality means what the type's own `=` means: built-in classes, and those of extensions' types. */
function trustedClass(snapshot: Snapshot, oid: number): boolean {
  if (oid < FIRST_USER_OID) return true;
  const row = snapshot.classes.get(oid);
  if (row === undefined || !row.isDefault) return false;
  return (snapshot.families.get(row.family) ?? [])
    .filter((member) => member.kind === 'p')
    .every((member) => (snapshot.functions.get(member.object)?.extension ?? '') !== '');
}

function cascades(
  snapshot: Snapshot,
  closure: Closure,
  row: RelationRow,
  access: 'update' | 'delete',
): readonly Cascade[] {
  const found = new Map<string, Cascade>();
  const open: { oid: number; access: 'update' | 'delete' }[] = [{ oid: row.oid, access }];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const { oid, access: now } = at;
    const family = [oid, ...(snapshot.children.get(oid) ?? [])];
    const keys = family.flatMap(
      (member): readonly ConstraintRow[] => snapshot.referencedBy.get(member) ?? [],
    );
    for (const key of keys) {
      const action = cascade(now === 'delete' ? key.onDelete : key.onUpdate, now);
      const target = snapshot.relations.get(key.relation);
      if (action === null || target === undefined || found.has(`${target.oid}:${action}`)) continue;
      found.set(`${target.oid}:${action}`, {
        schema: target.schema,
        name: target.name,
        action,
        rows: estimateRows(snapshot, target.oid, (r) => closure.columns(r)),
      });
      open.push({ oid: target.oid, access: action });
    }
  }
  return [...found.values()];
}
