/**
 * Whether a condition of an earlier rule holds wherever the one of a later rule does. `false` where that is not certain.
 * A rule that allows reads its conditions as certain (all parts, exactly), any other as enough (one part; `name-globs.ts`).
 */
import { globsCoverAll } from './glob-cover.ts';
import { nameParts } from './name-globs.ts';
import type { PolicyRule, SizeCondition, TimeWindow } from './rule.ts';
import { WEEKDAYS } from './rule.ts';
import { hoursOf } from './time-window.ts';

type Side<T> = { readonly wanted: T; readonly decision: PolicyRule['decision'] };
type Globs = Side<readonly string[]>;

/** What an earlier rule is certain of, a later one that holds or denies need not be. */
function readsMore(earlier: Side<unknown>, later: Side<unknown>): boolean {
  return earlier.decision === 'allow' && later.decision !== 'allow';
}

/** For conditions where the decision does not matter. */
export function globsOf(globs: readonly string[]): { readonly cover: (inner: readonly string[]) => boolean } {
  return { cover: (inner) => globsCoverAll(globs, inner) };
}

/** Globs over words: tags. */
export function wordsCover(earlier: Globs, later: Globs | null): boolean {
  return later !== null && !readsMore(earlier, later) && globsCoverAll(earlier.wanted, later.wanted);
}

/** Case does not count, and the decision neither. */
export function commandsCover(earlier: Globs, later: Globs | null): boolean {
  const upper = (globs: readonly string[]) => globs.map((glob) => glob.toUpperCase());
  return later !== null && globsCoverAll(upper(earlier.wanted), upper(later.wanted));
}

/** Words as they are: boundaries and classes. */
export function listCovers(earlier: Globs, later: Globs | null): boolean {
  if (later === null || readsMore(earlier, later)) return false;
  return later.wanted.every((word) => earlier.wanted.includes(word));
}

/** Names whose parts are compared one by one: columns and functions. */
export function partsCover(earlier: Globs, later: Globs | null): boolean {
  if (later === null || readsMore(earlier, later)) return false;
  return later.wanted.every((inner) =>
    earlier.wanted.some((outer) => partsOf(outer, earlier, inner, later) === 'cover'),
  );
}

/** As one text where the schema is known; else part by part, so both must be covered. */
export function relationsCover(earlier: Globs, later: Globs | null): boolean {
  if (later === null || readsMore(earlier, later)) return false;
  const whole = globsCoverAll(
    earlier.wanted.flatMap((glob) => wholeForms(glob, earlier)),
    later.wanted.flatMap((glob) => wholeForms(glob, later)),
  );
  if (!whole || later.decision === 'allow') return whole;
  return later.wanted.every((inner) =>
    earlier.wanted.some(
      (outer) => outer === '*' || outer === inner || partsOf(outer, earlier, inner, later) === 'cover',
    ),
  );
}

/** The globs that a name as a whole is compared with: as written and, where that is enough, as Postgres folds it. */
function wholeForms(glob: string, { decision }: Globs): readonly string[] {
  const parts = nameParts(glob) ?? [];
  const exact = parts.map((part) => part.exact).join('.');
  return decision === 'allow' ? [exact] : [exact, parts.map((part) => part.folded).join('.')];
}

function partsOf(outer: string, earlier: Globs, inner: string, later: Globs): 'cover' | 'unsure' {
  const [outerParts, innerParts] = [nameParts(outer), nameParts(inner)];
  if (outerParts === null || innerParts === null || innerParts.length < 2) return 'unsure';
  if (outerParts.length !== innerParts.length) return 'unsure';
  const forms = (
    { exact, folded }: { readonly exact: string; readonly folded: string },
    { decision }: Globs,
  ) => (decision === 'allow' ? [exact] : [exact, folded]);
  const covered = innerParts.every((part, at) => {
    const other = outerParts[at];
    return other !== undefined && globsCoverAll(forms(other, earlier), forms(part, later));
  });
  return covered ? 'cover' : 'unsure';
}

/** `enough`: unknown sizes count as matched; `certain`: they do not. */
export function sizeCovers(earlier: Side<SizeCondition>, later: Side<SizeCondition> | null): boolean {
  if (later === null || readsMore(earlier, later)) return false;
  const [before, after] = [earlier.wanted, later.wanted];
  if (earlier.decision === 'allow' && before.above !== undefined) return false;
  const most = after.atMost ?? Number.POSITIVE_INFINITY;
  const least = after.above ?? -1;
  return (before.above ?? -1) <= least && (before.atMost ?? Number.POSITIVE_INFINITY) >= most;
}

const MINUTES = 24 * 60;

/** Windows in one zone are laid on one week; of two zones nothing is certain but that a whole week is always. */
export function timeCovers(
  earlier: Side<readonly TimeWindow[]>,
  later: Side<readonly TimeWindow[]> | null,
): boolean {
  const weeks = new Map<string, boolean[]>();
  for (const window of earlier.wanted) {
    const zone = window.zone ?? 'UTC';
    const week = weeks.get(zone) ?? new Array<boolean>(MINUTES * WEEKDAYS.length).fill(false);
    for (const minute of minutesOf(window)) week[minute] = true;
    weeks.set(zone, week);
  }
  if ([...weeks.values()].some((week) => week.every(Boolean))) return true;
  if (later === null) return false;
  return later.wanted.every((window) => {
    const week = weeks.get(window.zone ?? 'UTC');
    return week !== undefined && minutesOf(window).every((minute) => week[minute] === true);
  });
}

/** Minutes of a week; hours over midnight belong to the day of the moment itself. */
function minutesOf({ days, hours }: TimeWindow): readonly number[] {
  const span = hours === undefined ? null : hoursOf(hours);
  const inDay = (minute: number) => {
    if (span === null) return true;
    const { from, to } = span;
    return from < to ? minute >= from && minute < to : minute >= from || minute < to;
  };
  const ofDay = Array.from({ length: MINUTES }, (_, minute) => minute).filter(inDay);
  return WEEKDAYS.flatMap((day, at) =>
    days === undefined || days.includes(day) ? ofDay.map((minute) => at * MINUTES + minute) : [],
  );
}
