import type { Comparison, Recorded, Ruling } from './replay.ts';

/** Statements that are decided otherwise in the same way. */
export type ChangedGroup = {
  readonly what: Extract<Comparison, { kind: 'changed' }>['what'];
  readonly from: Ruling;
  readonly to: Ruling;
  readonly agent: string;
  readonly class: string;
  /** As recorded; empty: none. */
  readonly relations: readonly string[];
  readonly statements: number;
  /** Text of the latest one; null: erased. Attacker-controlled. */
  readonly example: string | null;
};

/** Statements of which nobody can say what is decided, because conditions hang on what was not recorded. */
export type UntoldGroup = {
  readonly rules: readonly string[];
  readonly conditions: readonly string[];
  readonly agent: string;
  readonly class: string;
  readonly relations: readonly string[];
  readonly statements: number;
  readonly example: string | null;
};

export type PolicyDiff = {
  readonly statements: number;
  readonly same: number;
  /** Of these, by another rule. */
  readonly byAnotherRule: number;
  readonly changed: number;
  readonly untold: number;
  /** Of all: those of which the log does not tell enough, and that were decided by another look at their text. */
  readonly byText: number;
  /** Most frequent first. */
  readonly changes: readonly ChangedGroup[];
  readonly unknowns: readonly UntoldGroup[];
  /** Statements of further groups, which are not listed. */
  readonly unlisted: number;
};

/** The names in a statement are the agent's choice: groups beyond these are only counted. */
const MOST_GROUPS = 10_000;

/** Adds comparisons up, by rules, agent, class and relations. */
export class DiffTally {
  readonly #changes = new Map<string, { -readonly [K in keyof ChangedGroup]: ChangedGroup[K] }>();
  readonly #unknowns = new Map<string, { -readonly [K in keyof UntoldGroup]: UntoldGroup[K] }>();
  #statements = 0;
  #same = 0;
  #byAnotherRule = 0;
  #changed = 0;
  #untold = 0;
  #unlisted = 0;
  #byText = 0;

  /** `byText`: the comparison is by the text of the statement, looked at again. */
  add(
    comparison: Comparison,
    recorded: Recorded,
    relations: readonly string[],
    example: string | null,
    byText = false,
  ): void {
    this.#statements++;
    if (byText) this.#byText++;
    const { agent } = recorded.context;
    const about = { agent, class: recorded.class, relations, statements: 0, example };
    if (comparison.kind === 'same') {
      this.#same++;
      if (comparison.from.rule !== comparison.to.rule) this.#byAnotherRule++;
    } else if (comparison.kind === 'changed') {
      this.#changed++;
      const { what, from, to } = comparison;
      const key = [what, from.decision, from.rule, to.decision, to.rule, agent, recorded.class, ...relations];
      this.#count(this.#changes, key, { what, from, to, ...about });
    } else {
      this.#untold++;
      const rules = distinct(comparison.because.map(({ rule }) => rule));
      const conditions = distinct(comparison.because.map(({ condition }) => condition));
      const key = [rules.join(), conditions.join(), agent, recorded.class, ...relations];
      this.#count(this.#unknowns, key, { rules, conditions, ...about });
    }
  }

  #count<T extends { statements: number; example: string | null }>(
    groups: Map<string, T>,
    parts: readonly string[],
    fresh: T,
  ): void {
    const key = JSON.stringify(parts);
    const group = groups.get(key);
    if (group !== undefined) {
      group.statements++;
      group.example = fresh.example;
    } else if (groups.size < MOST_GROUPS) groups.set(key, { ...fresh, statements: 1 });
    else this.#unlisted++;
  }

  result(): PolicyDiff {
    return {
      statements: this.#statements,
      same: this.#same,
      byAnotherRule: this.#byAnotherRule,
      changed: this.#changed,
      untold: this.#untold,
      byText: this.#byText,
      changes: [...this.#changes.values()].sort((a, b) => b.statements - a.statements),
      unknowns: [...this.#unknowns.values()].sort((a, b) => b.statements - a.statements),
      unlisted: this.#unlisted,
    };
  }
}

function distinct(words: readonly string[]): readonly string[] {
  return [...new Set(words)];
}
