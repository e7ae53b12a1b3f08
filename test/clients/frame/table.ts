import { FEATURES, type Row } from './client.ts';

/** Client × feature, for a terminal, with a note for every row that has something to say. */
export function renderTable(rows: readonly Row[]): string {
  const lines = [
    ['client', ...FEATURES],
    ...rows.map(({ name, cells }) => [name, ...FEATURES.map((f) => cells[f])]),
  ];
  const widths = ['client', ...FEATURES].map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  );
  const table = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const notes = rows.flatMap(({ name, notes }) => notes.map((note) => `${name}: ${note}`));
  return [...table, ...(notes.length === 0 ? [] : ['', ...notes])].join('\n');
}
