/**
 * Prepared statements and portals by name (WIRE rules: one confirmed value, an ordered list of pending changes).
 * "Restore the old value on error" would be wrong: a Close that the server skipped must not have happened here.
 */

export type Change<V, Tag> = {
  readonly name: string;
  /** Null: the name is gone. */
  readonly value: V | null;
  /** The ledger entry whose reply decides. */
  readonly tag: Tag;
  readonly group: number;
};

export type Lookup<V> =
  | { readonly kind: 'found'; readonly value: V }
  | { readonly kind: 'absent' }
  /** A change of an earlier group is under way: the answer is not known until its reply is there. */
  | { readonly kind: 'settle' };

const ABSENT = { kind: 'absent' } as const;
const SETTLE = { kind: 'settle' } as const;

export class Names<V, Tag> {
  readonly #confirmed = new Map<string, V>();
  /** Pending changes by tag and, in the order they were sent, by name: a client can have very many under way. */
  readonly #byTag = new Map<Tag, Change<V, Tag>[]>();
  readonly #byName = new Map<string, Set<Change<V, Tag>>>();
  /** The latest pending change of each name. */
  readonly #last = new Map<string, Change<V, Tag>>();
  /** What may delete every name and is under way. */
  readonly #clears = new Set<Tag>();
  #changes = 0;

  /** Names known for certain. */
  get size(): number {
    return this.#confirmed.size;
  }

  /** Rises whenever a name may have come to mean something else. */
  get changes(): number {
    return this.#changes;
  }

  propose(name: string, value: V | null, tag: Tag, group: number): void {
    const change = { name, value, tag, group };
    this.#changes += 1;
    append(this.#byTag, tag, change);
    const sameName = this.#byName.get(name);
    if (sameName === undefined) this.#byName.set(name, new Set([change]));
    else sameName.add(change);
    this.#last.set(name, change);
  }

  /** The entry may delete every name; what it deletes is said when it is confirmed. */
  proposeClear(tag: Tag): void {
    this.#changes += 1;
    this.#clears.add(tag);
  }

  /** A pending value counts only within its own Sync group: there, order is certain. */
  lookup(name: string, group: number): Lookup<V> {
    if (this.#clears.size > 0) return SETTLE;
    const change = this.#last.get(name);
    if (change !== undefined) {
      if (change.group !== group) return SETTLE;
      return change.value === null ? ABSENT : { kind: 'found', value: change.value };
    }
    const value = this.#confirmed.get(name);
    return value === undefined ? ABSENT : { kind: 'found', value };
  }

  /** The server did what the entry asked for. */
  confirm(tag: Tag): void {
    this.#clears.delete(tag);
    for (const { name, value } of this.#take(tag)) this.#put(name, value);
  }

  /** The server refused or skipped the entry. */
  drop(tag: Tag): void {
    const cleared = this.#clears.delete(tag);
    if (this.#take(tag).length > 0 || cleared) this.#changes += 1;
  }

  /** At once, for what the server does by itself (a Query destroys the unnamed statement, DEALLOCATE ALL …). */
  set(name: string, value: V | null): void {
    this.#changes += 1;
    this.#put(name, value);
  }

  /** Deletes every confirmed name for which `gone` says so. */
  deleteWhere(gone: (value: V, name: string) => boolean): void {
    for (const [name, value] of this.#confirmed)
      if (gone(value, name)) {
        this.#confirmed.delete(name);
        this.#changes += 1;
      }
  }

  #put(name: string, value: V | null): void {
    if (value === null) this.#confirmed.delete(name);
    else this.#confirmed.set(name, value);
  }

  #take(tag: Tag): readonly Change<V, Tag>[] {
    const changes = this.#byTag.get(tag);
    if (changes === undefined) return NONE;
    this.#byTag.delete(tag);
    for (const change of changes) {
      const sameName = this.#byName.get(change.name);
      sameName?.delete(change);
      if (sameName === undefined || sameName.size === 0) {
        this.#byName.delete(change.name);
        this.#last.delete(change.name);
      } else if (this.#last.get(change.name) === change) {
        for (const other of sameName) this.#last.set(change.name, other);
      }
    }
    return changes;
  }
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

const NONE: readonly never[] = [];
