/** A search_path as SHOW prints it, `"$user"` resolved; null where it is not a plain list. */
export function parseSearchPath(text: string, role: string): readonly string[] | null {
  const names: string[] = [];
  const item = /\s*(?:"((?:[^"]|"")*)"|([^\s",]+))\s*(,|$)/gy;
  let at = 0;
  if (text.trim() === '' || text.trim() === '""') return [];
  while (at < text.length) {
    item.lastIndex = at;
    const match = item.exec(text);
    if (match === null) return null;
    const name = match[1]?.replaceAll('""', '"') ?? match[2]?.toLowerCase() ?? '';
    if (name === '$user') names.push(role);
    else if (name !== '') names.push(name);
    at = item.lastIndex;
  }
  return names;
}
