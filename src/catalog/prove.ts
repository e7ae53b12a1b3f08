import type { NameScope } from '../statement/analysis.ts';
import type { Catalog } from '../statement/catalog.ts';
import { type BodyReader, notReading, READS, unproved } from './body-reader.ts';
import { bodyScope } from './body-scope.ts';
import {
  type CatalogJudgement,
  type FunctionProof,
  inTrustedExtension,
  type UserFunction,
} from './judgement.ts';
import { provePlpgsql } from './prove-plpgsql.ts';

/**
 * Proves user functions by reading their bodies, as they run under a scope: SQL and PL/pgSQL functions that only read,
 * and triggers in PL/pgSQL that besides insert single rows into tables. Everything else, and whatever is SECURITY
 * DEFINER, stays unknown.
 */
export function proveByReading(reader: BodyReader): CatalogJudgement['prove'] {
  return (fn, catalog, caller) => {
    if (inTrustedExtension(fn))
      return { proved: true, does: { class: 'read', reason: 'only computes' }, size: null };
    if (fn.securityDefiner) return unproved('it is SECURITY DEFINER');
    if (fn.kind !== 'f') return unproved('it is no plain function');
    const scope = bodyScope(fn.settings, caller);
    if (scope === null) return unproved('it pins other settings than a plain search_path');
    if (fn.language === 'sql') return proveSql(reader, fn, catalog, scope);
    if (fn.language === 'plpgsql') return provePlpgsql(reader, fn, catalog, scope);
    return unproved(`bodies in ${fn.language} are not read`);
  };
}

function proveSql(reader: BodyReader, fn: UserFunction, catalog: Catalog, scope: NameScope): FunctionProof {
  const parse = reader.parse(fn.body);
  if (parse === null) return unproved('its body is too long to be read');
  // In a SQL function a column hides a parameter of the same name.
  const names = new Set(fn.argumentNames);
  const variables = { names, qualifiers: new Set([fn.name, ...names]), mayHideColumns: false };
  const { analysis, sizes } = reader.analyse(parse, catalog, scope, variables);
  if (analysis.syntaxError !== null)
    return unproved(`its body cannot be read: ${analysis.syntaxError.message}`);
  let does = READS;
  for (const statement of analysis.statements) {
    const why = notReading(statement);
    if (why !== null) return unproved(why);
    if (statement.class === 'export') does = { class: 'export', reason: statement.reasons[0] ?? 'exports' };
  }
  const last = sizes.at(-1);
  if (last == null) return unproved('its body gives nothing back');
  const rows = fn.returnsSet ? last.rows : 1;
  return { proved: true, does, size: { rows, perRow: last.perRow, data: last.data } };
}
