import { FEATURES, type Feature } from './client.ts';

export type Report = { readonly feature: Feature; readonly ok: boolean; readonly detail: string };

/**
 * What a program printed, as reports, one a line. Blank lines are nothing; any other line that is no report is a fault
 * of the program.
 */
export function parseReports(stdout: string): Report[] {
  return stdout
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map(parseReport);
}

function parseReport(line: string): Report {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new Error(`not a report: ${line}`);
  }
  const { feature, ok, detail } = (value ?? {}) as Record<string, unknown>;
  if (!isFeature(feature) || typeof ok !== 'boolean') throw new Error(`not a report: ${line}`);
  return { feature, ok, detail: typeof detail === 'string' ? detail : '' };
}

function isFeature(value: unknown): value is Feature {
  return FEATURES.some((feature) => feature === value);
}
