/** What agents took of their budgets, for `countersign report`. */
import pg from 'pg';
import { visible } from '../channels/visible.ts';

/** One budget of one agent over the time that was asked about. Numbers are decimal texts; null: not limited. */
export type BudgetUse = {
  readonly budget: string;
  readonly agent: string;
  /** Windows in which something was taken. */
  readonly windows: string;
  /** Of the latest of them: when it ends, and what was taken. */
  readonly until: Date;
  readonly rows: string;
  readonly rowsLimit: string | null;
  readonly bytes: string;
  readonly bytesLimit: string | null;
  /** The fullest, in percent of what was allowed; null: nothing is limited. */
  readonly fullest: number | null;
};

/** Null: the role may not read them, or the database is of an older version. */
export async function readBudgets(client: pg.ClientBase, since: Date): Promise<readonly BudgetUse[] | null> {
  try {
    const { rows } = await client.query<BudgetUse>(
      `SELECT DISTINCT ON (budget, agent) budget, agent, count(*) OVER one AS windows, window_end AS until,
              rows_taken AS rows, rows_limit AS "rowsLimit", bytes_taken AS bytes, bytes_limit AS "bytesLimit",
              ceil(max(greatest(100.0 * rows_taken / nullif(rows_limit, 0),
                100.0 * bytes_taken / nullif(bytes_limit, 0))) OVER one)::int AS fullest
         FROM countersign.budgets
        WHERE window_end >= $1 AND (rows_taken, bytes_taken) <> (0, 0)
       WINDOW one AS (PARTITION BY budget, agent)
        ORDER BY budget, agent, window_end DESC`,
      [since],
    );
    return rows;
  } catch (error) {
    if (error instanceof pg.DatabaseError && UNREADABLE.has(error.code ?? '')) return null;
    throw error;
  }
}

/** insufficient_privilege, undefined_table, undefined_column, invalid_schema_name. */
const UNREADABLE: ReadonlySet<string> = new Set(['42501', '42P01', '42703', '3F000']);

const HEAD = ['BUDGET', 'AGENT', 'WINDOWS', 'FULLEST', 'LATEST UNTIL', 'ROWS', 'BYTES'];

/** A table for a terminal of that many columns; for a pipe (null) tab-separated lines that begin with `budget`. */
export function budgetLines(budgets: readonly BudgetUse[] | null, columns: number | null): readonly string[] {
  if (budgets === null)
    return columns === null ? [] : ['', 'Budgets cannot be read here: run countersign audit migrate.'];
  const cells = budgets.map((one) => [
    visible(one.budget),
    visible(one.agent),
    one.windows,
    one.fullest === null ? '-' : `${one.fullest}%`,
    one.until.toISOString(),
    `${one.rows}/${one.rowsLimit ?? '-'}`,
    `${one.bytes}/${one.bytesLimit ?? '-'}`,
  ]);
  if (columns === null) return cells.map((row) => ['budget', ...row].join('\t'));
  if (cells.length === 0) return [];
  const rows = [HEAD, ...cells];
  const widths = HEAD.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  const lines = rows.map((row) => widths.map((width, at) => (row[at] ?? '').padEnd(width)).join('  '));
  return ['', ...lines.map((line) => [...line.trimEnd()].slice(0, columns).join(''))];
}
