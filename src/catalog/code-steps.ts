import type { CatalogJudgement } from './judgement.ts';
import { calledFunctions, readsOnly } from './node-tree.ts';
import { type BuiltinRow, FIRST_USER_OID, type FunctionRow } from './rows.ts';
import type { Snapshot } from './snapshot.ts';
import type { Step } from './step.ts';

/** What calling a function, an operator or an operator class sets off, and evaluating a stored expression. */

export type Judges = {
  readonly judgeBuiltin: CatalogJudgement['judgeBuiltin'];
  /** `provedHarmless`, asked once for each function. */
  readonly proved: (fn: FunctionRow) => boolean;
};

/** Built-in functions that turn values of any type into JSON, and so call user casts to json. */
export const JSON_KIN = /^(array_to_json|row_to_json|(to_)?jsonb?(_agg|_build|_object|_array|_populate)?.*)$/;

export function functionSteps(snapshot: Snapshot, judges: Judges, oid: number, via: string): readonly Step[] {
  const fn = snapshot.functions.get(oid);
  const builtins = builtinsMeant(snapshot, oid, fn);
  if (builtins.length > 0)
    return builtins
      .map((builtin) => judges.judgeBuiltin(builtin.name, builtin.volatility))
      .filter((judged) => judged !== 'harmless')
      .map((judged) => ({ kind: 'effect', text: `${via}: ${judged}` }));
  if (fn === undefined)
    return [{ kind: 'effect', text: `${via} calls a function that is not known (OID ${oid})` }];
  // Default arguments are put in by the planner, so that no expression that calls it shows them.
  const defaults = expression('pg_proc', { oid, tree: fn.defaultsTree }, via);
  const aggregate = snapshot.aggregates.get(oid);
  if (aggregate !== undefined)
    return [
      defaults,
      ...aggregate.functions.map((part): Step => ({ kind: 'function', oid: part, via })),
      { kind: 'operator', oid: aggregate.operator, via },
    ];
  if (atomicReader(snapshot, fn)) return [...withTypes(fn, via), defaults, { ...defaults, tree: fn.sqlTree }];
  if (judges.proved(fn)) return [...withTypes(fn, via), defaults];
  return [{ kind: 'effect', text: `${via} calls ${fn.signature}` }];
}

/** The built-in itself; for a function of language internal, those that are the same C function under another name. */
function builtinsMeant(snapshot: Snapshot, oid: number, fn: FunctionRow | undefined): readonly BuiltinRow[] {
  if (fn?.language === 'internal' && fn.kind !== 'a') return snapshot.builtinsBySymbol.get(fn.body) ?? [];
  const builtin = oid < FIRST_USER_OID ? snapshot.builtins.get(oid) : undefined;
  return builtin === undefined ? [] : [builtin];
}

/**
 * A body stored as a tree (BEGIN ATOMIC, RETURN) that only reads. Its names were resolved when it was made, and
 * pg_depend knows them; built-in relations it does not know, so they must not be in it.
 */
function atomicReader(snapshot: Snapshot, fn: FunctionRow): boolean {
  if (fn.sqlTree === '' || fn.securityDefiner || fn.kind !== 'f') return false;
  if (fn.settings !== '' || !readsOnly(fn.sqlTree)) return false;
  return !calledFunctions(fn.sqlTree).some((oid) => JSON_KIN.test(snapshot.builtins.get(oid)?.name ?? ''));
}

/** Arguments are cast to the types declared, and so is the result. */
function withTypes(fn: FunctionRow, via: string): readonly Step[] {
  return [...fn.argTypes, fn.returnType]
    .filter((oid) => oid >= FIRST_USER_OID)
    .flatMap((oid): Step[] => [
      { kind: 'type', oid, access: 'assign', via },
      { kind: 'type', oid, access: 'input', via },
    ]);
}

export function operatorSteps(snapshot: Snapshot, oid: number, via: string): readonly Step[] {
  const operator = snapshot.operators.get(oid);
  if (operator === undefined) return [];
  // The planner may put the negator or commutator in its place.
  const related = operator.related.flatMap((other) => snapshot.operators.get(other)?.functions ?? []);
  return [...operator.functions, ...related].map((fn) => ({ kind: 'function', oid: fn, via }));
}

export function classSteps(snapshot: Snapshot, oid: number): readonly Step[] {
  const row = snapshot.classes.get(oid);
  if (row === undefined) return [];
  const via = `operator class ${row.schema}.${row.name}`;
  return (snapshot.families.get(row.family) ?? [])
    .filter((member) => member.types.includes(row.type) || member.types.every((type) => type === 0))
    .map((member) => ({ kind: member.kind === 'p' ? 'function' : 'operator', oid: member.object, via }));
}

type ExpressionStep = Extract<Step, { kind: 'expression' }>;

export function expressionSteps(
  snapshot: Snapshot,
  { catalog, oid, tree, via }: ExpressionStep,
): readonly Step[] {
  const steps: Step[] = [];
  for (const use of snapshot.uses.get(`${catalog}:${oid}`) ?? []) {
    if (use.catalog === 'pg_proc') steps.push({ kind: 'function', oid: use.oid, via });
    else if (use.catalog === 'pg_operator') steps.push({ kind: 'operator', oid: use.oid, via });
    else if (use.catalog === 'pg_class') steps.push({ kind: 'relation', oid: use.oid, access: 'read' });
    else if (use.catalog === 'pg_type')
      steps.push(
        { kind: 'type', oid: use.oid, access: 'input', via },
        { kind: 'type', oid: use.oid, access: 'compare', via },
      );
  }
  for (const called of calledFunctions(tree))
    if (called < FIRST_USER_OID) steps.push({ kind: 'function', oid: called, via });
  return steps;
}

export function expression(
  catalog: string,
  row: { readonly oid: number; readonly tree: string },
  via: string,
): ExpressionStep {
  return { kind: 'expression', catalog, oid: row.oid, tree: row.tree, via };
}
