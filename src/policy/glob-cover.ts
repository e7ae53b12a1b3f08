/** Sets of globs against one another. Answers are exact, or, where working them out would take too long, `false`. */

/** Pairs of states that are looked at before the question is given up. */
const MOST_STATES = 20_000;

/** True where every text that `inner` matches is matched by one of `outer` (perhaps another one for each text). */
export function globsCover(outer: readonly string[], inner: string): boolean {
  if (outer.some((glob) => glob === '*' || glob === inner)) return true;
  const pattern = characters(inner);
  const others = outer.map(characters);
  const alphabet = lettersOf([pattern, ...others]);
  // A position in `inner` (it can be in each alone) with all positions that the others can be in then.
  const open: State[] = closed(pattern, [0]).map((at) => ({
    at,
    rest: others.map((one) => closed(one, [0])),
  }));
  const seen = new Set(open.map(keyOf));
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    if (state.at === pattern.length && !state.rest.some(isAtEnd(others))) return false;
    for (const letter of alphabet) {
      const rest = state.rest.map((positions, which) => stepped(others[which] ?? [], positions, letter));
      for (const at of stepped(pattern, [state.at], letter)) {
        const next = { at, rest };
        const key = keyOf(next);
        if (seen.has(key)) continue;
        if (seen.size >= MOST_STATES) return false;
        seen.add(key);
        open.push(next);
      }
    }
  }
  return true;
}

/** As `globsCover`, for each of several. */
export function globsCoverAll(outer: readonly string[], inner: readonly string[]): boolean {
  // Each glob more makes more states.
  const different = [...new Set(outer)];
  return [...new Set(inner)].every((glob) => globsCover(different, glob));
}

type State = { readonly at: number; readonly rest: readonly (readonly number[])[] };

/** Stands for every character that no glob names. */
const ANY_OTHER = '';

function characters(glob: string): readonly string[] {
  return [...glob];
}

function lettersOf(globs: readonly (readonly string[])[]): readonly string[] {
  const named = globs.flat().filter((character) => character !== '*' && character !== '?');
  return [...new Set([...named, ANY_OTHER])];
}

function isAtEnd(
  globs: readonly (readonly string[])[],
): (positions: readonly number[], which: number) => boolean {
  return (positions, which) => positions.includes(globs[which]?.length ?? 0);
}

/** A star may stand for nothing. */
function closed(glob: readonly string[], positions: readonly number[]): readonly number[] {
  const all = new Set<number>();
  for (let at of positions) {
    all.add(at);
    while (glob[at] === '*') all.add(++at);
  }
  return [...all].sort((a, b) => a - b);
}

function stepped(glob: readonly string[], positions: readonly number[], letter: string): readonly number[] {
  const next = positions.flatMap((at) => {
    const wanted = glob[at];
    if (wanted === '*') return [at];
    return wanted === '?' || (wanted !== undefined && wanted === letter) ? [at + 1] : [];
  });
  return closed(glob, next);
}

function keyOf({ at, rest }: State): string {
  return `${at}|${rest.map((positions) => positions.join()).join('|')}`;
}
