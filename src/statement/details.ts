/** What a statement was seen to name and to cross, beside its class. Facts only: most statements have hardly any. */

export type Volatility = 'immutable' | 'stable' | 'volatile';

/** A function, procedure or aggregate that a statement calls (or, in a definition, writes down). */
export type FunctionUse = {
  /** Null: not written, and not the same for all that could be meant. */
  readonly schema: string | null;
  readonly name: string;
  /** Only a function of Postgres itself can be meant. */
  readonly builtin: boolean;
  /** Null: built in, unknown, or several could be meant. */
  readonly oid: number | null;
  /** Of the most volatile one that could be meant; null: nobody knows it. */
  readonly volatility: Volatility | null;
  /** Runs with its owner's rights; null: not known. */
  readonly securityDefiner: boolean | null;
};

export type SettingUse = {
  /** In lower case; `all` for RESET ALL, `*` where it is shown and nobody can tell which. */
  readonly name: string;
  /** Null: no constant, none given, or one that may hold a password. */
  readonly value: string | null;
  readonly action: 'set' | 'reset' | 'show';
};

/** What a statement can cross to from its own database, role and files. */
export const BOUNDARIES = [
  'database',
  'role',
  'server_files',
  'program',
  'network',
  'another_server',
] as const;
export type Boundary = (typeof BOUNDARIES)[number];

/** What bounds the number of rows that can come back; `nothing`: it is not bounded. */
export type RowBoundBy =
  | 'limit'
  | 'unique key'
  | 'statistics'
  | 'aggregate'
  | 'groups'
  | 'condition'
  | 'values'
  | 'table size'
  | 'fetch'
  | 'nothing';

/** The part of a statement that gave it its class. */
export type Cause = {
  /** Bytes `[start, end)` of the whole string. */
  readonly start: number;
  readonly end: number;
  /** 1-based, in characters (code points), in the whole string. */
  readonly position: number;
};

export type StatementDetails = {
  readonly functions: readonly FunctionUse[];
  /** Operators that are not built in, or may mean one that is not, as written. */
  readonly operators: readonly string[];
  /** Types that are not built in, as written. */
  readonly types: readonly string[];
  /** What is cast to types that are not built in, or by casts that users made, in plain words. */
  readonly casts: readonly string[];
  readonly settings: readonly SettingUse[];
  /** Roles that are named: SET ROLE, GRANT, ALTER ROLE, OWNER TO …; `public`, `current_user` and the like too. */
  readonly roles: readonly string[];
  readonly boundary: readonly Boundary[];
};

const NOTHING: readonly never[] = [];

/** Shared by all statements that have none. */
export const NO_DETAILS: StatementDetails = {
  functions: NOTHING,
  operators: NOTHING,
  types: NOTHING,
  casts: NOTHING,
  settings: NOTHING,
  roles: NOTHING,
  boundary: NOTHING,
};

/** More of one kind help nobody; the class does not depend on them. A list of so many may not be whole. */
export const MOST_DETAILS = 1_000;

/** Collects them; made when the first one is seen. */
export class Details implements StatementDetails {
  readonly functions: FunctionUse[] = [];
  readonly operators: string[] = [];
  readonly types: string[] = [];
  readonly casts: string[] = [];
  readonly settings: SettingUse[] = [];
  readonly roles: string[] = [];
  readonly boundary: Boundary[] = [];

  addFunction(use: FunctionUse): void {
    const same = this.functions.some(
      (known) => known.name === use.name && known.schema === use.schema && known.oid === use.oid,
    );
    if (!same && this.functions.length < MOST_DETAILS) this.functions.push(use);
  }

  addSetting(use: SettingUse): void {
    const same = this.settings.some(
      (known) => known.name === use.name && known.value === use.value && known.action === use.action,
    );
    if (!same && this.settings.length < MOST_DETAILS) this.settings.push(use);
  }

  add(kind: 'operators' | 'types' | 'casts' | 'roles', name: string): void {
    const names = this[kind];
    if (!names.includes(name) && names.length < MOST_DETAILS) names.push(name);
  }

  cross(boundary: Boundary): void {
    if (!this.boundary.includes(boundary)) this.boundary.push(boundary);
  }

  addAll(other: StatementDetails): void {
    for (const use of other.functions) this.addFunction(use);
    for (const use of other.settings) this.addSetting(use);
    for (const kind of ['operators', 'types', 'casts', 'roles'] as const)
      for (const name of other[kind]) this.add(kind, name);
    for (const boundary of other.boundary) this.cross(boundary);
  }
}
