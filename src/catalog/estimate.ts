import type { ColumnRow, RelationRow } from './rows.ts';
import type { Snapshot } from './snapshot.ts';

/** Header and line pointer of a heap tuple (HeapTupleHeaderData and ItemIdData), and of a page. */
const TUPLE_OVERHEAD = 28;
const PAGE_HEADER = 24;
const DEEPEST_INHERITANCE = 64;

/**
 * Rows of a relation with its partitions and children: what ANALYZE last counted, scaled to the file's size now as the
 * planner does it. Never analysed: the most rows that the file can hold, which errs upwards. Null: unknown (views,
 * foreign tables, other storage, a file whose size was not asked). Rounded up to two digits from 100 on, so that a table that
 * grows is not another one at each look.
 */
export function estimateRows(
  snapshot: Snapshot,
  oid: number,
  columns: (relation: RelationRow) => readonly ColumnRow[],
): number | null {
  const rows = familyRows(snapshot, oid, columns, 0);
  return rows === null ? null : roundUp(rows);
}

function familyRows(
  snapshot: Snapshot,
  oid: number,
  columns: (relation: RelationRow) => readonly ColumnRow[],
  depth: number,
): number | null {
  const relation = snapshot.relations.get(oid);
  if (relation === undefined || depth > DEEPEST_INHERITANCE) return null;
  let rows = relation.kind === 'p' ? 0 : ownRows(snapshot, relation, columns);
  for (const child of snapshot.children.get(oid) ?? []) {
    const more = familyRows(snapshot, child, columns, depth + 1);
    rows = rows === null || more === null ? null : rows + more;
  }
  return rows;
}

function ownRows(
  snapshot: Snapshot,
  relation: RelationRow,
  columns: (relation: RelationRow) => readonly ColumnRow[],
): number | null {
  if (relation.kind === 'S') return 1;
  if (relation.kind !== 'r' && relation.kind !== 'm') return null;
  const { reltuples, relpages, pages } = relation;
  const analysed = reltuples >= 0 && relpages > 0;
  if (pages === null) return analysed ? reltuples : null;
  if (pages === 0) return 0;
  if (relation.accessMethod !== 'heap')
    return analysed ? Math.max(reltuples, (reltuples / relpages) * pages) : null;
  const grown = analysed ? Math.max(0, pages - relpages) : pages;
  if (grown === 0) return reltuples;
  const density =
    analysed && reltuples > 0 ? reltuples / relpages : rowsPerPage(snapshot.blockSize, columns(relation));
  return (analysed ? reltuples : 0) + grown * density;
}

/** A NULL takes no room, so only fixed-length NOT NULL columns count. */
function rowsPerPage(blockSize: number, columns: readonly ColumnRow[]): number {
  let width = 0;
  for (const [, , , notNull, length] of columns) if (notNull && length > 0) width += length;
  return Math.max(1, Math.floor((blockSize - PAGE_HEADER) / (TUPLE_OVERHEAD + width)));
}

function roundUp(rows: number): number {
  if (rows < 100) return Math.ceil(rows);
  const unit = 10 ** (Math.floor(Math.log10(rows)) - 1);
  return Math.ceil(rows / unit) * unit;
}
