/** Cheap looks at a text before the parser sees it. The bytes are attacker-controlled. */

const SLASH = 0x2f;
const STAR = 0x2a;

/** Nesting of `(` and `[`, and chains of operators and keywords, cost stack; the parser's inline stack is small. */
const INLINE_WEIGHT = 600;

/**
 * True where the text may take long or much stack: longer than `inlineBytes`, comments that may be deep, or many
 * operators, brackets and set operations (10,000 terms of `1+1+…` destroy the parser instance).
 */
export function isHeavy(sql: Buffer, inlineBytes: number): boolean {
  if (sql.length > inlineBytes) return true;
  if (sql.length <= INLINE_WEIGHT) return false;
  let weight = 0;
  let comments = 0;
  for (let i = 0; i < sql.length; i++) {
    const byte = sql[i] ?? 0;
    if (byte === SLASH && sql[i + 1] === STAR) comments++;
    if (isOperatorOrBracket(byte)) weight++;
  }
  if (comments > 50 || weight > INLINE_WEIGHT) return true;
  return sql.length > 2 * INLINE_WEIGHT && countChains(sql) > INLINE_WEIGHT / 4;
}

function isOperatorOrBracket(byte: number): boolean {
  switch (byte) {
    case 0x28: // (
    case 0x5b: // [
    case 0x2b: // +
    case 0x2d: // -
    case 0x2a: // *
    case 0x2f: // /
    case 0x3c: // <
    case 0x3e: // >
    case 0x7c: // |
    case 0x25: // %
    case 0x5e: // ^
    case 0x7e: // ~
    case 0x21: // !
    case 0x40: // @
    case 0x23: // #
    case 0x26: // &
    case 0x3f: // ?
    case 0x3a: // : of a cast
      return true;
    default:
      return false;
  }
}

const CHAINING = /\b(?:union|intersect|except|not|join|case|collate|at|isnull|notnull|is|using|select)\b/gi;

function countChains(sql: Buffer): number {
  return sql.toString('latin1').match(CHAINING)?.length ?? 0;
}

/**
 * An upper bound of how deep block comments nest. Opening marks in strings and line comments count as well, so the
 * true depth is never more: inside a true comment every mark is seen as Postgres sees it.
 */
export function commentDepthAtMost(sql: Buffer): number {
  let depth = 0;
  let deepest = 0;
  for (let i = 0; i < sql.length - 1; i++) {
    if (sql[i] === SLASH && sql[i + 1] === STAR) {
      depth++;
      i++;
      if (depth > deepest) deepest = depth;
    } else if (sql[i] === STAR && sql[i + 1] === SLASH) {
      if (depth > 0) depth--;
      i++;
    }
  }
  return deepest;
}
