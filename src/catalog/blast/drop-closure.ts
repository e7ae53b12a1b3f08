/**
 * What DROP takes with it: the server's own rules (findDependentObjects and reportDependentObjects in dependency.c) over
 * rows of pg_depend. Pure.
 */

/** An object: catalog, OID, and column number (0: the whole object). */
export type Address = { readonly catalog: number; readonly oid: number; readonly column: number };
/** A row of pg_depend. `type`: n, a, i, P, S, e or x. */
export type Dependency = { readonly dependent: Address; readonly on: Address; readonly type: string };

export type DropClosure = {
  /** Dropped without a word, because they are parts of what is dropped: also without CASCADE. */
  readonly parts: readonly Address[];
  /** Dropped by CASCADE; without it, they make the DROP fail. */
  readonly cascade: readonly Address[];
  /** What the server refuses in any case: an object that is itself part of another one. */
  readonly refused: { readonly object: Address; readonly owner: Address } | null;
};

const ORIGINAL = 1;
const NORMAL = 2;
/** Reached by an automatic, internal, partition or extension dependency. */
const PART = 4;
const SUBOBJECT = 8;
/** A part of a partitioned one, which goes only with that; and it was reached that way. */
const IS_PARTITION = 16;
const AS_PARTITION = 32;

/** Deeper chains are not followed. */
const DEEPEST = 1_500;

type Visit = { readonly object: Address; flags: number; readonly outer: Visit | null };

/** Throws `RangeError` for a chain of dependencies that is too deep to be followed. */
export function dropClosure(targets: readonly Address[], dependencies: readonly Dependency[]): DropClosure {
  const walk = new Walk(targets, dependencies);
  for (const target of targets) walk.find(target, ORIGINAL, null, 0);
  const parts: Address[] = [];
  const cascade: Address[] = [];
  for (const { object, flags } of walk.found.values()) {
    const owner = walk.partitionOf(object);
    if ((flags & IS_PARTITION) !== 0 && (flags & AS_PARTITION) === 0 && owner !== null)
      walk.refused ??= { object, owner };
    if ((flags & (ORIGINAL | SUBOBJECT)) === 0) ((flags & PART) === 0 ? cascade : parts).push(object);
  }
  return { parts, cascade, refused: walk.refused };
}

class Walk {
  /** By `key`; in the order in which they were found. */
  readonly found = new Map<string, { readonly object: Address; flags: number }>();
  refused: DropClosure['refused'] = null;
  readonly #targets: readonly Address[];
  readonly #byDependent: ReadonlyMap<string, readonly Dependency[]>;
  readonly #byOwner: ReadonlyMap<string, readonly Dependency[]>;
  /** Columns that were found before their table. */
  readonly #columns = new Map<string, Set<string>>();

  constructor(targets: readonly Address[], dependencies: readonly Dependency[]) {
    this.#targets = targets;
    this.#byDependent = grouped(dependencies, ({ dependent }) => dependent);
    this.#byOwner = grouped(dependencies, ({ on }) => on);
  }

  find(object: Address, flags: number, outer: Visit | null, depth: number): void {
    if (depth > DEEPEST) throw new RangeError('the dependencies are nested too deeply');
    if (onStack(object, flags, outer) || this.#known(object, flags)) return;
    if (this.#goesWithOwner(object, flags, outer, depth)) return;
    const partition = this.partitionOf(object) === null ? 0 : IS_PARTITION;
    const visit: Visit = { object, flags: flags | partition, outer };
    for (const { dependent, type } of this.#dependents(object))
      this.find(dependent, flagOf(type), visit, depth + 1);
    this.#add(object, visit.flags);
  }

  /** What an object is a partition of, as far as dependencies say it: indexes and triggers of partitions. */
  partitionOf(object: Address): Address | null {
    const [found] = (this.#byDependent.get(wholeKey(object)) ?? []).filter(({ type }) => type === 'P');
    return found?.on ?? null;
  }

  /** An object that is an internal part of another one is dropped with it, or not at all. */
  #goesWithOwner(object: Address, flags: number, outer: Visit | null, depth: number): boolean {
    for (const { on, type, dependent } of this.#byDependent.get(wholeKey(object)) ?? []) {
      if (type !== 'i' && type !== 'e') continue;
      if (object.column !== 0 && dependent.column !== object.column) continue;
      if (sameWhole(on, object) && object.column === 0) continue;
      if (outer === null) {
        // Another target of the same command takes it.
        if (this.#targets.some((target) => covers(target, on))) return true;
        this.refused = { object, owner: on };
        continue;
      }
      if (onStack(on, 0, outer)) continue;
      this.find(on, 0, outer, depth + 1);
      this.#known(object, flags);
      return true;
    }
    return false;
  }

  #dependents(object: Address): readonly Dependency[] {
    return (this.#byOwner.get(wholeKey(object)) ?? [])
      .filter(({ on, dependent }) => {
        if (object.column !== 0) return on.column === object.column;
        return !sameWhole(dependent, object);
      })
      .sort((a, b) => b.dependent.oid - a.dependent.oid || a.dependent.column - b.dependent.column);
  }

  /** Whether it was found already, itself or as a part of a whole that was; takes note of how it was reached. */
  #known(object: Address, flags: number): boolean {
    const same = this.found.get(key(object));
    if (same !== undefined) {
      same.flags |= flags;
      return true;
    }
    if (object.column !== 0) return this.found.has(key({ ...object, column: 0 }));
    for (const column of this.#columns.get(wholeKey(object)) ?? []) {
      const part = this.found.get(column);
      if (part !== undefined && flags !== 0) part.flags |= flags | SUBOBJECT;
    }
    return false;
  }

  #add(object: Address, flags: number): void {
    this.found.set(key(object), { object, flags });
    if (object.column === 0) return;
    const whole = wholeKey(object);
    this.#columns.set(whole, (this.#columns.get(whole) ?? new Set()).add(key(object)));
  }
}

function flagOf(type: string): number {
  if (type === 'n') return NORMAL;
  return type === 'P' || type === 'S' ? PART | AS_PARTITION : PART;
}

function onStack(object: Address, flags: number, top: Visit | null): boolean {
  for (let visit = top; visit !== null; visit = visit.outer) {
    if (!sameWhole(visit.object, object)) continue;
    if (visit.object.column === object.column) {
      visit.flags |= flags;
      return true;
    }
    if (visit.object.column === 0) return true;
  }
  return false;
}

function covers(target: Address, object: Address): boolean {
  return sameWhole(target, object) && (target.column === 0 || target.column === object.column);
}

function sameWhole(a: Address, b: Address): boolean {
  return a.catalog === b.catalog && a.oid === b.oid;
}

export function wholeKey({ catalog, oid }: Address): string {
  return `${catalog}:${oid}`;
}

function key({ catalog, oid, column }: Address): string {
  return `${catalog}:${oid}:${column}`;
}

function grouped(
  dependencies: readonly Dependency[],
  of: (dependency: Dependency) => Address,
): ReadonlyMap<string, readonly Dependency[]> {
  const groups = new Map<string, Dependency[]>();
  for (const dependency of dependencies) {
    const name = wholeKey(of(dependency));
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [dependency]);
    else group.push(dependency);
  }
  return groups;
}
