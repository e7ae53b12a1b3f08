import type { Relation } from './catalog.ts';
import type { Context, CteScope, QuerySize } from './context.ts';
import { conjuncts } from './equalities.ts';
import type { Level, Source } from './level.ts';
import { type ResolvedRelation, resolveRelation } from './names.ts';
import { renamedInner } from './outputs.ts';
import { checkFold } from './query-sizes.ts';
import type { NotedUse } from './relation-use.ts';
import { hasSecretColumn } from './secret-columns.ts';
import { isSystemSchema, sensitiveSystemRelation } from './system-relations.ts';
import { bodyOf, child, constantString, integer, list, nameParts, type Tree, text } from './tree.ts';
import { viewSize } from './views.ts';

/** What is done to a relation. */
export type Access = 'read' | 'insert' | 'update' | 'delete' | 'analyze';

/** The common table expression that a bare name means, innermost first; null: none. */
export function cteNamed(context: Context, rangeVar: Tree): CteScope | null {
  if (text(rangeVar, 'schemaname') !== '') return null;
  const name = text(rangeVar, 'relname');
  for (let scope = context.ctes; scope !== null; scope = scope.outer) if (scope.name === name) return scope;
  return null;
}

/** Alias and column names that a FROM item is known by. */
export function aliasOf(node: Tree, fallback: string): { alias: string; columns: readonly string[] } {
  const alias = child(node, 'alias');
  return { alias: text(alias, 'aliasname') || fallback, columns: nameParts(list(alias, 'colnames')) };
}

/** A FROM item over a common table expression. Inside of itself it is what the last round gave. */
export function cteSource(rangeVar: Tree, scope: CteScope): Source {
  const { alias, columns } = aliasOf(rangeVar, text(rangeVar, 'relname'));
  const size = scope.size;
  if (size === null) {
    scope.usedByItself = true;
    return {
      alias,
      columns: null,
      relation: null,
      rows: 1,
      perRow: 1,
      data: false,
      tables: false,
      filtered: true,
      determines: false,
    };
  }
  return sourceOf(alias, size, columns);
}

/** A query whose size is known, under a name. */
export function sourceOf(alias: string, size: QuerySize, columns: readonly string[]): Source {
  return {
    alias,
    columns: renamed(size.columns, columns),
    relation: null,
    rows: size.rows,
    perRow: size.perRow,
    data: size.data,
    tables: size.tables,
    filtered: size.filtered,
    determines: true,
    inner: renamedInner(size.inner ?? null, columns),
    keys: columns.length > 0 ? [] : (size.keys ?? []),
    unfolds: size.unfolds === true,
    ...(size.by === undefined ? {} : { by: size.by }),
  };
}

/** Column aliases replace the first names; with an unknown list, all is unknown. */
function renamed(
  columns: ReadonlySet<string> | null,
  aliases: readonly string[],
): ReadonlySet<string> | null {
  if (aliases.length === 0) return columns;
  if (columns === null) return null;
  return new Set([...aliases, ...[...columns].slice(aliases.length)]);
}

/** Notes that a relation is used, and what that means beyond the use; gives it as a source of rows. */
export function relationSource(context: Context, rangeVar: Tree, access: Access): Source {
  const resolved = resolveRelation(context, rangeVar);
  const { facts } = context;
  const { at } = facts;
  const location = integer(rangeVar, 'location');
  if (location > 0) facts.at = location;
  const use = noteUse(context, rangeVar, resolved, access);
  const { alias, columns } = aliasOf(rangeVar, text(rangeVar, 'relname'));
  const user = resolved.kind === 'user' ? resolved.candidates : NO_RELATIONS;
  const only = user.length === 1 ? (user[0] ?? null) : null;
  const relation = resolved.kind === 'system' ? resolved.relation : only;
  const view = only === null ? null : viewSize(context, only);
  if (only !== null && view !== null) {
    const own = columnNames(only);
    if (view.data && view.perRow > 1) checkFold(context, view.perRow, view.filtered);
    if (view.rows > context.largestRows) [context.largestRows, context.largestAt] = [view.rows, facts.at];
    facts.at = at;
    if (columns.length > 0) use?.noteAll('read');
    return {
      ...(use === null || columns.length > 0 ? NO_USE : { use }),
      ...sourceOf(alias, view, columns),
      columns: renamed(own, columns),
      relation: only,
      tables: true,
    };
  }
  const data = resolved.kind !== 'system';
  const rows = data ? largest(user) + context.grown : (relation?.rows ?? Number.POSITIVE_INFINITY);
  if (data) context.tableRows += rows;
  const folds = user.some((candidate) => candidate.folds === true);
  if (folds) checkFold(context, Number.POSITIVE_INFINITY, false);
  if (data && rows > context.largestRows) [context.largestRows, context.largestAt] = [rows, facts.at];
  facts.at = at;
  // Under aliases of its columns nobody follows which is which.
  if (columns.length > 0) use?.noteAll('read');
  return {
    alias,
    // With aliases for the columns, keys are known by other names.
    columns:
      relation === null || columns.length > 0
        ? renamed(columnNames(relation), columns)
        : columnNames(relation),
    relation: columns.length > 0 ? null : relation,
    ...(use === null || columns.length > 0 ? NO_USE : { use }),
    rows,
    perRow: folds ? Number.POSITIVE_INFINITY : 1,
    data,
    tables: true,
    filtered: false,
    determines: true,
  };
}

