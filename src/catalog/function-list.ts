import type { ListedFunction } from '../config/config.ts';
import type { FunctionDeed } from '../statement/catalog.ts';
import type { CatalogJudgement, UserFunction } from './judgement.ts';

export type ListLog = { readonly warn: (fields: object, message: string) => void };

/** How an entry of a list stands to the functions that there are. */
export type ListState = 'counts' | 'unknown' | 'changed' | 'missing';

/**
 * What a person has listed, bound to names and digests. The names in the list and in the database are only compared: an
 * entry that fits nothing is told in the log, once, and counts for nothing.
 */
export function byList(
  list: readonly ListedFunction[],
  log: ListLog | null,
): Pick<CatalogJudgement, 'listed' | 'inspect'> {
  const entries = new Map(list.map((entry) => [keyOf(entry.function, entry.sha256), entry]));
  const told = new Set<string>();
  return {
    listed: (fn) => {
      const entry = entries.get(keyOf(fn.listName, fn.bodyDigest));
      return entry === undefined ? null : deedOf(entry);
    },
    inspect: (functions) => {
      for (const { entry, state } of statesOf(list, functions)) {
        const key = `${state} ${entry.function} ${entry.sha256}`;
        if (log === null || state === 'counts' || state === 'unknown' || told.has(key)) continue;
        told.add(key);
        log.warn(
          { function: entry.function },
          state === 'changed'
            ? 'a listed function has changed: the entry no longer counts until somebody looks at it again'
            : 'a listed function is not in the database',
        );
      }
    },
  };
}

export function statesOf(
  list: readonly ListedFunction[],
  functions: readonly UserFunction[],
): readonly { readonly entry: ListedFunction; readonly state: ListState }[] {
  const digests = new Map(functions.map((fn) => [fn.listName, fn.bodyDigest]));
  return list.map((entry) => ({ entry, state: stateOf(entry, digests.get(entry.function)) }));
}

function stateOf(entry: ListedFunction, digest: string | undefined): ListState {
  if (digest === undefined) return 'missing';
  if (digest !== entry.sha256) return 'changed';
  return entry.does === 'unknown' ? 'unknown' : 'counts';
}

function deedOf({ does, by }: ListedFunction): FunctionDeed | null {
  if (does === 'unknown') return null;
  return does === 'reads'
    ? { class: 'read', reason: `reads, as ${by} vouches` }
    : { class: 'write', reason: `writes, as ${by} vouches` };
}

function keyOf(name: string, digest: string): string {
  return `${digest} ${name}`;
}
