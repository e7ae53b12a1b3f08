import type { Cascade } from '../statement/catalog.ts';
import { type Closure, cascade } from './closure.ts';
import { columnStatistics } from './column-statistics.ts';
import { estimateRows } from './estimate.ts';
import type { ConstraintRow, RelationRow } from './rows.ts';
import type { Snapshot } from './snapshot.ts';
import { uniqueKeys } from './unique-keys.ts';

type Found = { -readonly [K in keyof Cascade]: Cascade[K] };

/**
 * What foreign keys delete or update elsewhere, closed over, when rows of a relation are deleted or their keys updated.
 * Where a relation is reached in more than one way nobody knows how many rows of it one row here has.
 */
export function cascades(
  snapshot: Snapshot,
  closure: Closure,
  row: RelationRow,
  access: 'update' | 'delete',
): readonly Cascade[] {
  const found = new Map<string, Found>();
  let twice = false;
  const open: { oid: number; access: 'update' | 'delete'; each: number | null }[] = [
    { oid: row.oid, access, each: 1 },
  ];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const { oid, access: now } = at;
    const family = [oid, ...(snapshot.children.get(oid) ?? []), ...below(snapshot, oid)];
    const keys = family.flatMap(
      (member): readonly ConstraintRow[] => snapshot.referencedBy.get(member) ?? [],
    );
    for (const key of keys) {
      const action = cascade(now === 'delete' ? key.onDelete : key.onUpdate, now);
      const target = snapshot.relations.get(key.relation);
      if (action === null || target === undefined) continue;
      if (found.has(`${target.oid}:${action}`)) {
        twice = true;
        continue;
      }
      const rows = estimateRows(snapshot, target.oid, (r) => closure.columns(r));
      const each = rowsEach(snapshot, closure, target, key, rows);
      const rowsEachHere = at.each === null || each === null ? null : at.each * each;
      found.set(`${target.oid}:${action}`, {
        schema: target.schema,
        name: target.name,
        action,
        rows,
        rowsEach: rowsEachHere,
      });
      open.push({ oid: target.oid, access: action, each: rowsEachHere });
    }
  }
  if (twice) for (const one of found.values()) one.rowsEach = null;
  return [...found.values()];
}

/** Rows of `target` that refer to one row by that key, at most, by keys and statistics; null: not known. */
function rowsEach(
  snapshot: Snapshot,
  closure: Closure,
  target: RelationRow,
  key: ConstraintRow,
  rows: number | null,
): number | null {
  const columns = closure.columns(target).filter(([, , , , , , , number]) => key.columns.includes(number));
  const names = new Set(columns.map(([name]) => name));
  if (uniqueKeys(snapshot, closure, target).some((unique) => unique.every((name) => names.has(name))))
    return 1;
  if (rows === null) return null;
  let least: number | null = null;
  for (const [, , , , , , , number] of columns) {
    const { commonestShare } = columnStatistics(
      snapshot.columnStatistics.get(`${target.oid}:${number}`),
      rows,
    );
    if (commonestShare != null) least = Math.min(least ?? rows, Math.ceil(rows * commonestShare));
  }
  return least;
}

/** What a write on a view may write: every relation that its query reads, through other views too. */
function below(snapshot: Snapshot, view: number): readonly number[] {
  const found = new Set<number>();
  const open = snapshot.relations.get(view)?.kind === 'v' ? [view] : [];
  for (let oid = open.pop(); oid !== undefined; oid = open.pop()) {
    for (const rule of snapshot.rules.get(oid) ?? [])
      for (const use of rule.event === '1' ? (snapshot.uses.get(`pg_rewrite:${rule.oid}`) ?? []) : []) {
        if (use.catalog !== 'pg_class' || found.has(use.oid)) continue;
        found.add(use.oid);
        if (snapshot.relations.get(use.oid)?.kind === 'v') open.push(use.oid);
      }
  }
  return [...found].flatMap((oid) => [oid, ...(snapshot.children.get(oid) ?? [])]);
}
