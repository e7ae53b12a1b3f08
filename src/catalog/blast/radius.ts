import type { ObjectName } from '../../statement/target.ts';
import type { Finder } from './find.ts';
import type { Look } from './look.ts';

/** What the findings are found with. */
export type Radius = {
  readonly look: Look;
  readonly find: Finder;
  /** Tags of a relation, as configuration and comments give them. */
  readonly tags: (schema: string, name: string) => readonly string[];
  /** Rows and cascades of a relation, as the catalog that was read last knows them; null: not known. */
  readonly cascades: (
    schema: string,
    name: string,
    access: 'update' | 'delete',
  ) => readonly CascadeWords[] | null;
};

export type CascadeWords = {
  readonly schema: string;
  readonly name: string;
  readonly action: 'update' | 'delete';
  readonly rows: number | null;
};

export function nameText({ names, args }: ObjectName): string {
  return `${names.join('.')}${args === null ? '' : `(${args.map((arg) => `${arg.names.join('.')}${arg.array ? '[]' : ''}`).join(', ')})`}`;
}
