import type { Analyser } from '../analyser/analyser.ts';
import type { Analysis, StatementAnalysis } from '../statement/analysis.ts';

/**
 * The analysis with the fingerprints of its queries. Other statements have none: a password or a comment would change
 * it, and could be guessed from it.
 */
export function fingerprinted(
  sql: Buffer,
  analysis: Analysis,
  fingerprint: Analyser['fingerprint'],
): Analysis {
  const { statements } = analysis;
  if (!statements.some(isQuery)) return analysis;
  const alone = statements.length === 1;
  return {
    ...analysis,
    statements: statements.map((statement) => {
      if (!isQuery(statement)) return statement;
      const found = fingerprint(alone ? sql : sql.subarray(statement.start, statement.end));
      return found === null ? statement : { ...statement, fingerprint: found };
    }),
  };
}

function isQuery({ command, secrets }: StatementAnalysis): boolean {
  return QUERIES.has(command) && secrets.length === 0;
}

const QUERIES: ReadonlySet<string> = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'MERGE']);
