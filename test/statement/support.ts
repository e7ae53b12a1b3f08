import { type Analyser, loadAnalyser } from '../../src/analyser/analyser.ts';
import { DEFAULT_LIMITS } from '../../src/config/limits.ts';
import { analyse } from '../../src/statement/analyse.ts';
import type { Analysis, NameScope } from '../../src/statement/analysis.ts';
import type { Answers } from '../../src/statement/answers.ts';
import type { Catalog, CatalogFunction, Relation } from '../../src/statement/catalog.ts';
import type { ParameterValues } from '../../src/statement/context.ts';
import type { Tree } from '../../src/statement/tree.ts';

const analyser: Analyser = await loadAnalyser(DEFAULT_LIMITS);

export const PUBLIC: NameScope = { searchPath: ['public'], tempPossible: false };

/** Analyses a text; by grammar alone unless a catalog is given. */
export function analysed(
  sql: string,
  catalog: Catalog | null = null,
  scope: NameScope = PUBLIC,
  parameters: ParameterValues | null = null,
  answers: Answers = [],
): Analysis {
  return analyse(analyser.parse(Buffer.from(sql)), catalog, scope, DEFAULT_LIMITS, parameters, answers);
}

export function classOf(sql: string, catalog: Catalog | null = null, scope: NameScope = PUBLIC): string {
  return analysed(sql, catalog, scope).class;
}

type Table = {
  readonly schema?: string;
  readonly kind?: Relation['kind'];
  readonly rows?: number | null;
  readonly columns?: readonly string[];
  readonly keys?: readonly (readonly string[])[];
  readonly effects?: Partial<Relation['effects']>;
  /** Values that a column has, and the share of the commonest one. */
  readonly statistics?: Readonly<Record<string, { readonly values: number; readonly share: number }>>;
  readonly cascades?: Relation['cascades'];
  readonly folds?: boolean;
  /** A view with that query, its names with their schema. */
  readonly view?: string;
};

/** Tables by name, functions, operators and types by `schema.name`. Columns are integers. */
export function catalogOf(given: {
  readonly tables?: Readonly<Record<string, Table>>;
  readonly functions?: Readonly<Record<string, Partial<CatalogFunction>>>;
  readonly operators?: readonly string[];
  readonly types?: Readonly<Record<string, readonly string[]>>;
  readonly ambient?: readonly string[];
}): Catalog {
  const relations = Object.entries(given.tables ?? {}).map(([name, table], i) => relationOf(name, table, i));
  const parts = (full: string): [string, string] => {
    const at = full.indexOf('.');
    return [full.slice(0, at), full.slice(at + 1)];
  };
  return {
    version: '1',
    serverVersion: 180_004,
    relation: (schema, name) => relations.find((r) => r.schema === schema && r.name === name),
    relationsNamed: (name) => relations.filter((r) => r.name === name),
    functionsNamed: (wanted) =>
      Object.entries(given.functions ?? {})
        .filter(([full]) => parts(full)[1] === wanted)
        .map(([full, rest]) => ({
          oid: 20_000,
          schema: parts(full)[0],
          name: wanted,
          minArgs: 0,
          maxArgs: 100,
          takesRow: false,
          aggregate: false,
          effects: ['nobody knows what it does'],
          ...rest,
        })),
    operatorSchemas: (wanted) =>
      (given.operators ?? [])
        .map(parts)
        .filter(([, name]) => name === wanted)
        .map(([schema]) => schema),
    typesNamed: (wanted) =>
      Object.entries(given.types ?? {})
        .filter(([full]) => parts(full)[1] === wanted)
        .map(([full, effects]) => ({ schema: parts(full)[0], effects })),
    meant: () => ({ effects: [], builtins: [], calls: [], json: false }),
    ambientEffects: given.ambient ?? [],
  };
}

function relationOf(name: string, table: Table, i: number): Relation {
  return {
    oid: 30_000 + i,
    schema: table.schema ?? 'public',
    name,
    kind: table.view === undefined ? (table.kind ?? 'table') : 'view',
    rows: table.view !== undefined ? null : table.rows === undefined ? 100_000 : table.rows,
    columns: (table.columns ?? ['id', 'a', 'b']).map((column) => ({
      name: column,
      typeOid: 23,
      type: 'integer',
      builtinType: true,
      ...(table.statistics?.[column] === undefined
        ? {}
        : {
            distinctValues: table.statistics[column].values,
            commonestShare: table.statistics[column].share,
          }),
    })),
    uniqueKeys: table.view !== undefined ? [] : (table.keys ?? [['id']]),
    effects: { read: [], insert: [], update: [], delete: [], ...table.effects },
    castEffects: [],
    folds: table.folds ?? false,
    cascades: table.cascades ?? { update: [], delete: [] },
    viewDefinition: table.view ?? null,
    viewQuery: table.view === undefined ? null : parsed(table.view),
  };
}

function parsed(sql: string): Tree {
  const result = analyser.parse(Buffer.from(sql));
  const [only] = result.kind === 'tree' ? result.statements : [];
  if (only === undefined) throw new Error(`not a statement: ${sql}`);
  return only.node;
}
