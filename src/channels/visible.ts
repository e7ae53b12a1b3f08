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

// Cc but \t and \n; Cf (bidi, zero width, soft hyphen, tags), Zl, Zp; lone surrogates, private use; letters and marks that
// show nothing (fillers, joiners, variation selectors); spaces that are no U+0020.
const INVISIBLE =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]|\p{Cf}|\p{Zl}|\p{Zp}|\p{Cs}|\p{Co}|\u034f|[\u115f\u1160]|[\u17b4\u17b5]|[\u180b-\u180f]|[\u3164\uffa0\u2800]|[\ufe00-\ufe0f]|[\u{e0100}-\u{e01ef}]|(?! )\p{Zs}/gu;
