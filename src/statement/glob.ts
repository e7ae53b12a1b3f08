const COMPILED = new Map<string, RegExp>();

/** `*` stands for any characters, `?` for one; all else for itself. Case counts, as in the catalog. */
export function globMatches(glob: string, value: string): boolean {
  let pattern = COMPILED.get(glob);
  if (pattern === undefined) {
    const escaped = glob
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replaceAll('*', '.*')
      .replaceAll('?', '.');
    pattern = new RegExp(`^${escaped}$`, 'su');
    COMPILED.set(glob, pattern);
  }
  return pattern.test(value);
}
