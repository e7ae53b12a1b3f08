import {
  type Measure,
  type RelationUse,
  STATEMENT_CLASSES,
  type StatementAnalysis,
  type StatementClass,
  type StatementSizes,
  type SymbolUse,
  type UnresolvedName,
} from './analysis.ts';
import type { Doubt } from './answers.ts';
import type { Relation } from './catalog.ts';
import { causeAt } from './cause.ts';
import { type Cause, Details, NO_DETAILS, type RowBoundBy } from './details.ts';
import { NotedUse } from './relation-use.ts';

const RANK: Readonly<Record<StatementClass, number>> = Object.fromEntries(
  STATEMENT_CLASSES.map((name, index) => [name, index]),
) as Record<StatementClass, number>;

/** More reasons than this help nobody. */
const MOST_REASONS = 8;

const PLAIN: Readonly<Partial<Record<StatementClass, readonly string[]>>> = {
  session: ['changes nothing but the session'],
  read: ['only reads'],
  write: ['an ordinary write'],
};

/** What was seen in one statement so far. The class only rises. */
export class Facts {
  class: StatementClass = 'session';
  command = '';
  changesSearchPath = false;
  makesTemp = false;
  changesCatalog = false;
  changesPinned = false;
  runsUserCode = false;
  rowBound: number | null = null;
  rowBoundBy: RowBoundBy | null = null;
  /** Schemas of which it touches relations that it does not name; null: any. */
  #reaches: (string | null)[] | null = null;
  /** What it does beside its own command. */
  #commands: string[] | null = null;
  /** Rows that its result can carry; null: it has none that was measured. `Infinity`: nothing bounds them. */
  carriedRows: number | null = null;
  /** Rows that are folded into the values of a cursor's rows; null: `carriedRows` tells. */
  foldedRows: number | null = null;
  /** The same by the planner's estimate. */
  expectedRows: number | null = null;
  /** Rows that it may write. `Infinity`: nothing bounds them. */
  writtenRows = 0;
  unresolved: UnresolvedName | null = null;
  doubt: Doubt | null = null;
  /** A name in it could mean a user's object. */
  namesInDoubt = false;
  /** Built-in functions that were judged by their arguments. */
  readonly argumentsJudged = new Set<string>();
  calls: readonly string[] = NO_CALLS;
  measured: Measure | null = null;
  /** Byte of the part that is being walked; -1: the statement as a whole. */
  at = -1;
  readonly relations: NotedUse[] = [];
  readonly symbols: SymbolUse[] = [];
  readonly secrets: (readonly [number, number])[] = [];
  /** Parameters (`$n`) whose values change the class or the row bound. */
  parameters: Set<number> | null = null;
  /** Why it is an export by its size alone; the class is raised for it when all else about the statement is known. */
  large: string[] | null = null;
  /** Byte of what is too large. */
  largeAt = -1;
  /** More rows than the limit may be folded into few values. */
  foldsMany = false;
  /** Its size hangs on something of which the planner has no idea, but a fixed guess (recursion). */
  beyondPlanner = false;
  #details: Details | null = null;
  #causeAt = -1;
  /** The cause that a contained statement found. */
  #cause: Cause | null = null;
  #reasons: string[] | null = null;

