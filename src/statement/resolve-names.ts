import type { Analysis, StatementAnalysis, StatementClass } from './analysis.ts';
import { Facts, isHigher } from './facts.ts';
import { absorbPlanned } from './session-commands.ts';

/** What a session knows by name: statements and portals, made by SQL or by the protocol. */
export type NameLookup = {
  readonly statement: (name: string) => StatementAnalysis | undefined;
  readonly portal: (name: string) => StatementAnalysis | undefined;
};

/**
 * EXECUTE, FETCH and MOVE of a name that the string itself does not explain take the class of what the session knows
 * by it. What is not known stays `opaque`. What the name's own statement leaves open (it executes another name) stays
 * open.
 */
export function resolveNames(analysis: Analysis, lookup: NameLookup, exportRows = 1_000): Analysis {
  if (analysis.statements.every(({ unresolved }) => unresolved === null)) return analysis;
  const statements = analysis.statements.map((statement) => resolved(statement, lookup, exportRows));
  let highest: StatementClass = 'session';
  for (const statement of statements) if (isHigher(statement.class, highest)) highest = statement.class;
  const reasons = statements.filter((s) => s.class === highest).flatMap((s) => s.reasons);
  return {
    ...analysis,
    statements,
    class: highest,
    reasons: [...new Set(reasons)],
    changesPinned: statements.some(({ changesPinned }) => changesPinned),
  };
}

function resolved(statement: StatementAnalysis, lookup: NameLookup, exportRows: number): StatementAnalysis {
  const open = statement.unresolved;
  if (open === null) return statement;
  const body = open.kind === 'statement' ? lookup.statement(open.name) : lookup.portal(open.name);
  if (body === undefined) return statement;
  const facts = new Facts();
  // On the wire, EXECUTE of a COPY (prepared by the protocol) is that COPY.
  const copies = open.use === 'run' && body.command.startsWith('COPY ');
  facts.command = copies ? body.command : statement.command;
  for (const reason of open.reasons) facts.raise(open.class, isPlain(open.class) ? undefined : reason);
  for (const use of statement.relations) facts.use(use);
  facts.symbols.push(...statement.symbols);
  facts.secrets.push(...statement.secrets);
  facts.rowBound = statement.rowBound;
  facts.rowBoundBy = statement.rowBoundBy;
  facts.details.addAll(statement);
  if (open.use === 'explain') absorbPlanned(facts, body);
  else {
    // Positions of the other text mean nothing here.
    facts.absorbRun({ ...body, secrets: [], dependsOnParameters: [], cause: null });
    facts.rowBound = open.use === 'run' ? body.rowBound : (statement.rowBound ?? body.rowBound);
    if (open.use === 'run' || facts.rowBoundBy === null) facts.rowBoundBy = body.rowBoundBy;
  }
  if (open.use === 'fetch') facts.foldedRows = foldedBy(body);
  if (open.use === 'fetch' && typeof open.count === 'number' && open.count > exportRows) {
    if ((body.rowBound ?? open.count) > exportRows)
      facts.raise('export', `fetches ${open.count} rows, more than ${exportRows}`);
  }
  return facts.finish(null, statement.start, statement.end);
}

/** Rows that a cursor's query folds into its values. */
function foldedBy({ sizes, rowBound }: StatementAnalysis): number {
  if (sizes === undefined || rowBound === null) return 0;
  return Math.max(0, (sizes.carried ?? Number.POSITIVE_INFINITY) - rowBound);
}

function isPlain(class_: StatementClass): boolean {
  return class_ === 'session' || class_ === 'read' || class_ === 'write';
}
