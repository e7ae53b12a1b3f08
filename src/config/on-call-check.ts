import type { OnCall } from '../policy/rule.ts';
import { isWithin } from '../policy/time-window.ts';

/** From a Monday on, a week in steps: windows that last less are looked at by themselves. */
const MONDAY_MS = Date.UTC(2026, 0, 5);
const STEP_MS = 15 * 60_000;
const WEEK_STEPS = 7 * 24 * 4;

/** The windows of a rule that hold together at some time of the week, by their places; each alone is among them. */
export function windowsTogether(onCall: readonly OnCall[]): readonly (readonly number[])[] {
  const found = new Map(onCall.map((_window, place) => [String(place), [place]]));
  for (let step = 0; step < WEEK_STEPS; step += 1) {
    const at = (MONDAY_MS + step * STEP_MS) * 1000;
    const places = onCall.flatMap((window, place) => (isWithin(window, at) ? [place] : []));
    if (places.length > 1) found.set(places.join(' '), places);
  }
  return [...found.values()];
}
