/**
 * How much of a result may pass. What flows by the planner's estimate alone is watched by rows and bytes: the planner may
 * have been wrong, or fooled. All else that is read is watched by its bytes, which nothing tells beforehand. What comes
 * to more stops before the row that is too much.
 */
import type { Decision } from '../policy/decision.ts';
import type { StatementAnalysis } from '../statement/analysis.ts';
import { isSystemSchema } from '../statement/system-relations.ts';
import type { Bound, Passed, RowGuard, Run } from './run.ts';
import type { SessionState } from './state.ts';

/** The least of several bounds: each of them holds. */
export function tightest(first: Bound, ...others: readonly Bound[]): Bound {
  let { rows, bytes } = first;
  for (const other of others) {
    rows = Math.min(rows, other.rows);
    bytes = Math.min(bytes, other.bytes);
  }
  return { rows, bytes };
}

/** Null where no rows come back, where people have let it pass without a limit, and in mode observe. */
export function guardOf(
  state: SessionState,
  statement: StatementAnalysis,
  decision: Decision,
): RowGuard | null {
  const { rowBoundBy, reasons } = statement;
  const measured = statement.measured === 'export';
  const { decision: ruling, limits, rule } = decision;
  if (state.setup.mode === 'observe' || ruling === 'deny') return null;
  if (ruling === 'hold')
    return limits === undefined ? null : limited(statement, limits, rule, ['approved up to a limit'], 'stop');
  if (limits === undefined && !measured && (rowBoundBy === null || !BELOW_EXPORT.has(statement.class)))
    return null;
  const own = limits === undefined ? null : limited(statement, limits, rule, reasons, 'ask');
  // What the rule leaves open has the limits of an export.
  const open = ofExport(state, statement);
  const rows = limits?.rows ?? open.rows;
  const bytes = limits?.bytes ?? (BELOW_EXPORT.has(statement.class) ? open.bytes : NONE);
  const alone = measured || writesMany(state, statement) || own?.measured === true;
  return { rows, bytes, measured: alone, beyond: 'ask', rule, reasons };
}

type RuleLimits = { readonly rows: number | null; readonly bytes: number | null };

/** The limits of a rule; null: of both there is none. */
export function boundOf(limits: RuleLimits | undefined): Bound | null {
  const { rows, bytes } = { rows: limits?.rows ?? NONE, bytes: limits?.bytes ?? NONE };
  return rows === NONE && bytes === NONE ? null : { rows, bytes };
}

function limited(
  { rowBound, rowBoundBy, command }: StatementAnalysis,
  limits: RuleLimits,
  rule: string,
  reasons: readonly string[],
  beyond: RowGuard['beyond'],
): RowGuard | null {
  const bound = boundOf(limits);
  if (bound === null) return null;
  const gives = rowBoundBy !== null || command === 'COPY TO';
  const few = rowBound !== null && rowBound <= bound.rows && bound.bytes === NONE;
  return { ...bound, measured: gives && !few, beyond, rule, reasons };
}

/** What it writes and gives back may be a lot: stopped in its middle, it can only be undone before its Sync. */
function writesMany({ setup }: SessionState, { class: rank, rowBound }: StatementAnalysis): boolean {
  if (rank !== 'write' && rank !== 'bulk_write') return false;
  return rowBound === null || rowBound > setup.limits.exportRows;
}

/** What people have approved in the middle of a result; null: all of it. */
export function approvedGuard(limits: RuleLimits | undefined, guard: RowGuard): RowGuard | null {
  const bound = boundOf(limits);
  return bound === null ? null : { ...guard, ...bound, beyond: 'stop' };
}

/** One more row, of so many bytes, would be more than may pass. */
export function exceeds({ rows, bytes }: Bound, run: Run, more: number): boolean {
  const passed = passedOf(run);
  return passed.rows >= rows || passed.bytes + more > bytes;
}

/**
 * What counts: of a cursor, all that was fetched from it. Once that is more than may pass, every FETCH is asked about,
 * also behind one that people let pass: it is a statement of its own, and the receipt names the other one's bytes and is
 * spent with it. To let later ones pass by it would release several by one approval, and the log would name nobody for
 * them. Whoever wants all of it can ask once, with one FETCH.
 */
export function passedOf(run: Run): Passed {
  return run.cursor ?? run;
}

export function countRow(run: Run, bytes: number): void {
  run.rows += 1;
  run.bytes += bytes;
  if (run.cursor === null) return;
  run.cursor.rows += 1;
  run.cursor.bytes += bytes;
}

const NONE = Number.POSITIVE_INFINITY;
const BELOW_EXPORT: ReadonlySet<string> = new Set(['session', 'read', 'write', 'bulk_write']);

/** Where text and catalog bound the rows, bytes alone are counted. Catalogs have a limit of rows of their own. */
function ofExport({ setup }: SessionState, statement: StatementAnalysis): Bound {
  const { exportRows, exportBytes, catalogRows } = setup.limits;
  if (statement.measured === 'export') return { rows: exportRows, bytes: exportBytes };
  const bytes = readsCatalogsAlone(statement) ? (exportBytes * catalogRows) / exportRows : exportBytes;
  return { rows: statement.measured === 'catalog' ? catalogRows : NONE, bytes };
}

function readsCatalogsAlone({ relations, runsUserCode }: StatementAnalysis): boolean {
  if (relations.length === 0 || runsUserCode === true) return false;
  return relations.every(({ schema }) => schema !== null && isSystemSchema(schema));
}
