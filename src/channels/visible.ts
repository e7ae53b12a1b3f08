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

/**
 * Control, format, private, unassigned, separators other than the plain space, whatever Unicode calls ignorable
 * (zero-width, variation selectors, fillers, tags), and the blank Braille cell.
 */
const INVISIBLE = /(?![\t\n ])[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/gu;
