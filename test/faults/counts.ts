/** What `npm run test:faults` prints: how much was tried, so that a run that tried nothing is seen to. */
export function printCounts(...lines: readonly string[]): void {
  process.stderr.write(`\n${lines.join('\n')}\n`);
}
