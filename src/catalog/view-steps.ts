import { builtinFunction } from '../statement/builtins.ts';
import { sensitiveSystemRelation } from '../statement/system-relations.ts';
import { JSON_KIN } from './code-steps.ts';
import { estimateRows } from './estimate.ts';
import { type ColumnRow, FIRST_USER_OID, label, type RelationRow, type RuleRow } from './rows.ts';
import type { Snapshot } from './snapshot.ts';
import type { Step } from './step.ts';

/** From this many rows on, putting them all into one value is more than a small report. */
const MANY_ROWS = 1_000;

type Columns = (relation: RelationRow) => readonly ColumnRow[];

/** What reading a user's view sets off; nothing for other relations (system views are judged by a reviewed table). */
export function viewSteps(snapshot: Snapshot, relation: RelationRow, columns: Columns): readonly Step[] {
  if (relation.kind !== 'v' || relation.oid < FIRST_USER_OID) return [];
  const via = `view ${label(relation)}`;
  const steps: Step[] = [];
  if (!snapshot.viewDefinitions.has(relation.oid))
    steps.push({ kind: 'effect', text: `${via} could not be read while it is being changed` });
  for (const rule of snapshot.rules.get(relation.oid) ?? [])
    if (rule.event === '1') steps.push(...bodySteps(snapshot, relation, rule, via, columns));
  return steps;
}

function bodySteps(
  snapshot: Snapshot,
  relation: RelationRow,
  rule: RuleRow,
  via: string,
  columns: Columns,
): readonly Step[] {
  const steps: Step[] = [{ kind: 'expression', catalog: 'pg_rewrite', oid: rule.oid, tree: '', via }];
  for (const oid of rule.builtins) if (oid < FIRST_USER_OID) steps.push({ kind: 'function', oid, via });
  const uses = snapshot.uses.get(`pg_rewrite:${rule.oid}`) ?? [];
  if (rule.builtins.some((oid) => JSON_KIN.test(snapshot.builtins.get(oid)?.name ?? '')))
    for (const use of uses)
      if (use.catalog === 'pg_class') steps.push({ kind: 'relation', oid: use.oid, access: 'casts' });
  for (const oid of rule.systemRelations) {
    const system = snapshot.relations.get(oid);
    const judged = system === undefined ? null : sensitiveSystemRelation(system.schema, system.name);
    if (system !== undefined && judged !== null)
      steps.push({ kind: 'effect', text: `${via}: ${label(system)} ${judged.reason}` });
  }
  if (folds(snapshot, rule) && rowsBelow(snapshot, relation.oid, columns) > MANY_ROWS)
    steps.push({ kind: 'effect', text: `${via} puts many rows into one value`, folds: true });
  return steps;
}

/** Aggregates that keep their whole input, users' aggregates (who knows), and ARRAY(SELECT …). */
function folds(snapshot: Snapshot, rule: RuleRow): boolean {
  return (
    rule.arraySubquery ||
    rule.builtins.some((oid) => {
      const builtin = snapshot.builtins.get(oid);
      return builtin !== undefined && builtinFunction(builtin.name)?.folds === true;
    }) ||
    (snapshot.uses.get(`pg_rewrite:${rule.oid}`) ?? []).some(
      (use) => use.catalog === 'pg_proc' && snapshot.functions.get(use.oid)?.kind === 'a',
    )
  );
}

/** Rows of all tables that the view reads, through other views too. */
function rowsBelow(snapshot: Snapshot, view: number, columns: Columns): number {
  const seen = new Set<number>();
  const open = [view];
  let rows = 0;
  for (let oid = open.pop(); oid !== undefined; oid = open.pop()) {
    if (seen.has(oid)) continue;
    seen.add(oid);
    if (snapshot.relations.get(oid)?.kind !== 'v') {
      rows += estimateRows(snapshot, oid, columns) ?? Number.POSITIVE_INFINITY;
      continue;
    }
    for (const rule of snapshot.rules.get(oid) ?? [])
      for (const use of snapshot.uses.get(`pg_rewrite:${rule.oid}`) ?? [])
        if (use.catalog === 'pg_class') open.push(use.oid);
  }
  return rows;
}
