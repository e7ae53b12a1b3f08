/** Where slices of export budgets come from: one call of one function in the audit database. */
import type pg from 'pg';
import type { Slice, SliceRequest } from '../budget/account.ts';
import type { BudgetWindow } from '../budget/budget.ts';

export type BudgetStore = {
  /** Rejects when the database is away: then nothing is leased, and nobody knows whether what was told arrived. */
  readonly lease: (agent: string, request: SliceRequest) => Promise<Slice>;
  /** The agent's present windows, as far as processes have told. */
  readonly windows: (agent: string) => Promise<readonly BudgetWindow[]>;
  /** Forgets windows that ended long ago. */
  readonly sweep: () => Promise<void>;
};

/** `bigint` columns come as text: all stay below 2^53. */
type Row = {
  readonly window_start: Date;
  readonly window_end: Date;
  readonly ends_in_ms: number;
  readonly rows_granted: string;
  readonly bytes_granted: string;
  readonly rows_taken: string;
  readonly bytes_taken: string;
};

/** Windows are kept for those who want to see what was taken. */
const KEPT = '30 days';

export function budgetStore(pool: Pick<pg.Pool, 'query'>): BudgetStore {
  return {
    lease: async (agent, { budget, window, want, counted, over, back }) => {
      const { rows } = await pool.query<Row>(
        `SELECT window_start, window_end, ends_in_ms, rows_granted, bytes_granted, rows_taken, bytes_taken
           FROM countersign.lease_budget($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
        [
          agent,
          budget.name,
          budget.windowMs,
          budget.rows,
          budget.bytes,
          window,
          ...[want, counted, over, back].flatMap((amount) => [amount.rows, amount.bytes]),
        ],
      );
      const [row] = rows;
      if (row === undefined) throw new Error('the budget did not come back');
      return {
        window: row.window_start.toISOString(),
        endsInMs: row.ends_in_ms,
        endsAt: row.window_end.getTime(),
        granted: { rows: Number(row.rows_granted), bytes: Number(row.bytes_granted) },
        taken: { rows: Number(row.rows_taken), bytes: Number(row.bytes_taken) },
      };
    },
    windows: async (agent) => {
      const { rows } = await pool.query<{ budget: string; end: Date; rows: string; bytes: string }>(
        `SELECT budget, window_end AS end, rows_taken AS rows, bytes_taken AS bytes FROM countersign.budgets
         WHERE agent = $1 AND window_start <= clock_timestamp() AND window_end > clock_timestamp()`,
        [agent],
      );
      return rows.map(({ budget, end, rows: count, bytes }) => ({
        budget,
        taken: { rows: Number(count), bytes: Number(bytes) },
        endsAt: end.getTime(),
      }));
    },
    sweep: async () => {
      await pool.query(
        'DELETE FROM countersign.budget_window WHERE window_end < clock_timestamp() - $1::interval',
        [KEPT],
      );
    },
  };
}
