import type { ColumnUse, RelationUse } from './analysis.ts';
import type { Relation } from './catalog.ts';

const NONE: readonly string[] = [];

/** A use of a relation while its statement is being walked: the columns are noted as they are met. */
export class NotedUse implements RelationUse {
  readonly schema: string | null;
  readonly name: string;
  readonly oid: number | null;
  readonly mode: 'read' | 'write';
  columns: ColumnUse;
  tags: readonly string[] = NONE;
  readonly #relation: Relation | null;

  constructor(use: RelationUse, relation: Relation | null) {
    this.schema = use.schema;
    this.name = use.name;
    this.oid = use.oid;
    this.mode = use.mode;
    this.columns = use.columns ?? { read: NONE, written: NONE };
    this.tags = use.tags ?? NONE;
    this.#relation = relation;
  }

  note(how: keyof ColumnUse, column: string): void {
    const known = this.columns[how];
    if (known === null || known.includes(column)) return;
    this.columns = { ...this.columns, [how]: [...known, column] };
  }

  /** All of its columns, by name where the catalog knows them. */
  noteAll(how: keyof ColumnUse): void {
    const all = this.#relation?.columns.map(({ name }) => name) ?? null;
    this.columns = { ...this.columns, [how]: all };
  }

  /** Nobody can tell which columns. */
  noteUnknown(how: keyof ColumnUse): void {
    this.columns = { ...this.columns, [how]: null };
  }

  merge(other: ColumnUse): void {
    this.columns = {
      read: union(this.columns.read, other.read),
      written: union(this.columns.written, other.written),
    };
  }

  /** Settles the tags: the relation's own, and those of the columns that it reads or writes. */
  settleTags(): readonly string[] {
    const { tags = NONE, columnTags } = this.#relation ?? {};
    if (tags.length === 0 && columnTags === undefined) return this.tags;
    const found = new Set([...this.tags, ...tags]);
    const touched = union(this.columns.read, this.columns.written);
    for (const [column, own] of columnTags ?? [])
      if (touched === null || touched.includes(column)) for (const tag of own) found.add(tag);
    this.tags = [...found].sort();
    return this.tags;
  }
}

function union(a: readonly string[] | null, b: readonly string[] | null): readonly string[] | null {
  if (a === null || b === null) return null;
  if (a.length === 0 || a === b) return b;
  return b.length === 0 ? a : [...new Set([...a, ...b])];
}
