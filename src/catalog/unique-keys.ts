import type { Closure } from './closure.ts';
import { FIRST_USER_OID, type RelationRow } from './rows.ts';
import type { Snapshot } from './snapshot.ts';

/** Column sets of which the catalog promises that no two rows are equal in them; see `Relation.uniqueKeys`. */
export function uniqueKeys(
  snapshot: Snapshot,
  closure: Closure,
  row: RelationRow,
): readonly (readonly string[])[] {
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
