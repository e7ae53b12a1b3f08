import {
  type RelationUse,
  STATEMENT_CLASSES,
  type StatementAnalysis,
  type StatementClass,
  type SymbolUse,
  type UnresolvedName,
} from './analysis.ts';
import type { Doubt } from './answers.ts';

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
  unresolved: UnresolvedName | null = null;
  doubt: Doubt | null = null;
  /** A name in it could mean a user's object. */
  namesInDoubt = false;
  /** Built-in functions that were judged by their arguments. */
  readonly argumentsJudged = new Set<string>();
  calls: readonly string[] = NO_CALLS;
  measured = false;
  readonly relations: RelationUse[] = [];
  readonly symbols: SymbolUse[] = [];
  readonly secrets: (readonly [number, number])[] = [];
  /** Parameters (`$n`) whose values change the class or the row bound. */
  parameters: Set<number> | null = null;
  /** Why it is an export by its size alone; the class is raised for it when all else about the statement is known. */
  large: string[] | null = null;
  /** More rows than the limit may be folded into few values. */
  foldsMany = false;
  /** Its size hangs on something of which the planner has no idea, but a fixed guess (recursion). */
  beyondPlanner = false;
  #reasons: string[] | null = null;

  /** Raises the class if it is higher; keeps the reasons of the highest one. */
  raise(to: StatementClass, reason?: string): void {
    if (RANK[to] < RANK[this.class]) return;
    if (RANK[to] > RANK[this.class]) {
      this.class = to;
      this.#reasons = null;
    }
    if (reason === undefined) return;
    if (this.#reasons === null) this.#reasons = [reason];
    else if (this.#reasons.length < MOST_REASONS && !this.#reasons.includes(reason))
      this.#reasons.push(reason);
  }

  /** Nothing in text and catalog bounds what it returns, or folds into few values. */
  tooLarge(reason: string): void {
    this.large ??= [];
    if (this.large.length < MOST_REASONS && !this.large.includes(reason)) this.large.push(reason);
  }

  get reasons(): readonly string[] {
    return this.#reasons ?? PLAIN[this.class] ?? [`${this.command} is ${this.class}`];
  }

  /** Takes over what a contained statement is (EXPLAIN ANALYZE, PREPARE, DECLARE …). */
  absorb(inner: StatementAnalysis): void {
    for (const reason of inner.reasons) this.raise(inner.class, PLAIN[inner.class] ? undefined : reason);
    for (const use of inner.relations) this.use(use);
    this.secrets.push(...inner.secrets);
    for (const parameter of inner.dependsOnParameters) this.dependOn(parameter);
    if (inner.changesPinned) this.changesPinned = true;
    if (inner.runsUserCode === true) this.runsUserCode = true;
    if (inner.unresolved !== null) this.unresolved = inner.unresolved;
    if (inner.measured) this.measured = true;
    if (inner.calls.length > 0) this.calls = [...this.calls, ...inner.calls];
  }

  dependOn(parameter: number): void {
    this.parameters ??= new Set();
    this.parameters.add(parameter);
  }

  use(use: RelationUse): void {
    for (const known of this.relations) {
      if (known.name === use.name && known.schema === use.schema && known.mode === use.mode) return;
    }
    this.relations.push(use);
  }

  finish(start: number, end: number): StatementAnalysis {
    const rank = RANK[this.class];
    const unknown = this.class === 'opaque' || this.class === 'unparsed';
    return {
      start,
      end,
      command: this.command,
      class: this.class,
      reasons: this.reasons,
      relations: this.relations,
      symbols: this.symbols,
      // Code that nobody knows may do any of these.
      changesSearchPath: this.changesSearchPath || unknown,
      makesTemp: this.makesTemp || unknown,
      changesCatalog: this.changesCatalog || rank >= RANK.ddl,
      changesPinned: this.changesPinned,
      runsUserCode: this.runsUserCode,
      rowBound: this.rowBound,
      secrets: this.secrets,
      dependsOnParameters: this.parameters === null ? NO_PARAMETERS : [...this.parameters],
      unresolved: this.unresolved,
      doubt: this.doubt,
      measured: this.measured,
      calls: this.calls,
    };
  }
}

const NO_CALLS: readonly string[] = [];
const NO_PARAMETERS: readonly number[] = [];

/** True where `a` is a higher class than `b`. */
export function isHigher(a: StatementClass, b: StatementClass): boolean {
  return RANK[a] > RANK[b];
}
