import { builtinFunction } from '../statement/builtins.ts';
import type { CatalogJudgement, FunctionProof } from './judgement.ts';
import { calledFunctions, readsOnly, storedFold } from './node-tree.ts';
import { type BuiltinRow, FIRST_USER_OID, type FunctionRow } from './rows.ts';
import type { Snapshot } from './snapshot.ts';
import type { Step } from './step.ts';

/** What calling a function, an operator or an operator class sets off, and evaluating a stored expression. */

export type Judges = {
  readonly judgeBuiltin: CatalogJudgement['judgeBuiltin'];
  /** What it does when it is called now; asked once for each function. */
  readonly prove: (fn: FunctionRow) => FunctionProof;
  /** Effects of a call under a search_path that nobody knows. */
  readonly later: (oid: number, via: string) => readonly string[];
};

/** Built-in functions that turn values of any type into JSON, and so call user casts to json. */
export const JSON_KIN = /^(array_to_json|row_to_json|(to_)?jsonb?(_agg|_build|_object|_array|_populate)?.*)$/;

export function functionSteps(
  snapshot: Snapshot,
  judges: Judges,
  { oid, via, deed }: Extract<Step, { kind: 'function' }>,
  writes: boolean,
): readonly Step[] {
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
  const proof = judges.prove(fn);
  if (!proof.proved) return [{ kind: 'effect', text: `${via} calls ${fn.signature}` }];
  const { does } = proof;
  const more = does.class === 'export' || (does.class === 'write' && !writes);
  return [
    ...(more && deed !== false
      ? [{ kind: 'effect', text: `${via} calls ${fn.signature}, which ${does.reason}` } as const]
      : []),
    ...withTypes(snapshot, fn, via),
    defaults,
    ...(fn.sqlTree === '' ? [] : [{ ...defaults, tree: fn.sqlTree }]),
  ];
}

/** The built-in itself; for a function of language internal, those that are the same C function under another name. */
function builtinsMeant(snapshot: Snapshot, oid: number, fn: FunctionRow | undefined): readonly BuiltinRow[] {
  if (fn?.language === 'internal' && fn.kind !== 'a') return snapshot.builtinsBySymbol.get(fn.body) ?? [];
  const builtin = oid < FIRST_USER_OID ? snapshot.builtins.get(oid) : undefined;
  return builtin === undefined ? [] : [builtin];
}

/**
 * A body stored as a tree (BEGIN ATOMIC, RETURN) that only reads. Its names were resolved when it was made, and
 * pg_depend knows them; built-in relations it does not know, so they must not be in it. Rows are not counted: a set has
 * any number of them, and what may put many into one value counts as an export.
 */
export function proveStored(
  snapshot: Snapshot,
  prove: (fn: FunctionRow) => FunctionProof,
  fn: FunctionRow,
): FunctionProof {
  const unproved = (why: string): FunctionProof => ({ proved: false, why });
  if (fn.securityDefiner) return unproved('it is SECURITY DEFINER');
  if (fn.kind !== 'f') return unproved('it is a procedure');
  if (fn.settings !== '') return unproved('it pins settings');
  if (!readsOnly(fn.sqlTree)) return unproved('its stored body does more than read tables of users');
  const called = calledFunctions(fn.sqlTree);
  const builtins = called.map((oid) => snapshot.builtins.get(oid)?.name ?? '');
  if (builtins.some((name) => JSON_KIN.test(name)))
    return unproved('its stored body makes JSON, which may call casts');
  const users = (snapshot.uses.get(`pg_proc:${fn.oid}`) ?? [])
    .filter((use) => use.catalog === 'pg_proc')
    .map((use) => snapshot.functions.get(use.oid));
  const folds =
    storedFold(fn.sqlTree) ||
    builtins.some((name) => builtinFunction(name)?.folds === true || name.startsWith('percentile_')) ||
    users.some((user) => user === undefined || !givesSingleValues(user, prove));
  const data = / :relid [1-9]/.test(fn.sqlTree) || users.length > 0;
  return {
    proved: true,
    does: folds
      ? { class: 'export', reason: 'may put many rows into one value' }
      : { class: 'read', reason: 'reads' },
    size: { rows: fn.returnsSet ? Number.POSITIVE_INFINITY : 1, perRow: 1, data },
  };
}

function givesSingleValues(fn: FunctionRow, prove: (fn: FunctionRow) => FunctionProof): boolean {
  if (fn.kind === 'a') return false;
  const proof = prove(fn);
  return proof.proved && proof.does.class === 'read' && (proof.size === null || proof.size.perRow <= 1);
}

/** record, "any" and the polymorphic types: a value may have any type, with the casts and comparisons of that one. */
const ANY_TYPE = new Set([2249, 2276, 2277, 2283, 2776, 3500, 3831, 4537, 4538, 5077, 5078, 5079, 5080]);

/** Arguments are cast to the types declared, and so is the result; the body may compare them, and cast them on. */
function withTypes(snapshot: Snapshot, fn: FunctionRow, via: string): readonly Step[] {
  const types = [...new Set([...fn.argTypes, fn.returnType])];
  const steps = types
    .filter((oid) => oid >= FIRST_USER_OID)
    .flatMap((oid): Step[] =>
      (['assign', 'input', 'casts-from', 'compare'] as const).map((access) => ({
        kind: 'type',
        oid,
        access,
        via,
      })),
    );
  if (!fn.argTypes.some((oid) => ANY_TYPE.has(oid))) return steps;
  const casts = [...snapshot.castsFrom.values()].flat().filter((cast) => cast.function !== 0);
  return [
    ...steps,
    ...casts.map((cast): Step => ({ kind: 'function', oid: cast.function, via: cast.label })),
    ...[...snapshot.classes.values()].map((row): Step => ({ kind: 'class', oid: row.oid, via })),
  ];
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
