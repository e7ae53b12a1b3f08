import type { Level, Source } from './level.ts';
import type { NotedUse } from './relation-use.ts';
import { bodyOf, text } from './tree.ts';

/**
 * Notes which columns a reference reads, at every relation that it could mean: rather one too many than one too few.
 * `parts`: as written, the last one the column or `*`.
 */
export function noteColumns(level: Level | null, parts: readonly string[]): void {
  const column = parts.at(-1) ?? '';
  if (level === null || column === '') return;
  if (parts.length > 1) return noteQualified(level, parts.at(-2) ?? '', column);
  if (column === '*') {
    for (const source of level.sources) source.use?.noteAll('read');
    return;
  }
  for (let at: Level | null = level; at !== null; at = at.parent) {
    let certain = false;
    for (const source of at.sources) {
      // A source of its own name: the whole row.
      if (source.alias === column && !source.columns?.has(column)) source.use?.noteAll('read');
      else if (source.columns?.has(column)) {
        source.use?.note('read', column);
        certain = true;
      } else if (source.columns === null) source.use?.note('read', column);
    }
    if (certain) return;
  }
}

function noteQualified(level: Level, alias: string, column: string): void {
  for (let at: Level | null = level; at !== null; at = at.parent) {
    const source = at.sources.find((one) => one.alias === alias);
    if (source !== undefined) return noteAt(source, column);
  }
  // What an INSERT would have stored.
  if (alias === 'excluded') return;
  if (alias === 'old' || alias === 'new') return noteWritten(level, column);
  // An alias of a join, or of RETURNING: any relation here may be meant.
  for (let at: Level | null = level; at !== null; at = at.parent)
    for (const { use } of at.sources) use?.noteUnknown('read');
}

function noteAt(source: Source, column: string): void {
  if (column === '*') source.use?.noteAll('read');
  else source.use?.note('read', column);
}

/** RETURNING old.x, new.x: of the relation that is written. */
function noteWritten(level: Level, column: string): void {
  for (const source of level.sources) if (source.use?.mode === 'write') noteAt(source, column);
}

/** Notes what INSERT's column list or SET's left sides name; an INSERT without a list stores all. */
export function noteTargets(
  use: NotedUse | undefined,
  targets: readonly unknown[],
  allIfNone: boolean,
): void {
  if (use === undefined) return;
  if (targets.length === 0 && allIfNone) return use.noteAll('written');
  for (const target of targets) {
    const name = text(bodyOf(target, 'ResTarget'), 'name');
    if (name !== '') use.note('written', name);
  }
}

/** JOIN … USING reads the column on both sides; NATURAL JOIN those that both have. */
export function noteJoined(
  left: ReadonlySet<Source>,
  right: ReadonlySet<Source>,
  using: readonly string[],
  natural: boolean,
): void {
  const sides = [...left, ...right];
  for (const column of using)
    for (const source of sides)
      if (source.columns === null || source.columns.has(column)) source.use?.note('read', column);
  if (!natural) return;
  for (const [source, others] of [
    ...[...left].map((one) => [one, right] as const),
    ...[...right].map((one) => [one, left] as const),
  ]) {
    if (source.columns === null) source.use?.noteUnknown('read');
    else
      for (const column of source.columns)
        if ([...others].some(({ columns }) => columns === null || columns.has(column)))
          source.use?.note('read', column);
  }
}