  /** Raises the class if it is higher; keeps the reasons of the highest one. */
  raise(to: StatementClass, reason?: string): void {
    if (RANK[to] < RANK[this.class]) return;
    if (RANK[to] > RANK[this.class]) {
      this.class = to;
      this.#causeAt = this.at;
      this.#cause = null;
      this.#reasons = null;
    }
    if (reason === undefined) return;
    if (this.#reasons === null) this.#reasons = [reason];
    else if (this.#reasons.length < MOST_REASONS && !this.#reasons.includes(reason))
      this.#reasons.push(reason);
  }

  /** Nothing in text and catalog bounds what it returns, or folds into few values. */
  tooLarge(reason: string): void {
    if (this.large === null) this.largeAt = this.at;
    this.large ??= [];
    if (this.large.length < MOST_REASONS && !this.large.includes(reason)) this.large.push(reason);
  }

  get reasons(): readonly string[] {
    return this.#reasons ?? PLAIN[this.class] ?? [`${this.command} is ${this.class}`];
  }

  /** Takes over what a contained statement is (PREPARE, DECLARE …). */
  absorb(inner: StatementAnalysis): void {
    const raises = isHigher(inner.class, this.class);
    this.absorbFacts(inner);
    for (const reason of inner.reasons) this.raise(inner.class, PLAIN[inner.class] ? undefined : reason);
    if (raises) this.#cause = inner.cause;
    for (const parameter of inner.dependsOnParameters) this.dependOn(parameter);
    if (inner.changesPinned) this.changesPinned = true;
    if (inner.runsUserCode === true) this.runsUserCode = true;
    if (inner.unresolved !== null) this.unresolved = inner.unresolved;
    if (inner.measured !== null && this.measured !== 'export') this.measured = inner.measured;
    if (inner.sizes !== undefined) this.#addSizes(inner.sizes);
    for (const schema of inner.reaches ?? NO_TAGS) this.reach(schema);
    for (const command of inner.commands ?? [inner.command]) this.does(command);
    if (inner.calls.length > 0) this.calls = [...this.calls, ...inner.calls];
  }

  #addSizes({ carried, expected, written }: StatementSizes): void {
    this.carriedRows = Math.max(this.carriedRows ?? 0, carried ?? Number.POSITIVE_INFINITY);
    this.expectedRows = expected;
    this.writtenRows += written ?? Number.POSITIVE_INFINITY;
  }

  /** As `absorb`, where the contained statement runs now: also what it changes for those after it. */
  absorbRun(inner: StatementAnalysis): void {
    this.absorb(inner);
    if (inner.changesSearchPath) this.changesSearchPath = true;
    if (inner.makesTemp) this.makesTemp = true;
    if (inner.changesCatalog) this.changesCatalog = true;
  }

  /** What it names and crosses, and what is secret in it. */
  absorbFacts(inner: StatementAnalysis, mode?: 'read'): void {
    for (const use of inner.relations) this.use(mode === undefined ? use : { ...use, mode });
    this.secrets.push(...inner.secrets);
    this.details.addAll(inner);
  }

  /** For adding to; made when it is first asked for. */
  get details(): Details {
    this.#details ??= new Details();
    return this.#details;
  }

  does(command: string): void {
    this.#commands ??= [];
    if (!this.#commands.includes(command)) this.#commands.push(command);
  }

  /** The parts of an ALTER TABLE say what it does; all else is done beside the command itself. */
  #all(): { readonly commands?: readonly string[] } {
    const { command } = this;
    const more = this.#commands;
    if (more === null || more.every((one) => one === command)) return NOTHING_MORE;
    const parts = more.every((one) => one.startsWith(`${command} `));
    return { commands: parts || more.includes(command) ? more : [command, ...more] };
  }

  /** All of a schema; null: of any. */
  reach(schema: string | null): void {
    this.#reaches ??= [];
    if (!this.#reaches.includes(schema)) this.#reaches.push(schema);
  }

  dependOn(parameter: number): void {
    this.parameters ??= new Set();
    this.parameters.add(parameter);
  }

  /** The use as it is noted: one for each relation and mode. `relation`: what the catalog knows of it. */
  use(use: RelationUse, relation: Relation | null = null): NotedUse {
    for (const known of this.relations) {
      if (known.name !== use.name || known.schema !== use.schema || known.mode !== use.mode) continue;
      if (use.columns !== undefined) known.merge(use.columns);
      if (use.tags !== undefined) known.tag(use.tags);
      return known;
    }
    const noted = new NotedUse(use, relation);
    this.relations.push(noted);
    return noted;
  }

  /** Why the class is what it is; nothing singles a part out in what only reads. */
  #causeIn(sql: Buffer, start: number, end: number): Cause | null {
    if (RANK[this.class] <= RANK.read) return null;
    return this.#cause ?? causeAt(sql, this.#causeAt, start, end);
  }

  #sizes(carried: number): StatementSizes {
    const { expectedRows, writtenRows, foldedRows } = this;
    return {
      carried: countOf(carried),
      ...(foldedRows === null ? NO_SIZES : { folded: Math.min(foldedRows, Number.MAX_SAFE_INTEGER) }),
      expected: expectedRows === null ? null : countOf(expectedRows),
      written: countOf(writtenRows),
    };
  }

  #tags(): readonly string[] {
    let tags: Set<string> | null = null;
    for (const use of this.relations)
      for (const tag of use.settle()) {
        tags ??= new Set();
        tags.add(tag);
      }
    return tags === null ? NO_TAGS : [...tags].sort();
  }

  /** `sql`: the text that `start` and `end` are bytes of; null: another one, in which no cause can be shown. */
  finish(sql: Buffer | null, start: number, end: number): StatementAnalysis {
    const details = this.#details ?? NO_DETAILS;
    const rank = RANK[this.class];
    const unknown = this.class === 'opaque' || this.class === 'unparsed';
    return {
      start,
      end,
      command: this.command,
      class: this.class,
      reasons: this.reasons,
      cause: sql === null ? null : this.#causeIn(sql, start, end),
      relations: this.relations,
      ...this.#all(),
      ...(this.#reaches === null ? NO_REACH : { reaches: this.#reaches }),
      tags: this.relations.length === 0 ? NO_TAGS : this.#tags(),
      symbols: this.symbols,
      // Code that nobody knows may do any of these.
      changesSearchPath: this.changesSearchPath || unknown,
      makesTemp: this.makesTemp || unknown,
      changesCatalog: this.changesCatalog || rank >= RANK.ddl,
      changesPinned: this.changesPinned,
      runsUserCode: this.runsUserCode,
      rowBound: this.rowBound,
      rowBoundBy: this.rowBoundBy,
      ...(this.carriedRows === null ? NO_SIZES : { sizes: this.#sizes(this.carriedRows) }),
      secrets: this.secrets,
      dependsOnParameters: this.parameters === null ? NO_PARAMETERS : [...this.parameters],
      unresolved: this.unresolved,
      doubt: this.doubt,
      measured: this.measured,
      calls: this.calls,
      functions: details.functions,
      operators: details.operators,
      types: details.types,
      casts: details.casts,
      settings: details.settings,
      roles: details.roles,
      boundary: details.boundary,
    };
  }
}

const NO_CALLS: readonly string[] = [];
const NO_SIZES = {};
const NO_REACH = {};
const NOTHING_MORE = {};
const NO_PARAMETERS: readonly number[] = [];
const NO_TAGS: readonly string[] = [];

/** Whole rows; null: nothing bounds them. */
function countOf(rows: number): number | null {
  return Number.isFinite(rows) ? Math.ceil(rows) : null;
}

/** True where `a` is a higher class than `b`. */
export function isHigher(a: StatementClass, b: StatementClass): boolean {
  return RANK[a] > RANK[b];
}
