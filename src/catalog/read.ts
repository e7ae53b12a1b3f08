import { createHash, type Hash } from 'node:crypto';
import type pg from 'pg';
import * as sql from './queries.ts';

/** One row, every field as the server's text. */
export type RawRow = readonly (string | null)[];

export type RawCatalog = {
  readonly [K in RawPart]: readonly RawRow[];
} & {
  /** sha256 over all that was read, without file sizes. */
  readonly digest: string;
  /** The same without statistics of columns, which ANALYZE changes but which change no meaning. */
  readonly objects: string;
};

type RawPart = keyof typeof PARTS | 'server' | 'relations' | 'viewDefinitions';

const PARTS = {
  typeNames: sql.TYPE_NAMES,
  indexes: sql.INDEXES,
  types: sql.TYPES,
  functions: sql.FUNCTIONS,
  builtins: sql.BUILTIN_FUNCTIONS,
  aggregates: sql.AGGREGATES,
  operators: sql.OPERATORS,
  classes: sql.OPERATOR_CLASSES,
  familyMembers: sql.OPERATOR_FAMILY_MEMBERS,
  casts: sql.CASTS,
  triggers: sql.TRIGGERS,
  rules: sql.RULES,
  policies: sql.POLICIES,
  constraints: sql.CONSTRAINTS,
  defaults: sql.DEFAULTS,
  inheritance: sql.INHERITANCE,
  partitionKeys: sql.PARTITION_KEYS,
  statistics: sql.STATISTICS,
  dependencies: sql.DEPENDENCIES,
  columnStatistics: sql.COLUMN_STATISTICS,
  tagComments: sql.TAG_COMMENTS,
  viewColumns: sql.VIEW_COLUMNS,
} as const;

/** SQLSTATE of a lock_timeout. */
const LOCK_NOT_AVAILABLE = '55P03';
/** Columns of `relations` that hold reltuples, relpages and the file's size. */
const SIZES = [4, 5, 6];
/** Definitions asked in one query. */
const VIEWS_AT_ONCE = 500;

/**
 * Reads all that analysis needs from pg_catalog in one snapshot, and ends the transaction. Sizes of files and texts of
 * views take locks; what somebody has locked exclusively is left out rather than waited for.
 * Throws what `pg` throws; the client is then best thrown away.
 */
export async function readCatalog(client: pg.ClientBase): Promise<RawCatalog> {
  try {
    return await readSnapshot(client, true);
  } catch (error) {
    if ((error as { code?: unknown }).code !== LOCK_NOT_AVAILABLE) throw error;
    // The lock came between our look at pg_locks and ours: this time without what needs one.
    return await readSnapshot(client, false);
  }
}

async function readSnapshot(client: pg.ClientBase, withLocks: boolean): Promise<RawCatalog> {
  for (const statement of sql.OPENING) await client.query(statement);
  try {
    const digest = createHash('sha256');
    const objects = createHash('sha256');
    const read = async (name: string, text: string, values: unknown[] = [], skip: readonly number[] = []) => {
      const digests = name === 'columnStatistics' ? [digest] : [digest, objects];
      return await query(client, digests, name, text, values, skip);
    };
    const server = await read('server', sql.SERVER);
    const relations = await read('relations', sql.relations(withLocks), [], SIZES);
    const parts: Partial<Record<keyof typeof PARTS, readonly RawRow[]>> = {};
    for (const [name, text] of Object.entries(PARTS) as [keyof typeof PARTS, string][])
      parts[name] = await read(name, text);
    const complete = parts as Record<keyof typeof PARTS, readonly RawRow[]>;

    const views = withLocks ? await unlockedViews(client, relations, complete) : [];
    const viewDefinitions: RawRow[] = [];
    for (let at = 0; at < views.length; at += VIEWS_AT_ONCE)
      viewDefinitions.push(
        ...(await read('views', sql.VIEW_DEFINITIONS, [views.slice(at, at + VIEWS_AT_ONCE)])),
      );
    const digests = { digest: digest.digest('hex'), objects: objects.digest('hex') };
    return { ...complete, server, relations, viewDefinitions, ...digests };
  } finally {
    await client.query('ROLLBACK');
  }
}

/** User views whose definition can be asked without waiting for anybody. */
async function unlockedViews(
  client: pg.ClientBase,
  relations: readonly RawRow[],
  { rules, dependencies }: Record<'rules' | 'dependencies', readonly RawRow[]>,
): Promise<readonly string[]> {
  const views = relations.filter((r) => r[3] === 'v' && Number(r[0]) >= 16384).map((r) => String(r[0]));
  if (views.length === 0) return [];
  const locked = new Set((await query(client, [], '', sql.LOCKED, [], [])).map(([oid]) => oid));
  if (locked.size === 0) return views;
  const blockedRules = new Set(
    dependencies
      .filter((d) => d[0] === 'pg_rewrite' && d[2] === 'pg_class' && locked.has(d[3] ?? null))
      .map((d) => d[1]),
  );
  const blocked = new Set(rules.filter((r) => blockedRules.has(r[0] ?? null)).map((r) => r[1]));
  return views.filter((oid) => !blocked.has(oid) && !locked.has(oid));
}

async function query(
  client: pg.ClientBase,
  digests: readonly Hash[],
  name: string,
  text: string,
  values: readonly unknown[],
  skip: readonly number[],
): Promise<readonly RawRow[]> {
  const result = await client.query<(string | null)[]>({
    text,
    values: [...values],
    rowMode: 'array',
    types: { getTypeParser: () => (value: string | Buffer) => String(value) },
  });
  if (digests.length > 0) {
    for (const digest of digests) digest.update(`\n${name}\n`);
    for (const [at, row] of result.rows.entries()) {
      const text = JSON.stringify(skip.length === 0 ? row : row.filter((_, i) => !skip.includes(i)));
      for (const digest of digests) digest.update(text);
      if (at % 2_000 === 1_999) await new Promise((next) => setImmediate(next));
    }
  }
  return result.rows;
}
