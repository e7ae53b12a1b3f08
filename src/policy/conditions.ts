import type { StatementClass } from '../statement/analysis.ts';
import { globMatches } from '../statement/glob.ts';
import { globsCoverAll } from './glob-cover.ts';
import type { PolicyRule } from './rule.ts';

/**
 * What is to be known of each condition that a rule can have, beside how it is matched (`match.ts`): in one table,
 * complete by type, so that a new condition cannot be forgotten by `policy check` and `policy diff`.
 */

export type Match = PolicyRule['match'];
export type ConditionKey = keyof Match;

/** An agent as configured, and a class: in such a cell, conditions on these are simply true or false. */
export type Cell = {
  readonly agent: string;
  readonly owner: string | null;
  readonly role: string;
  /** Null: the agent chooses. */
  readonly database: string | null;
  readonly class: StatementClass;
};

/** Names of the upstream catalog that conditions can be about. */
export type NameKind = 'relation' | 'column' | 'function' | 'tag';

export type Condition<K extends ConditionKey> = {
  /** For people. */
  readonly called: string;
  /** Whether it holds in a cell; null: the cell does not say. */
  readonly inCell: (wanted: NonNullable<Match[K]>, cell: Cell) => boolean | null;
  /**
   * Asked where the cell does not say: does `earlier` hold wherever `later` does? Only `true` where that is certain.
   * `later` is undefined where the later rule has no such condition.
   */
  readonly covers: (earlier: Sided<K>, later: Sided<K> | null) => boolean;
  /** The catalog's names that its globs are over; null: none. */
  readonly names: NameKind | null;
  /** The audit log says what it needs. */
  readonly recorded: boolean;
};

/** A condition with its rule's decision, on which quantifiers depend (`match.ts`). */
export type Sided<K extends ConditionKey> = {
  readonly wanted: NonNullable<Match[K]>;
  readonly decision: PolicyRule['decision'];
};

/** `Exclude`: so that no key is optional. */
type ConditionTable = { readonly [K in Exclude<ConditionKey, never>]: Condition<K> };

export const CONDITIONS: ConditionTable = {
  agent: ofSession('agent', (cell) => cell.agent),
  owner: ofSession('owner', (cell) => cell.owner ?? []),
  role: ofSession('role', (cell) => cell.role),
  database: ofSession('database', (cell) => cell.database),
  class: {
    called: 'class',
    inCell: (wanted, cell) => wanted.includes(cell.class),
    covers: () => false,
    names: null,
    recorded: true,
  },
  relation: {
    called: 'relation',
    inCell: () => null,
    covers: relationsCover,
    names: 'relation',
    recorded: true,
  },
};

/** Keys of the conditions that a rule has. */
export function conditionsOf(match: Match): readonly ConditionKey[] {
  return (Object.keys(CONDITIONS) as ConditionKey[]).filter((key) => match[key] !== undefined);
}

/** `of`: the value in the cell; null: not known there; an empty list: there is none, so nothing matches. */
function ofSession(
  called: string,
  of: (cell: Cell) => string | null | readonly never[],
): Condition<'agent' | 'owner' | 'role' | 'database'> {
  return {
    called,
    inCell: (wanted, cell) => {
      const value = of(cell);
      if (value === null) return null;
      return typeof value === 'string' && wanted.some((glob) => globMatches(glob, value));
    },
    covers: (earlier, later) => later !== null && globsCoverAll(earlier.wanted, later.wanted),
    names: null,
    recorded: true,
  };
}

/**
 * To hold or deny, one relation is enough, and one whose schema is not known is compared by its name alone; to allow, all
 * must match, with their schema.
 */
function relationsCover(earlier: Sided<'relation'>, later: Sided<'relation'> | null): boolean {
  if (later === null) return false;
  const whole = globsCoverAll(earlier.wanted, later.wanted);
  if (later.decision === 'allow') return whole;
  if (earlier.decision === 'allow') return false;
  return whole && globsCoverAll(earlier.wanted.map(withoutSchema), later.wanted.map(withoutSchema));
}

/** As `match.ts` cuts it. */
function withoutSchema(glob: string): string {
  return glob.slice(glob.indexOf('.') + 1);
}
