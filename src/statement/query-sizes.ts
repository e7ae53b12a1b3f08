import type { Context, QuerySize } from './context.ts';
import { child, typeOf } from './tree.ts';

/** Keeps the size of a query for whoever contains it. `body`: of the statement, not the wrapped node. */
export function rememberSize(context: Context, body: object, size: QuerySize): void {
  if (body === context.root) context.rootSize = size;
  else {
    context.sizes ??= new Map();
    context.sizes.set(body, size);
  }
}

/** The size of a wrapped sub-query (or data-modifying statement) that was walked before. */
export function rememberedSize(context: Context, wrapped: unknown): QuerySize | null {
  const body = child(wrapped, typeOf(wrapped));
  return body === null ? null : (context.sizes?.get(body) ?? null);
}

export function rememberedRows(context: Context, wrapped: unknown): number | null {
  return rememberedSize(context, wrapped)?.rows ?? null;
}

/** A value that holds a whole table is an export, whatever the number of rows. */
export function checkFold(context: Context, inputRows: number, filtered: boolean): void {
  if (context.definition) return;
  if (context.catalog === null) {
    if (inputRows === Number.POSITIVE_INFINITY && !filtered)
      context.facts.tooLarge('folds a whole table into few values');
    return;
  }
  const { exportRows } = context.limits;
  if (inputRows <= exportRows) return;
  const rows = Number.isFinite(inputRows)
    ? `up to ${Math.ceil(inputRows)} rows`
    : 'an unknown number of rows';
  context.facts.foldsMany = true;
  context.facts.tooLarge(`folds ${rows} into few values, more than ${exportRows}`);
}

/** 0 times Infinity is nothing at all. */
export function product(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : a * b;
}

export const UNKNOWN_SIZE: QuerySize = {
  rows: Number.POSITIVE_INFINITY,
  perRow: 1,
  total: Number.POSITIVE_INFINITY,
  data: true,
  tables: true,
  filtered: false,
  columns: null,
};
