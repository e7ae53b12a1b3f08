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
  #pending: Change<V, Tag>[] = [];

  /** Names known for certain. */
  get size(): number {
    return this.#confirmed.size;
  }

  propose(name: string, value: V | null, tag: Tag, group: number): void {
    this.#pending.push({ name, value, tag, group });
  }

  /** A pending value counts only within its own Sync group: there, order is certain. */
  lookup(name: string, group: number): Lookup<V> {
    for (let i = this.#pending.length - 1; i >= 0; i--) {
      const change = this.#pending[i];
      if (change === undefined || change.name !== name) continue;
      if (change.group !== group) return SETTLE;
      return change.value === null ? ABSENT : { kind: 'found', value: change.value };
    }
    const value = this.#confirmed.get(name);
    return value === undefined ? ABSENT : { kind: 'found', value };
  }

  /** The server did what the entry asked for. */
  confirm(tag: Tag): void {
    if (this.#pending.length === 0) return;
    const rest: Change<V, Tag>[] = [];
    for (const change of this.#pending) {
      if (change.tag !== tag) rest.push(change);
      else this.set(change.name, change.value);
    }
    this.#pending = rest;
  }

  /** The server refused or skipped the entry. */
  drop(tag: Tag): void {
    if (this.#pending.length > 0) this.#pending = this.#pending.filter((change) => change.tag !== tag);
  }

  /** At once, for what the server does by itself (a Query destroys the unnamed statement, DEALLOCATE ALL …). */
  set(name: string, value: V | null): void {
    if (value === null) this.#confirmed.delete(name);
    else this.#confirmed.set(name, value);
  }

  /** Deletes every confirmed name for which `gone` says so. */
  deleteWhere(gone: (value: V) => boolean): void {
    for (const [name, value] of this.#confirmed) if (gone(value)) this.#confirmed.delete(name);
  }
}