const NO_USE = {};
const NO_RELATIONS: readonly Relation[] = [];
const NAMES = new WeakMap<Relation, ReadonlySet<string>>();

function columnNames(relation: Relation | null): ReadonlySet<string> | null {
  if (relation === null) return null;
  let names = NAMES.get(relation);
  if (names === undefined) {
    names = new Set(relation.columns.map(({ name }) => name));
    NAMES.set(relation, names);
  }
  return names;
}

function largest(candidates: readonly Relation[]): number {
  if (candidates.length === 0) return Number.POSITIVE_INFINITY;
  let rows = 0;
  for (const candidate of candidates) rows = Math.max(rows, candidate.rows ?? Number.POSITIVE_INFINITY);
  return rows;
}

/** Null where several relations could be meant: then nobody can tell which columns. */
function noteUse(
  context: Context,
  rangeVar: Tree,
  resolved: ResolvedRelation,
  access: Access,
): NotedUse | null {
  const { facts, definition } = context;
  const name = text(rangeVar, 'relname');
  const mode = access === 'read' || access === 'analyze' ? 'read' : 'write';
  if (resolved.kind === 'user') {
    let noted: NotedUse | null = null;
    for (const candidate of resolved.candidates) {
      noted = facts.use({ schema: candidate.schema, name, oid: candidate.oid, mode }, candidate);
      if (resolved.candidates.length > 1) noted.merge(UNKNOWN_COLUMNS);
      if (candidate.kind === 'foreign' && !definition) facts.details.cross('another_server');
      if (!definition) noteEffects(context, candidate, access);
    }
    return resolved.candidates.length === 1 ? noted : null;
  }
  const schema = resolved.kind === 'system' ? resolved.schema : text(rangeVar, 'schemaname') || null;
  const known = resolved.kind === 'system' ? resolved.relation : null;
  const noted = facts.use({ schema, name, oid: known?.oid ?? null, mode }, known);
  if (definition) return noted;
  if (resolved.kind === 'unknown') facts.raise('opaque', resolved.reason);
  if (resolved.kind !== 'system') return noted;
  if (mode === 'write') facts.raise('admin', `writes to the system catalog ${resolved.schema}.${name}`);
  const sensitive = sensitiveSystemRelation(resolved.schema, name);
  if (sensitive !== null && mode === 'read' && hasSecretColumn(resolved.schema, name))
    context.secretColumns.push({ schema: resolved.schema, name, reason: sensitive.reason });
  else if (sensitive !== null) facts.raise(sensitive.class, `${resolved.schema}.${name} ${sensitive.reason}`);
  if (sensitive?.class === 'admin') facts.details.cross('server_files');
  return noted;
}

const UNKNOWN: readonly string[] = ['what it calls is not known'];
const UNKNOWN_COLUMNS = { read: null, written: null };

function noteEffects(context: Context, relation: Relation, access: Access): void {
  const { facts } = context;
  const full = `${relation.schema}.${relation.name}`;
  if (isSystemSchema(relation.schema)) {
    // Only where the search_path is unknown can a bare name be either.
    const sensitive = sensitiveSystemRelation(relation.schema, relation.name);
    if (sensitive !== null) facts.raise(sensitive.class, `${full} ${sensitive.reason}`);
    if (access !== 'read' && access !== 'analyze')
      facts.raise('admin', `may write to the system catalog ${full}`);
    return;
  }
  if (relation.kind === 'foreign') facts.raise('opaque', `${full} is on another server`);
  for (const effect of relation.effects.read) facts.raise('opaque', `reading ${full}: ${effect}`);
  const more = access === 'analyze' ? (relation.analyzeEffects ?? UNKNOWN) : relation.effects[access];
  if (access !== 'read') for (const effect of more) facts.raise('opaque', `${access} of ${full}: ${effect}`);
  if (access === 'analyze' || relation.runsUserCode?.[access] === true) facts.runsUserCode = true;
  if (relation.castEffects.length > 0) context.casts.push(relation);
}

/** Notes which setting a condition on pg_settings names. */
export function conjunctsFix(level: Level): void {
  const [source] = level.sources;
  if (source === undefined || source.data || source.alias !== 'pg_settings' || level.sources.length !== 1)
    return;
  for (const condition of level.conditions) {
    for (const part of conjuncts(condition.expression)) {
      const body = bodyOf(part, 'A_Expr');
      if (text(body, 'kind') !== 'AEXPR_OP' || nameParts(list(body, 'name')).at(-1) !== '=') continue;
      const column = nameParts(list(bodyOf(body?.['lexpr'], 'ColumnRef'), 'fields')).at(-1);
      const value = constantString(body?.['rexpr']);
      if (column === 'name' && value !== null) level.fixedSetting = value;
    }
  }
}
