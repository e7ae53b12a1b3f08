import type { Analysis, NameScope } from '../statement/analysis.ts';
import type { Catalog } from '../statement/catalog.ts';
import { type CatalogJudgement, inTrustedExtension, type UserFunction } from './judgement.ts';
import { triggerStatements } from './trigger-body.ts';

/** Parses and analyses a text at once; null where it cannot (too long for this thread). */
export type AnalyseBody = (sql: Buffer, scope: NameScope, catalog: Catalog) => Analysis | null;

/**
 * Proves user functions by reading their bodies: SQL functions that only SELECT, and triggers in PL/pgSQL that only
 * assign to NEW, choose with IF, and insert rows given as VALUES into tables without effects. Everything else, and
 * whatever is SECURITY DEFINER, stays unknown. Bodies are written by users; the grammar that reads them is Postgres' own.
 */
export function provedByReading(analyse: AnalyseBody): CatalogJudgement['provedHarmless'] {
  return (fn, catalog) => {
    if (inTrustedExtension(fn)) return true;
    if (fn.securityDefiner || fn.kind !== 'f') return false;
    const scope = bodyScope(fn);
    if (scope === null) return false;
    const judge = (sql: string) => analyse(Buffer.from(sql), scope, catalog);
    if (fn.language === 'sql') return fn.body !== '' && onlyReads(judge(fn.body));
    if (fn.language === 'plpgsql' && fn.returnsTrigger) return triggerIsHarmless(fn, judge);
    return false;
  };
}

function triggerIsHarmless(fn: UserFunction, judge: (sql: string) => Analysis | null): boolean {
  const statements = triggerStatements(fn.body);
  if (statements === null) return false;
  return statements.every((statement) =>
    statement.kind === 'expression'
      ? onlyReads(judge(`SELECT ${statement.sql}`))
      : onlyInserts(judge(statement.sql)),
  );
}

function onlyReads(analysis: Analysis | null): boolean {
  return every(analysis, ({ command, class: found }) => command === 'SELECT' && found === 'read');
}

function onlyInserts(analysis: Analysis | null): boolean {
  return every(analysis, ({ command, class: found }) => command === 'INSERT' && found === 'write');
}

function every(
  analysis: Analysis | null,
  holds: (statement: Analysis['statements'][number]) => boolean,
): boolean {
  return (
    analysis !== null &&
    analysis.syntaxError === null &&
    analysis.statements.length > 0 &&
    analysis.statements.every((statement) => holds(statement) && !statement.changesSearchPath)
  );
}

const SETTINGS = /^\{(?:"?search_path=([a-z_][a-z0-9_]*(?:, ?[a-z_][a-z0-9_]*)*)"?)?\}$/;

/**
 * How the body's bare names are resolved: by the search_path that the function pins, or else by the caller's, which may
 * be any. Null: it pins other things too, or in a way that is not read here.
 */
function bodyScope(fn: UserFunction): NameScope | null {
  if (fn.settings === '') return { searchPath: null, tempPossible: false };
  const [whole, pinned] = SETTINGS.exec(fn.settings) ?? [];
  if (whole === undefined) return null;
  const schemas = (pinned ?? '').split(',').map((name) => name.trim());
  // pg_catalog named behind another schema would not come first: then any schema could be meant.
  if (schemas.indexOf('pg_catalog') > 0) return { searchPath: null, tempPossible: false };
  return {
    searchPath: schemas.filter((name) => name !== 'pg_catalog' && name !== 'pg_temp'),
    tempPossible: false,
  };
}
