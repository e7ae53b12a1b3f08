/** Names that rules use, against those that the upstream's catalog has. */
import { globMatches } from '../statement/glob.ts';
import { partsMatch, relationMatches } from './name-globs.ts';

export type KnownNames = {
  readonly relations: readonly KnownRelation[];
  readonly functions: readonly { readonly schema: string; readonly name: string }[];
  readonly tags: readonly string[];
};
export type KnownRelation = {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly string[];
};

/** How globs of one kind find their names. */
export type NamesOf = {
  /** `no relation` … */
  readonly what: string;
  readonly matches: (glob: string, known: KnownNames) => boolean;
  /** Every name of that kind, as rules write it: for suggestions. */
  readonly all: (known: KnownNames) => readonly string[];
};

export const namesRelation: NamesOf = {
  what: 'relation',
  matches: (glob, { relations }) =>
    relations.some(({ schema, name }) => relationMatches(glob, schema, name, 'enough')),
  all: ({ relations }) => relations.map(({ schema, name }) => `${written(schema)}.${written(name)}`),
};

export const namesColumn: NamesOf = {
  what: 'column',
  matches: (glob, { relations }) =>
    relations.some(({ schema, name, columns }) =>
      columns.some((column) => partsMatch(glob, [schema, name, column], 'enough')),
    ),
  all: ({ relations }) =>
    relations.flatMap(({ schema, name, columns }) =>
      columns.map((column) => `${written(schema)}.${written(name)}.${written(column)}`),
    ),
};

export const namesFunction: NamesOf = {
  what: 'function',
  matches: (glob, { functions }) =>
    functions.some(({ schema, name }) => partsMatch(glob, [schema, name], 'enough')),
  all: ({ functions }) => functions.map(({ schema, name }) => `${written(schema)}.${written(name)}`),
};

export const namesTag: NamesOf = {
  what: 'tag',
  matches: (glob, { tags }) => tags.some((tag) => globMatches(glob, tag)),
  all: ({ tags }) => tags,
};

/** Quoted where Postgres would need it. */
function written(name: string): string {
  return /^[a-z_][a-z0-9_$]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}
