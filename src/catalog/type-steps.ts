import { type CastRow, FIRST_USER_OID, type TypeRow } from './rows.ts';
import type { Snapshot } from './snapshot.ts';
import type { Step } from './step.ts';

type TypeStep = Extract<Step, { kind: 'type' }>;

/**
 * What values of a type set off, through domains, arrays, composites and ranges:
 * `compare` output and comparison (ORDER BY, DISTINCT, GROUP BY, indexes); `input` making a value (domain checks,
 * input functions, domain defaults); `assign` the casts that storing a value may call; `cast` those and the explicit
 * ones; `casts-from` the casts that a value may be given to (also by to_json and its kin).
 */
export function typeSteps(
  snapshot: Snapshot,
  step: TypeStep,
  columnTypes: (relation: number) => readonly number[],
): readonly Step[] {
  const type = snapshot.types.get(step.oid);
  const own = ownSteps(snapshot, step, type);
  if (type === undefined) return own;
  const inner = innerTypes(type, columnTypes).map((oid): Step => ({ ...step, oid }));
  return [...own, ...inner];
}

function ownSteps(snapshot: Snapshot, step: TypeStep, type: TypeRow | undefined): readonly Step[] {
  switch (step.access) {
    case 'compare':
      return [
        ...comparison(snapshot, step.oid, type),
        ...inputAndOutput(type, step.via),
        ...rangeClass(type),
      ];
    case 'input':
      return [
        ...inputAndOutput(type, step.via),
        ...domain(snapshot, type),
        ...(type?.kind === 'r' ? [{ ...step, oid: type.rangeOf, access: 'compare' } as const] : []),
        ...rangeClass(type),
      ];
    case 'assign':
    case 'cast':
      // Into a built-in type the source is a user's, or the cast is ambient: both are looked at elsewhere.
      return type === undefined
        ? []
        : casts(snapshot.castsTo.get(step.oid), step.access === 'cast' ? 'eai' : 'ai');
    case 'casts-from':
      return type === undefined
        ? []
        : [
            ...casts(snapshot.castsFrom.get(step.oid), 'eai'),
            // What it is compared with or combined with may be cast to it.
            ...casts(snapshot.castsTo.get(step.oid), 'i'),
          ];
  }
}

/** `contexts`: of `e`xplicit, `a`ssignment, `i`mplicit, which count. */
function casts(rows: readonly CastRow[] | undefined, contexts: string): readonly Step[] {
  return (rows ?? [])
    .filter((cast) => cast.function !== 0 && contexts.includes(cast.context))
    .map((cast) => ({ kind: 'function', oid: cast.function, via: cast.label }));
}

/** A built-in type is compared with a user's class only where that is the default one. */
function comparison(snapshot: Snapshot, oid: number, type: TypeRow | undefined): readonly Step[] {
  return (snapshot.classesOfType.get(oid) ?? [])
    .filter((row) => row.isDefault || type !== undefined)
    .map((row) => ({ kind: 'class', oid: row.oid, via: `operator class ${row.schema}.${row.name}` }));
}

function inputAndOutput(type: TypeRow | undefined, via: string): readonly Step[] {
  if (type === undefined) return [];
  const through = `${via}, type ${type.schema}.${type.name}`;
  // Built-in ones (array_in, record_in, domain_in …) run what belongs to the parts, which are looked at one by one.
  return [...type.functions, ...type.rangeFunctions]
    .filter((oid) => oid >= FIRST_USER_OID)
    .map((oid) => ({ kind: 'function', oid, via: through }));
}

function rangeClass(type: TypeRow | undefined): readonly Step[] {
  return type !== undefined && type.rangeClass !== 0
    ? [{ kind: 'class', oid: type.rangeClass, via: `range type ${type.schema}.${type.name}` }]
    : [];
}

function domain(snapshot: Snapshot, type: TypeRow | undefined): readonly Step[] {
  if (type?.kind !== 'd') return [];
  const name = `domain ${type.schema}.${type.name}`;
  return [
    {
      kind: 'expression',
      catalog: 'pg_type',
      oid: type.oid,
      tree: type.defaultTree,
      via: `the default of ${name}`,
    },
    ...(snapshot.domainConstraints.get(type.oid) ?? []).map(
      (row): Step => ({
        kind: 'expression',
        catalog: 'pg_constraint',
        oid: row.oid,
        tree: row.tree,
        via: `constraint ${row.name} of ${name}`,
      }),
    ),
  ];
}

function innerTypes(type: TypeRow, columnTypes: (relation: number) => readonly number[]): readonly number[] {
  const parts = [type.element, type.base, type.rangeOf, type.multirangeOf].filter((oid) => oid !== 0);
  return type.relation === 0 ? parts : [...parts, ...columnTypes(type.relation)];
}
