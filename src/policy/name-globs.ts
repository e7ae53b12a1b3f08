/** Globs over names of the database, as rules write them. */
import { globMatches } from '../statement/glob.ts';

/** Quotes taken off: `exact` keeps the case that was written, `folded` is what Postgres makes of what is not quoted. */
type Part = { readonly exact: string; readonly folded: string };

const PARTS = new Map<string, readonly Part[]>();

/** The parts of a name, cut at the dots outside of double quotes; null where the quotes are not in pairs. */
export function nameParts(glob: string): readonly Part[] | null {
  const known = PARTS.get(glob);
  if (known !== undefined) return known;
  if (!/^(?:[^"]|"(?:[^"]|"")*")*$/s.test(glob)) return null;
  const parts = [...glob.matchAll(/(?:^|\.)((?:[^".]|"(?:[^"]|"")*")*)/gs)].map(([, text = '']) =>
    partOf(text),
  );
  PARTS.set(glob, parts);
  return parts;
}

function partOf(text: string): Part {
  const part = { exact: '', folded: '' };
  for (const [, quoted, bare = ''] of text.matchAll(/"((?:[^"]|"")*)"|([^"]+)/gs)) {
    const exact = quoted?.replaceAll('""', '"') ?? bare;
    part.exact += exact;
    part.folded += quoted === undefined ? bare.toLowerCase() : exact;
  }
  return part;
}

/**
 * How a rule looks at names. `enough`: to hold or deny, where a glob means the name as written and as Postgres folds it,
 * and what is not known (null) may be anything. `certain`: to allow, where a name is itself alone.
 */
export type Reading = 'enough' | 'certain';

/** Part by part: `*` does not reach over a dot. */
export function partsMatch(glob: string, name: readonly (string | null)[], reading: Reading): boolean {
  const parts = nameParts(glob);
  if (parts === null || parts.length !== name.length) return false;
  return name.every((text, at) => {
    if (text === null) return reading === 'enough';
    const part = parts[at];
    return part !== undefined && partMatches(part, text, reading);
  });
}

/** Over `schema.name` as one text, where `*` reaches over the dot: `*` alone is every relation. Null: not known. */
export function relationMatches(
  glob: string,
  schema: string | null,
  name: string | null,
  reading: Reading,
): boolean {
  const parts = nameParts(glob) ?? [];
  if (schema === null || name === null) return reading === 'enough' && mayBe(parts, schema, name);
  const whole = { exact: joined(parts, 'exact'), folded: joined(parts, 'folded') };
  return partMatches(whole, `${schema}.${name}`, reading);
}

/** Whatever is not known of it: a glob without a dot reaches over one by its `*`, else what is known must fit. */
function mayBe(parts: readonly Part[], schema: string | null, name: string | null): boolean {
  const [first, ...rest] = parts;
  if (first === undefined || rest.length === 0) return first?.exact.includes('*') === true;
  if (schema !== null && !first.exact.includes('*') && !partMatches(first, schema, 'enough')) return false;
  const last = { exact: joined(rest, 'exact'), folded: joined(rest, 'folded') };
  return name === null || partMatches(last, name, 'enough');
}

function joined(parts: readonly Part[], form: keyof Part): string {
  return parts.map((part) => part[form]).join('.');
}

function partMatches(part: Part, text: string, reading: Reading): boolean {
  return globMatches(part.exact, text) || (reading === 'enough' && globMatches(part.folded, text));
}
