import type { Analysis, StatementAnalysis, StatementClass } from '../../src/statement/analysis.ts';
import type { Catalog, CatalogFunction, Relation } from '../../src/statement/catalog.ts';

/** A mistake that analysis could make, put over what it really says; the fuzz has to see it. */
export type Planted = {
  readonly name: string;
  /** The same object for the same catalog, or undefined. */
  readonly catalog?: (catalog: Catalog) => Catalog;
  readonly analysis?: (analysis: Analysis) => Analysis;
};

export const PLANTED: readonly Planted[] = [
  {
    name: 'a function that writes is taken for harmless',
    catalog: withFunctions((fn) => (fn.name === 'trip_v' ? { ...plain(fn), effects: [] } : fn)),
  },
  { name: 'TRUNCATE is a read', analysis: demoted(({ command }) => command === 'TRUNCATE TABLE', 'read') },
  {
    name: 'writes in WITH are not seen',
    analysis: demoted((s) => s.command === 'SELECT' && s.class === 'write', 'read'),
  },
  {
    name: 'triggers, defaults and checks are not seen',
    catalog: withRelations((relation) => ({
      ...relation,
      effects: { ...relation.effects, insert: [], update: [], delete: [] },
    })),
  },
  {
    name: 'what views call is not seen',
    catalog: withRelations((relation) => ({ ...relation, effects: { ...relation.effects, read: [] } })),
  },
  {
    name: 'foreign keys that cascade are not seen',
    catalog: withRelations((relation) => ({ ...relation, cascades: { update: [], delete: [] } })),
  },
  {
    name: 'EXPLAIN ANALYZE is taken for EXPLAIN',
    analysis: demoted((s) => s.command === 'EXPLAIN' && s.class === 'write', 'read'),
  },
  {
    name: 'operators of users are not seen',
    catalog: withoutOperators,
  },
  {
    name: 'reads without a bound are not seen',
    analysis: demoted((s) => s.command === 'SELECT' && s.class === 'export', 'read'),
  },
  {
    name: 'a large table is taken for a small one',
    catalog: withRelations((relation) => (relation.name === 'large' ? { ...relation, rows: 10 } : relation)),
  },
  { name: 'GRANT is a write', analysis: demoted(({ command }) => command === 'GRANT', 'write') },
  {
    name: 'a role that is set is not seen',
    analysis: demoted(
      (s) => s.class === 'privilege' && s.reasons.some((r) => r.includes('current role')),
      'read',
    ),
  },
  {
    name: 'the checks of domains are not seen',
    catalog: withTypes,
  },
  {
    name: 'what the server says is called is not looked at',
    catalog: withoutMeaning,
  },
  {
    name: 'what flows by an estimate is not measured',
    analysis: (analysis) => ({
      ...analysis,
      statements: analysis.statements.map((s) => ({ ...s, measured: null })),
    }),
  },
];

/** `class_` and reasons of the statements that are meant, and of the whole. */
function demoted(
  isMeant: (statement: StatementAnalysis) => boolean,
  class_: StatementClass,
): (analysis: Analysis) => Analysis {
  return (analysis) => {
    if (!analysis.statements.some(isMeant)) return analysis;
    const statements = analysis.statements.map((s) => (isMeant(s) ? { ...s, class: class_ } : s));
    const rest = analysis.statements.filter(
      (s) => !isMeant(s) && s.class !== 'session' && s.class !== 'read',
    );
    return { ...analysis, statements, class: rest[0]?.class ?? class_ };
  };
}

const made = new WeakMap<object, Map<unknown, Catalog>>();

/** One catalog for each change, so that what is derived from it is derived once. */
function extended(catalog: Catalog, change: Partial<Catalog>, key: unknown = change): Catalog {
  const known = made.get(catalog) ?? new Map<unknown, Catalog>();
  made.set(catalog, known);
  const found = known.get(key);
  if (found !== undefined) return found;
  const {
    version,
    serverVersion,
    relation,
    relationsNamed,
    functionsNamed,
    operatorSchemas,
    typesNamed,
    meant,
  } = catalog;
  const whole: Catalog = {
    version,
    serverVersion,
    relation,
    relationsNamed,
    functionsNamed,
    operatorSchemas,
    typesNamed,
    meant,
    ambientEffects: catalog.ambientEffects,
    ...change,
  };
  known.set(key, whole);
  return whole;
}

function withRelations(change: (relation: Relation) => Relation): (catalog: Catalog) => Catalog {
  const changed = new WeakMap<Relation, Relation>();
  const one = (relation: Relation): Relation => {
    const known = changed.get(relation) ?? change(relation);
    changed.set(relation, known);
    return known;
  };
  return (catalog) =>
    extended(
      catalog,
      {
        relation: (schema, name) => {
          const found = catalog.relation(schema, name);
          return found === undefined ? undefined : one(found);
        },
        relationsNamed: (name) => catalog.relationsNamed(name).map(one),
      },
      change,
    );
}

function withFunctions(change: (fn: CatalogFunction) => CatalogFunction): (catalog: Catalog) => Catalog {
  return (catalog) =>
    extended(catalog, { functionsNamed: (name) => catalog.functionsNamed(name).map(change) }, change);
}

function withTypes(catalog: Catalog): Catalog {
  return extended(
    catalog,
    { typesNamed: (name) => catalog.typesNamed(name).map(({ schema }) => ({ schema, effects: [] })) },
    withTypes,
  );
}

function withoutOperators(catalog: Catalog): Catalog {
  return extended(catalog, { operatorSchemas: () => [] }, withoutOperators);
}

function withoutMeaning(catalog: Catalog): Catalog {
  const meant = () => ({ effects: [], builtins: [], json: false, calls: [] });
  return extended(catalog, { meant }, withoutMeaning);
}

/** Without the getter, which cannot be copied over. */
function plain(fn: CatalogFunction): Omit<CatalogFunction, 'effects'> {
  const { effects: _, ...rest } = fn;
  return rest;
}
