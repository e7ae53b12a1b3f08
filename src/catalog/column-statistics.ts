import type { Column } from '../statement/catalog.ts';
import type { ColumnStatisticsRow } from './rows.ts';

/**
 * Without a list of common values no value stood out from the average in the sample: then twice the average, and at
 * least what a sample of 30,000 rows cannot tell from nothing.
 */
export function columnStatistics(
  row: ColumnStatisticsRow | undefined,
  rows: number | null,
): Pick<Column, 'commonestShare' | 'distinctValues'> {
  if (row === undefined || row.distinct === 0) return {};
  if (row.distinct < 0 && rows === null) return { commonestShare: row.commonest, distinctValues: null };
  const values = row.distinct > 0 ? row.distinct : Math.max(1, -row.distinct * (rows ?? 0));
  const average = (2 * (1 - row.nulls)) / values;
  return {
    commonestShare: row.commonest ?? Math.min(1, Math.max(average, 1e-4)),
    distinctValues: Math.round(values),
  };
}
