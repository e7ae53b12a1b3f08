import type { Found, Tally } from './tally.ts';

const share = (part: number, whole: number) =>
  `${part} of ${whole} (${((100 * part) / Math.max(1, whole)).toFixed(1)} %)`;
const most = (counts: ReadonlyMap<string, number>, how: number) =>
  [...counts]
    .sort((a, b) => b[1] - a[1])
    .slice(0, how)
    .map(([what, count]) => `  ${count} × ${what}`)
    .join('\n');

/** What a campaign was, in lines for people; `verbose`: also why statements failed and harmless ones were held. */
export function report(tally: Tally, seed: number, ms: number, verbose: boolean): string {
  const kinds = [...tally.bySource].map(([kind, { all, ran }]) => `${kind} ${ran}/${all}`).join(', ');
  const planted = [...tally.planted]
    .sort((a, b) => a[1] - b[1])
    .map(([name, at]) => `  after ${at}: ${name}`)
    .join('\n');
  return [
    `seed ${seed}: ${tally.statements} statements in ${(ms / 1000).toFixed(0)} s (${((1000 * tally.statements) / ms).toFixed(0)} a second; ${tally.skipped} would have ended their transaction)`,
    `ran without an error: ${share(tally.ran, tally.statements)}; by kind: ${kinds}`,
    `flowed: ${share(tally.flowed, tally.statements)}; harmless by what the server did: ${tally.harmless}, of these held: ${share(tally.harmlessHeld, tally.harmless)}`,
    `in doubt by text and catalog: ${tally.doubted}; with the server's answers: ${tally.clarified} (${tally.unanswered} questions without one), of these flow: ${tally.clarifiedFlowed}, and ran: ${tally.clarifiedRan}`,
    `command tags seen: ${tally.tags.size}; node types seen: ${tally.coverage.nodes.size}`,
    `planted mistakes found:\n${planted}`,
    ...(verbose
      ? [
          `errors:\n${most(tally.errors, 25)}`,
          `harmless, and held:\n${most(tally.heldReasons, 25)}`,
          `tags: ${[...tally.tags.keys()].sort().join(', ')}`,
        ]
      : []),
  ].join('\n');
}

/** Each kind of violation once, with its shortest statement. */
export function shortest(found: readonly Found[]): Found[] {
  const kinds = new Map<string, Found>();
  for (const one of found) {
    const key = `${one.by} ${one.rule}: ${one.what}`.replace(/\d+/g, 'N');
    const known = kinds.get(key);
    if (known === undefined || known.sql.length > one.sql.length) kinds.set(key, one);
  }
  return [...kinds.values()];
}
