import { performance } from 'node:perf_hooks';

/** Microseconds since 1970 UTC; steady within the process, exact in a double until the year 2255. */
export function nowMicros(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}
