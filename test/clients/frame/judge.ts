import { type Cell, type Client, FEATURES, type Feature, type Row } from './client.ts';
import { parseReports, type Report } from './report.ts';
import type { Run } from './run-client.ts';

/** What the server itself shows of a feature; null when it is as it must be. */
export type LookAtServer = (feature: Feature) => Promise<string | null>;

/** The client's row; a note for everything that is wrong, so none when all is well. */
export async function judge(client: Client, run: Run, look: LookAtServer): Promise<Row> {
  const { reports, strays } = parseReports(run.stdout);
  const cells: [Feature, Cell][] = [];
  const notes = strays.map((line) => `not a report: ${line}`);
  for (const feature of FEATURES) {
    const own = reports.filter((report) => report.feature === feature);
    const able = client.cannot?.[feature] === undefined;
    const problem = able ? (problemOf(own, run) ?? (await look(feature))) : surplus(own);
    if (problem !== null) notes.push(`${feature}: ${problem}`);
    cells.push([feature, problem !== null ? 'NO' : able ? 'yes' : 'can not']);
  }
  if (run.code !== 0) notes.push(`the program ended with ${run.code ?? 'its time over'}`);
  return { name: client.name, cells: Object.fromEntries(cells) as Row['cells'], notes };
}

export function skippedRow({ name, install }: Client): Row {
  const cells = Object.fromEntries(FEATURES.map((feature) => [feature, 'skipped'])) as Row['cells'];
  return { name, cells, notes: [`not installed: ${install}`] };
}

function problemOf([report, ...more]: readonly Report[], run: Run): string | null {
  if (report === undefined) return `not reported: ${run.stderr.slice(-500)}`;
  if (more.length > 0) return 'reported more than once';
  return report.ok ? null : report.detail || 'failed';
}

function surplus(reports: readonly Report[]): string | null {
  return reports.length === 0 ? null : 'reported, although it is declared as impossible';
}
