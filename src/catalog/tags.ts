import { globMatches } from '../statement/glob.ts';
import { FIRST_USER_OID, label } from './rows.ts';
import type { Snapshot } from './snapshot.ts';

/** Tags that configuration gives: to relations (a glob over `schema.name`), or to their columns (a glob). */
export type TagRule = {
  readonly relation: string;
  readonly column?: string;
  readonly tags: readonly string[];
};

export type Tags = {
  readonly relation: readonly string[];
  readonly columns: ReadonlyMap<string, readonly string[]>;
};

const NO_TAGS: readonly string[] = [];

/**
 * Works out the tags of relations: their own, by comment and by configuration (neither takes the other's away); those
 * of the tables they are part of or made of (the rows are the same); and, for a view, those of what it reads.
 */
export class Tagger {
  readonly #snapshot: Snapshot;
  readonly #rules: readonly TagRule[];
  readonly #columnsOf: (oid: number) => readonly string[];
  readonly #own = new Map<number, Tags | null>();

  constructor(snapshot: Snapshot, rules: readonly TagRule[], columnsOf: (oid: number) => readonly string[]) {
    this.#snapshot = snapshot;
    this.#rules = rules;
    this.#columnsOf = columnsOf;
  }

  /** Null: it has none. */
  tags(oid: number): Tags | null {
    if (oid < FIRST_USER_OID) return null;
    if (this.#rules.length === 0 && this.#snapshot.tagComments.size === 0) return null;
    const relation = new Set<string>();
    const columns = new Map<string, Set<string>>();
    for (const member of this.#family(oid)) {
      const own = this.#ownTags(member);
      for (const tag of own?.relation ?? NO_TAGS) relation.add(tag);
      for (const [column, tags] of own?.columns ?? []) addTo(columns, column, tags);
    }
    for (const tag of this.#below(oid)) relation.add(tag);
    if (relation.size === 0 && columns.size === 0) return null;
    return {
      relation: [...relation].sort(),
      columns: new Map([...columns].map(([column, tags]) => [column, [...tags].sort()])),
    };
  }

  /** The relation, all above it and all below it: partitions and children. */
  #family(oid: number): ReadonlySet<number> {
    const family = new Set<number>();
    for (const links of [this.#snapshot.parents, this.#snapshot.children]) {
      const open = [oid];
      for (let at = open.pop(); at !== undefined; at = open.pop()) {
        if (at !== oid && family.has(at)) continue;
        family.add(at);
        open.push(...(links.get(at) ?? []));
      }
    }
    return family;
  }

  /** Tags of what a view (or a materialised one) reads, through other views too. */
  #below(view: number): ReadonlySet<string> {
    const found = new Set<string>();
    const seen = new Set<number>([view]);
    const open = [view];
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      for (const { relation, columns } of this.#snapshot.viewColumns.get(at) ?? []) {
        for (const member of this.#family(relation)) {
          const own = this.#ownTags(member);
          for (const tag of own?.relation ?? NO_TAGS) found.add(tag);
          for (const [column, tags] of own?.columns ?? [])
            if (columns === null || columns.includes(column)) for (const tag of tags) found.add(tag);
        }
        if (!seen.has(relation)) open.push(relation);
        seen.add(relation);
      }
    }
    return found;
  }

  #ownTags(oid: number): Tags | null {
    const known = this.#own.get(oid);
    if (known !== undefined) return known;
    const row = this.#snapshot.relations.get(oid);
    const relation = new Set<string>();
    const columns = new Map<string, Set<string>>();
    for (const { column, tags } of this.#snapshot.tagComments.get(oid) ?? [])
      if (column !== null) addTo(columns, column, tags);
      else for (const tag of tags) relation.add(tag);
    const rules =
      row === undefined ? [] : this.#rules.filter((rule) => globMatches(rule.relation, label(row)));
    for (const rule of rules) {
      if (rule.column === undefined) for (const tag of rule.tags) relation.add(tag);
      else
        for (const column of this.#columnsOf(oid))
          if (globMatches(rule.column, column)) addTo(columns, column, rule.tags);
    }
    const own =
      relation.size === 0 && columns.size === 0
        ? null
        : {
            relation: [...relation],
            columns: new Map([...columns].map(([column, tags]) => [column, [...tags]])),
          };
    this.#own.set(oid, own);
    return own;
  }
}

function addTo(columns: Map<string, Set<string>>, column: string, tags: readonly string[]): void {
  const known = columns.get(column) ?? new Set<string>();
  for (const tag of tags) known.add(tag);
  columns.set(column, known);
}
