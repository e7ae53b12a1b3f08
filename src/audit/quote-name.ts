/** A name as SQL wants it between words: `"…"`, with quotes in it doubled. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
