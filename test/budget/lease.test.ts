import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { budgetStore } from '../../src/approval/budgets.ts';
import { migrateApprovals } from '../../src/approval/migrate.ts';
import type { SliceRequest } from '../../src/budget/account.ts';
import type { Budget } from '../../src/budget/budget.ts';
import { createDatabase, superuser, type TestDatabase, withClient } from '../support/postgres.ts';
import { ModelDatabase } from './model.ts';

let database: TestDatabase;
let pool: pg.Pool;
beforeAll(async () => {
  database = await createDatabase('budgets');
  await withClient(superuser(database.name), (client) =>
    migrateApprovals(client, { owner: 'countersign_requests_owner', writer: 'budgets_writer' }),
  );
  pool = new pg.Pool({ ...superuser(database.name), max: 10, options: '-c role=budgets_writer' });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

const YEAR_MS = 366 * 86_400_000;
const budget = (name: string, rows: number | null, bytes: number | null, windowMs = YEAR_MS): Budget => ({
  name,
  tag: null,
  rows,
  bytes,
  windowMs,
});
const amount = fc.record({ rows: fc.nat(400), bytes: fc.nat(4_000) });
const none = fc.constant({ rows: 0, bytes: 0 });
const call = fc.record({
  want: fc.oneof(none, amount),
  counted: amount,
  over: fc.oneof(none, amount),
  back: fc.oneof(none, amount),
});
const NOTHING = { rows: 0, bytes: 0 };
const asking = (limits: Budget, rows: number): SliceRequest => ({
  budget: limits,
  want: { rows, bytes: 0 },
  window: null,
  counted: NOTHING,
  over: NOTHING,
  back: NOTHING,
});

it('the database leases as the model does', async () => {
  const store = budgetStore(pool);
  let no = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(call, { minLength: 1, maxLength: 12 }),
      fc.option(fc.integer({ min: 1, max: 2_000 })),
      fc.option(fc.integer({ min: 1, max: 20_000 })),
      async (calls, rows, bytes) => {
        no += 1;
        const limits = budget(`model-${no}`, rows, bytes);
        const model = new ModelDatabase();
        for (const one of calls) {
          const request: SliceRequest = { budget: limits, window: null, ...one };
          const { granted, taken } = await store.lease('agent', request);
          expect({ granted, taken }).toEqual({
            granted: model.lease(request).granted,
            taken: [...model.windows.values()][0]?.taken,
          });
        }
      },
    ),
    { numRuns: 40 },
  );
});

it('what many lease at once is not more than there is', async () => {
  const store = budgetStore(pool);
  const limits = budget('at once', 5_000, null);
  const slices = await Promise.all(
    Array.from({ length: 100 }, () => store.lease('agent', asking(limits, 70))),
  );
  expect(slices.reduce((sum, { granted }) => sum + granted.rows, 0)).toBe(5_000);
  // Another agent has it for itself.
  expect((await store.lease('another', asking(limits, 70))).granted.rows).toBe(625);
});

it('windows are by the clock of the database, and what is told late counts where it belongs', async () => {
  const store = budgetStore(pool);
  const limits = budget('short', 100, null, 1_000);
  const first = await store.lease('agent', asking(limits, 100));
  expect(first.granted.rows).toBe(100);
  expect(first.endsAt - Date.parse(first.window)).toBe(1_000);
  expect(first.endsInMs).toBeLessThanOrEqual(1_000);
  let later = first;
  while (later.window === first.window) {
    await new Promise((done) => setTimeout(done, 100));
    const counted = { rows: 0, bytes: 0 };
    later = await store.lease('agent', { ...asking(limits, 100), window: first.window, counted });
  }
  expect(later.granted.rows).toBe(100);
  await store.lease('agent', { ...asking(limits, 0), window: first.window, counted: { rows: 40, bytes: 4 } });
  const { rows } = await database.query(
    `SELECT rows_taken::int AS taken FROM countersign.budget_window
      WHERE budget = 'short' AND window_start = $1`,
    [first.window],
  );
  expect(rows).toEqual([{ taken: 40 }]);
  await store.sweep();
});
