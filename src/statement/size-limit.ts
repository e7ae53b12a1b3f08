import type { StatementAnalysis } from './analysis.ts';
import type { Estimate } from './answers.ts';
import type { Context } from './context.ts';
import type { Facts } from './facts.ts';

/**
 * How many rows the planner may expect to come back, as a multiple of the limit, and the statement still flows: it is often
 * wrong by that much, and what really comes is measured. Not those that are folded into few: nobody can count them.
 */
const ESTIMATE_FACTOR = 5;

/**
 * When all else about a statement is known: what text and catalog do not bound is an export, unless it only reads and
 * the planner expects few rows, or could not say how many in time. Then it flows, and is measured.
 */
export function raiseBySize(context: Context, type: string): void {
  const { facts, answer, limits } = context;
  if (facts.large === null) return;
  const estimate = mayBeAsked(context, type) ? (answer?.estimate ?? null) : null;
  // Of what is folded no row can be counted as it comes back, so its estimate could not be held against the truth.
  if (estimate !== null && !facts.foldsMany) facts.expectedRows = estimate.rows;
  if (estimate !== null && isSmall(estimate, facts, limits.exportRows)) {
    facts.measured = 'export';
    return facts.raise('read', `reads ${expected(estimate, facts)} by the planner's estimate`);
  }
  if (estimate !== null) return facts.raise('export', inWords(estimate, facts, limits.exportRows));
  if (answer?.late === true && mayBeAsked(context, type) && !facts.foldsMany) {
    // Its rows are what they are, and can be counted as they come.
    facts.measured = 'export';
    return facts.raise(
      'read',
      'reads as many rows as the limit lets pass: the planner gave no estimate in time',
    );
  }
  if (mayBeAsked(context, type) && context.path !== null)
    facts.doubt = { names: facts.doubt?.names ?? false, size: true, searchPath: context.path };
  for (const reason of facts.large) facts.raise('export', reason);
}

/**
 * A string is one message: when a result in it is stopped, the server may have run the rest of it. So an estimate is not
 * enough beside a statement that changes something, or ends a transaction.
 */
export function heldTogether(statements: readonly StatementAnalysis[]): readonly StatementAnalysis[] {
  if (statements.length < 2 || !statements.some(({ measured }) => measured === 'export')) return statements;
  const other = statements.find(
    ({ class: found, symbols }) => found !== 'read' && (found !== 'session' || symbols.length > 0),
  );
  if (other === undefined) return statements;
  return statements.map((statement) =>
    statement.measured === 'export'
      ? {
          ...statement,
          class: 'export',
          measured: null,
          reasons: [...statement.reasons, `which is too uncertain in one string with ${other.command}`],
        }
      : statement,
  );
}

/** Only a query by itself, of which everything that planning can run is known, and every name. */
function mayBeAsked({ facts, catalog, path, tempPossible }: Context, type: string): boolean {
  if (type !== 'SelectStmt' || facts.class !== 'read' || facts.beyondPlanner) return false;
  return catalog !== null && path !== null && !tempPossible;
}

function isSmall(estimate: Estimate, { foldsMany, rowBound }: Facts, most: number): boolean {
  if (foldsMany && !(estimate.foldedRows <= most)) return false;
  return estimate.rows <= most * ESTIMATE_FACTOR || (rowBound !== null && rowBound <= most);
}

function inWords({ rows, foldedRows }: Estimate, { foldsMany, rowBound }: Facts, most: number): string {
  const folded =
    foldsMany && foldedRows > most && (rows <= most * ESTIMATE_FACTOR || (rowBound ?? rows) <= most);
  const what = folded
    ? `folds about ${counted(foldedRows)} rows into few values`
    : `may return about ${counted(rows)} rows`;
  return `${what} by the planner's estimate; the limit is ${counted(most)}`;
}

function expected({ rows, foldedRows }: Estimate, { foldsMany }: Facts): string {
  const folded = foldsMany ? `, and folds about ${counted(foldedRows)}` : '';
  return `about ${counted(rows)} rows${folded}`;
}

function counted(rows: number): string {
  return Math.ceil(rows).toLocaleString('en-US');
}
