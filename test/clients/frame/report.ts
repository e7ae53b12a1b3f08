import { FEATURES, type Feature } from './client.ts';

export type Report = { readonly feature: Feature; readonly ok: boolean; readonly detail: string };
/** What a program printed; `strays` are lines that are no reports. */
export type Reports = { readonly reports: readonly Report[]; readonly strays: readonly string[] };

export function parseReports(stdout: string): Reports {
  const reports: Report[] = [];
  const strays: string[] = [];
  for (const line of stdout.split('\n')) {
    if (line.trim() === '') continue;
    const report = parseReport(line);
    if (report === null) strays.push(line);
    else reports.push(report);
  }
  return { reports, strays };
}

function parseReport(line: string): Report | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  const { feature, ok, detail } = (value ?? {}) as Record<string, unknown>;
  if (!isFeature(feature) || typeof ok !== 'boolean') return null;
  return { feature, ok, detail: typeof detail === 'string' ? detail : '' };
}

function isFeature(value: unknown): value is Feature {
  return FEATURES.some((feature) => feature === value);
}
