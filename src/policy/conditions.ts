import type { StatementClass } from '../statement/analysis.ts';
import { globMatches } from '../statement/glob.ts';
import {
  commandsCover,
  globsOf,
  listCovers,
  partsCover,
  relationsCover,
  sizeCovers,
  timeCovers,
  wordsCover,
} from './cover.ts';
import { type NamesOf, namesColumn, namesFunction, namesRelation, namesTag } from './known-names.ts';
import type { PolicyRule, RuleMatch } from './rule.ts';
import { asMatched, type Told, toldColumns, toldRelations, toldSize, toldTags } from './told.ts';

/**
 * What is to be known of each condition that a rule can have, beside how it is matched (`match.ts`): in one table,
 * complete by type, so that `policy check` and `policy diff` forget none.
 */

export type ConditionKey = keyof RuleMatch;

/** A condition with its rule's decision, on which depends how it is read (`match.ts`). */
export type Sided<K extends ConditionKey> = {
  readonly wanted: NonNullable<RuleMatch[K]>;
  readonly decision: PolicyRule['decision'];
};

/** An agent as configured, and a class: in such a cell, conditions on these are simply true or false. */
export type Cell = {
  readonly agent: string;
  readonly owner: string | null;
  readonly role: string;
  /** Null: the agent chooses. */
  readonly database: string | null;
  readonly class: StatementClass;
};

export type Condition<K extends ConditionKey> = {
  /** Whether it holds in a cell; null: the cell does not say. */
  readonly inCell: (one: Sided<K>, cell: Cell) => boolean | null;
  /**
   * Where the cell does not say: does `earlier` hold wherever `later` does? Only `true` where that is certain. `later`
   * null: the later rule has no such condition.
   */
  readonly covers: (earlier: Sided<K>, later: Sided<K> | null) => boolean;
  /** The names in the upstream's catalog that each of its globs must have one of; null: it is not about such. */
  readonly names: NamesOf | null;
  /** Whether it held for a statement, as far as the audit log tells; null: that was not recorded. */
  readonly told: (one: Sided<K>, told: Told) => boolean | null;
};

/** `Exclude`: so that no key is optional. */
type ConditionTable = { readonly [K in Exclude<ConditionKey, never>]: Condition<K> };

const unsaid = () => null;

export const CONDITIONS: ConditionTable = {
  agent: ofSession('agent', (cell) => cell.agent),
  owner: ofSession('owner', (cell) => cell.owner),
  role: ofSession('role', (cell) => cell.role),
  database: {
    ...ofSession('database', (cell) => cell.database),
    inCell: ({ wanted }, { database }) => (database === null ? null : isOneOf(wanted, database)),
  },
  class: {
    inCell: ({ wanted }, cell) => wanted.includes(cell.class),
    covers: listCovers,
    names: null,
    told: asMatched('class'),
  },
  command: { inCell: unsaid, covers: commandsCover, names: null, told: unsaid },
  relation: { inCell: unsaid, covers: relationsCover, names: namesRelation, told: toldRelations },
  column: { inCell: unsaid, covers: partsCover, names: namesColumn, told: toldColumns },
  function: { inCell: unsaid, covers: partsCover, names: namesFunction, told: unsaid },
  tag: { inCell: unsaid, covers: wordsCover, names: namesTag, told: toldTags },
  boundary: { inCell: unsaid, covers: listCovers, names: null, told: unsaid },
  rows: { inCell: unsizedInCell, covers: sizeCovers, names: null, told: toldSize },
  bytes: { inCell: unsizedInCell, covers: sizeCovers, names: null, told: toldSize },
  time: { inCell: unsaid, covers: timeCovers, names: null, told: asMatched('time') },
};

/** Keys of the conditions that a rule has. */
export function conditionsOf(match: RuleMatch): readonly ConditionKey[] {
  return (Object.keys(CONDITIONS) as ConditionKey[]).filter((key) => match[key] !== undefined);
}

type SessionKey = 'agent' | 'owner' | 'role' | 'database';

function ofSession<K extends SessionKey>(key: K, valueIn: (cell: Cell) => string | null): Condition<K> {
  return {
    inCell: ({ wanted }, cell) => isOneOf(wanted, valueIn(cell)),
    covers: (earlier, later) => later !== null && globsOf(earlier.wanted).cover(later.wanted),
    names: null,
    told: asMatched(key),
  };
}

function isOneOf(globs: readonly string[], value: string | null): boolean {
  return value !== null && globs.some((glob) => globMatches(glob, value));
}

/** What nobody could read has no size. */
function unsizedInCell(_one: unknown, cell: Cell): boolean | null {
  return cell.class === 'unparsed' ? false : null;
}
