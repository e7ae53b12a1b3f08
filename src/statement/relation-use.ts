import type { ColumnUse, RelationUse } from './analysis.ts';
import type { Relation } from './catalog.ts';

const NONE: readonly string[] = [];
const NO_COLUMNS: ColumnUse = { read: NONE, written: NONE };

/** A use of a relation while its statement is being walked: the columns are noted as they are met, settled at its end. */
export class NotedUse implements RelationUse {
  readonly schema: string | null;
  readonly name: string;
  readonly oid: number | null;
  readonly mode: 'read' | 'write';
  columns: ColumnUse = NO_COLUMNS;
  tags: readonly string[];
  #read: string[] | null;
  #written: string[] | null;
  readonly #relation: Relation | null;

  constructor(use: RelationUse, relation: Relation | null) {
    this.schema = use.schema;
    this.name = use.name;
    this.oid = use.oid;
    this.mode = use.mode;
    this.tags = use.tags ?? NONE;
    this.#read = copyOf(use.columns?.read);
    this.#written = copyOf(use.columns?.written);
    this.#relation = relation;
  }

  note(how: keyof ColumnUse, column: string): void {
    const known = how === 'read' ? this.#read : this.#written;
    if (known !== null && !known.includes(column)) known.push(column);
  }

  /** All of its columns, by name where the catalog knows them. */
  noteAll(how: keyof ColumnUse): void {
    const all = this.#relation?.columns.map(({ name }) => name) ?? null;
    if (how === 'read') this.#read = all;
    else this.#written = all;
  }

  /** Nobody can tell which columns. */
  noteUnknown(how: keyof ColumnUse): void {
    if (how === 'read') this.#read = null;
    else this.#written = null;
  }

  /** Tags that another use of the same relation was found to have. */
  tag(tags: readonly string[]): void {
    if (tags.length > 0) this.tags = [...new Set([...this.tags, ...tags])].sort();
  }

  merge(other: ColumnUse): void {
    this.#read = union(this.#read, other.read);
    this.#written = union(this.#written, other.written);
  }

  /** No more columns come: gives the tags of the relation, and of the columns that are read or written. */
  settle(): readonly string[] {
    this.columns = { read: this.#read, written: this.#written };
    const { tags = NONE, columnTags } = this.#relation ?? {};
    if (tags.length === 0 && columnTags === undefined) return this.tags;
    const found = new Set([...this.tags, ...tags]);
    // What stores in no column, but writes (TRUNCATE, LOCK, a cascade, a definition), touches all of it.
    const whole = this.mode === 'write' && this.#written?.length === 0;
    const touched = whole ? null : union(this.#read, this.#written);
    for (const [column, own] of columnTags ?? [])
      if (touched === null || touched.includes(column)) for (const tag of own) found.add(tag);
    this.tags = [...found].sort();
    return this.tags;
  }
}

function copyOf(columns: readonly string[] | null | undefined): string[] | null {
  return columns === null ? null : [...(columns ?? NONE)];
}

function union(a: readonly string[] | null, b: readonly string[] | null): string[] | null {
  return a === null || b === null ? null : [...new Set([...a, ...b])];
}
