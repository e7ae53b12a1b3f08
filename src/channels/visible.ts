/**
 * Makes text that an agent chose harmless to read: control, bidirectional, zero-width and other invisible characters
 * become `‹U+202E›`, so that what is read is what is there. Line feeds and tabs stay. Idempotent.
 */
export function visible(text: string): string {
  return text.replace(INVISIBLE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return `‹U+${code.toString(16).toUpperCase().padStart(4, '0')}›`;
  });
}

/** What an approval allows a result to be, in plain words; null: no limit. */
export function limitWords(limits: {
  readonly rows: number | null;
  readonly bytes: number | null;
}): string | null {
  const words = [
    ...(limits.rows === null ? [] : [`${limits.rows.toLocaleString('en-US')} rows`]),
    ...(limits.bytes === null ? [] : [`${limits.bytes.toLocaleString('en-US')} bytes`]),
  ];
  return words.length === 0 ? null : `at most ${words.join(' and ')}; then the result is stopped`;
}

/**
 * Control, format, private, unassigned, separators other than the plain space, whatever Unicode calls ignorable
 * (zero-width, variation selectors, fillers, tags), and the blank Braille cell.
 */
const INVISIBLE = /(?![\t\n ])[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu;
