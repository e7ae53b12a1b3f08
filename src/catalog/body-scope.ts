import type { NameScope } from '../statement/analysis.ts';

/**
 * How the bare names in a function's body are resolved: by the search_path that it pins, or else by its caller's. Null:
 * it pins other things too, or in a way that is not read here. `settings`: pg_proc.proconfig as the array's text.
 */
export function bodyScope(settings: string, caller: NameScope): NameScope | null {
  if (settings === '') return caller;
  const [only, ...others] = arrayElements(settings) ?? [];
  if (only === undefined || others.length > 0 || !only.startsWith('search_path=')) return null;
  const schemas = identifiers(only.slice('search_path='.length));
  if (schemas === null) return null;
  // Unless it is named, pg_temp is looked at first; in the last place, only for what no other schema has.
  const temp = schemas.indexOf('pg_temp');
  const tempPossible = caller.tempPossible && (temp === -1 || temp !== schemas.length - 1 || temp === 0);
  // pg_catalog named behind another schema would not come first; $user is the role that calls.
  if (schemas.indexOf('pg_catalog') > 0 || schemas.includes('$user'))
    return { searchPath: null, tempPossible };
  return {
    searchPath: schemas.filter((name) => name !== 'pg_catalog' && name !== 'pg_temp' && name !== ''),
    tempPossible,
  };
}

/** The elements of a one-dimensional text array's literal. */
function arrayElements(literal: string): readonly string[] | null {
  const found: string[] = [];
  const element = /(?:"((?:[^"\\]|\\.)*)"|([^",{}\\\s][^",{}\\]*))(,|\}$)/gy;
  if (!literal.startsWith('{')) return null;
  element.lastIndex = 1;
  for (;;) {
    const [, quoted, bare, after] = element.exec(literal) ?? [];
    if (after === undefined) return null;
    found.push(quoted?.replace(/\\(.)/g, '$1') ?? bare ?? '');
    if (after !== ',') return found;
  }
}

/** Names with commas between, as a setting's value has them; null where it is anything else. */
function identifiers(list: string): readonly string[] | null {
  if (list.trim() === '') return [];
  const found: string[] = [];
  const name = /\s*(?:"((?:[^"]|"")*)"|([a-z_][a-z0-9_]*))\s*(,|$)/gy;
  for (;;) {
    const [, quoted, bare, after] = name.exec(list) ?? [];
    if (after === undefined) return null;
    found.push(quoted?.replaceAll('""', '"') ?? bare ?? '');
    if (after !== ',') return found;
  }
}
