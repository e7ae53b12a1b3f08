import type { NameScope } from '../statement/analysis.ts';
import { builtinFunction, JUDGED_BY_ARGUMENTS } from '../statement/builtins.ts';
import type { Catalog, FunctionDeed, FunctionSize } from '../statement/catalog.ts';
import type { Tree } from '../statement/tree.ts';

/**
 * What is known about code that the catalog says is run: built-in functions by a judgement of their names, user
 * functions by proof or by an extension that is known. Both are injected; these are the defaults.
 */

export type Volatility = 'i' | 's' | 'v';

/** A user function, with everything that a proof about its body needs. */
export type UserFunction = {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `schema.name(argument types)`, as people and `countersign functions` name it. */
  readonly signature: string;
  /** `f`unction, `p`rocedure, `a`ggregate, `w`indow function. */
  readonly kind: string;
  readonly language: string;
  /** A promise of its author, not a fact. */
  readonly volatility: Volatility;
  readonly securityDefiner: boolean;
  readonly returnsTrigger: boolean;
  readonly returnsSet: boolean;
  /** Arguments and result as the server prints them (`a integer, VARIADIC b text[]`, `TABLE(c text)`). */
  readonly arguments: string;
  readonly result: string;
  /** Names of arguments of all modes, those that have one. */
  readonly argumentNames: readonly string[];
  /** `schema.name(types)`, quoted as SQL needs it: how a list names it. */
  readonly listName: string;
  /** Body, or the C symbol, or `BEGIN ATOMIC …` as the server prints it. Written by a user. */
  readonly body: string;
  /** Settings that the function pins (pg_proc.proconfig), as the array's text; empty: none. */
  readonly settings: string;
  /** The extension it belongs to; empty: none. */
  readonly extension: string;
  /** sha256 over everything that says what it does; a changed body is another function. */
  readonly bodyDigest: string;
};

export type CatalogJudgement = {
  /**
   * `harmless`, or what it does in plain words. `name` is bare for pg_catalog, qualified for other built-in schemas.
   */
  readonly judgeBuiltin: (name: string, volatility: Volatility) => string;
  /**
   * What the function certainly does when it is called under that scope. `catalog` is the one that a session with that
   * scope sees; what it says about this very function is then still unknown (not proved).
   */
  readonly prove: (fn: UserFunction, catalog: Catalog, scope: NameScope) => FunctionProof;
  /** What a person says it does, bound to its digest; null: nobody has listed it as it is now. */
  readonly listed?: (fn: UserFunction) => FunctionDeed | null;
  /** Told of all user functions whenever a catalog has been read. */
  readonly inspect?: (functions: readonly UserFunction[]) => void;
  /** The `SelectStmt` of a view's definition; null: it cannot be read. Left out: views are not looked into. */
  readonly readView?: (definition: string) => Tree | null;
};

export type FunctionProof =
  | {
      readonly proved: true;
      readonly does: FunctionDeed;
      /** Null: not known; it gives back no users' tables. */
      readonly size: FunctionSize | null;
    }
  /** `why`: as in "is not proved: …". */
  | { readonly proved: false; readonly why: string };

const COMPUTES: FunctionProof = {
  proved: true,
  does: { class: 'read', reason: 'only computes' },
  size: null,
};

export const DEFAULT_JUDGEMENT: CatalogJudgement = {
  judgeBuiltin,
  prove: (fn) =>
    inTrustedExtension(fn) ? COMPUTES : { proved: false, why: 'nobody has looked at its body' },
};

/** Functions of triggers and defaults that only the server or a stored expression calls. Reviewed by hand. */
const HARMLESS_WHERE_STORED = new Set([
  'nextval',
  'suppress_redundant_updates_trigger',
  'tsvector_update_trigger',
  'tsvector_update_trigger_column',
  'unique_key_recheck',
]);

/** By the reviewed table of built-ins that judges statements; a name that it does not know is an effect. */
function judgeBuiltin(name: string): string {
  if (name.startsWith('RI_FKey_') || HARMLESS_WHERE_STORED.has(name)) return 'harmless';
  const known = builtinFunction(name);
  if (known === undefined) return `${name} is a built-in function that nobody has judged`;
  if (JUDGED_BY_ARGUMENTS.has(name)) return `${name} can do more than compute`;
  return known.effect === null ? 'harmless' : `${name} ${known.effect.reason}`;
}

/**
 * Extensions that add data types and computations. Of these, C functions that say they are immutable are believed
 * (a C function takes a superuser to make), and the generators of random values by name.
 */
const TRUSTED_EXTENSIONS = new Set([
  'btree_gin',
  'btree_gist',
  'citext',
  'cube',
  'earthdistance',
  'fuzzystrmatch',
  'hstore',
  'intarray',
  'isn',
  'ltree',
  'pg_trgm',
  'pgcrypto',
  'postgis',
  'seg',
  'unaccent',
  'uuid-ossp',
  'vector',
]);
const HARMLESS_GENERATORS = new Set([
  'gen_random_bytes',
  'gen_random_uuid',
  'gen_salt',
  'uuid_generate_v1',
  'uuid_generate_v1mc',
  'uuid_generate_v4',
]);

/** Of a known extension, in C, and said to be immutable. */
export function inTrustedExtension(fn: UserFunction): boolean {
  if (fn.language !== 'c' || fn.securityDefiner || !TRUSTED_EXTENSIONS.has(fn.extension)) return false;
  return fn.volatility === 'i' || HARMLESS_GENERATORS.has(fn.name);
}
