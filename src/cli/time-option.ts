import { CliError } from './exit.ts';

const ISO = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2}))?$/;

/** A point in time as ISO 8601 (a day alone: its beginning, UTC) or `now`; seconds since 1970 UTC. Throws `CliError`. */
export function timeOption(option: string, text: string): number {
  const ms = text === 'now' ? Date.now() : ISO.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms))
    throw new CliError('bad_time', `${option}: expected a time like 2026-01-31T12:00:00Z, or now`);
  return Math.floor(ms / 1000);
}
