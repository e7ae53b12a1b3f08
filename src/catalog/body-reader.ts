import type { BodyAnalysis } from '../statement/analyse.ts';
import type { Analysis, NameScope } from '../statement/analysis.ts';
import type { Catalog, FunctionDeed } from '../statement/catalog.ts';
import type { ParseResult, PlpgsqlParse } from '../statement/parse-result.ts';
import type { BodyVariables } from '../statement/variables.ts';
import type { FunctionProof } from './judgement.ts';

/** How bodies are read. Bodies are written by users; the grammars that read them are Postgres' own. */
export type BodyReader = {
  /** At once; null where the text is too long for this thread. */
  readonly parse: (sql: string) => ParseResult | null;
  readonly parsePlpgsql: (definition: string, body: string) => PlpgsqlParse;
  readonly analyse: (
    parse: ParseResult,
    catalog: Catalog,
    scope: NameScope,
    variables: BodyVariables,
  ) => BodyAnalysis;
  /** A call that may put more rows than this into what it gives back is an export. */
  readonly exportRows: number;
};

export const READS: FunctionDeed = { class: 'read', reason: 'reads' };

export function unproved(why: string): FunctionProof {
  return { proved: false, why };
}

/** Why a statement is not one that only reads (an export reads); null where it is. */
export function notReading(statement: Analysis['statements'][number]): string | null {
  if (statement.command !== 'SELECT') return `it runs ${statement.command}`;
  if (statement.changesSearchPath && statement.class === 'session') return 'it changes search_path';
  if (statement.class !== 'read' && statement.class !== 'export')
    return statement.reasons[0] ?? `a part of it is ${statement.class}`;
  return statement.changesSearchPath || statement.makesTemp ? 'it changes the session' : null;
}
