/**
 * A deliberately small reader of PL/pgSQL trigger bodies: `BEGIN … END` with assignments to columns of NEW, IF, RETURN
 * and INSERT … VALUES. Whatever else it meets, a comment in an odd place included, makes the body unknown (null).
 */
export type TriggerStatement =
  /** PL/pgSQL evaluates it as `SELECT <sql>`. */
  { readonly kind: 'expression'; readonly sql: string } | { readonly kind: 'insert'; readonly sql: string };

/** Longer bodies are not read. */
const LONGEST = 8 * 1024;

export function triggerStatements(body: string): readonly TriggerStatement[] | null {
  if (body.length > LONGEST) return null;
  const plain = withoutComments(body);
  if (plain === null) return null;
  const block = /^\s*BEGIN\b([\s\S]*)\bEND\s*;?\s*$/i.exec(plain);
  if (block === null) return null;
  const found: TriggerStatement[] = [];
  let depth = 0;
  for (const piece of (block[1] ?? '').split(';')) {
    let rest = piece.trim();
    // One piece may open several branches before its statement: IF a THEN IF b THEN NEW.x := 1
    for (let branch = BRANCH.exec(rest); branch !== null; branch = BRANCH.exec(rest)) {
      const [matched, word, condition] = branch;
      if (word?.toUpperCase() === 'IF') depth += 1;
      else if (depth === 0) return null;
      if (condition !== undefined) found.push({ kind: 'expression', sql: condition });
      rest = rest.slice(matched.length).trim();
    }
    if (/^END\s+IF$/i.test(rest)) {
      depth -= 1;
      if (depth < 0) return null;
      continue;
    }
    if (rest === '' || /^RETURN\s+(NEW|OLD|NULL)$/i.test(rest) || /^NULL$/i.test(rest)) continue;
    const statement = simpleStatement(rest);
    if (statement === null) return null;
    found.push(statement);
  }
  return depth === 0 ? found : null;
}

/** IF or ELSIF with the shortest condition up to a THEN (a wrong guess does not parse later), or ELSE. */
const BRANCH = /^(?:(IF|ELSIF|ELSEIF)\b([\s\S]*?)\bTHEN\b|(?:ELSE)\b)/i;

function simpleStatement(text: string): TriggerStatement | null {
  const assignment = /^NEW\.[a-z_][a-z0-9_]*\s*:?=([\s\S]+)$/i.exec(text);
  if (assignment !== null) return { kind: 'expression', sql: assignment[1] ?? '' };
  if (/^INSERT\s+INTO\s+[a-z_][a-z0-9_.]*\s*(\([a-z0-9_,\s]*\)\s*)?VALUES\s*\(/i.test(text))
    return { kind: 'insert', sql: text };
  return null;
}

/**
 * Null where quoting other than plain 'strings' on one line, or a semicolon in one, would make cutting unsafe: prefixed
 * strings (E, B, U&), quoted names, dollar quotes, block comments, directives, labels.
 */
function withoutComments(body: string): string | null {
  if (/[\\"$#]|\/\*|\*\/|<</.test(body)) return null;
  const lines: string[] = [];
  for (const line of body.split(/\r\n|\n|\r/)) {
    const [code = ''] = line.split('--', 1);
    // Outside, inside, outside, …: an even number of pieces is a string that does not end on this line.
    const pieces = code.split("'");
    if (pieces.length % 2 === 0 || (pieces.length > 1 && code !== line)) return null;
    for (const [at, piece] of pieces.entries()) {
      const opensNext = at % 2 === 0 && at < pieces.length - 1;
      if (opensNext && /[a-zA-Z0-9_&]$/.test(piece)) return null;
      if (at % 2 === 1 && piece.includes(';')) return null;
    }
    lines.push(code);
  }
  return lines.join('\n');
}
