/** Of `candidates` the one that needs the fewest edits to become `word`, if it is near enough to be what was meant. */
export function nearest(word: string, candidates: readonly string[]): string | null {
  const wanted = word.toLowerCase();
  const [best] = candidates
    .map((candidate) => ({ candidate, distance: levenshtein(wanted, candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  if (best === undefined) return null;
  return best.distance <= Math.max(2, Math.floor(word.length / 2)) ? best.candidate : null;
}

/** Edits (insert, delete, exchange one character) between two strings. */
export function levenshtein(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const exchange = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(exchange, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
