import {
  classSteps,
  expression,
  expressionSteps,
  functionSteps,
  type Judges,
  operatorSteps,
} from './code-steps.ts';
import { hasConstantCall } from './node-tree.ts';
import { type ColumnRow, FIRST_USER_OID, type FunctionRow, label, type RelationRow } from './rows.ts';
import type { Snapshot } from './snapshot.ts';
import type { Access, Step } from './step.ts';
import { typeSteps } from './type-steps.ts';
import { viewSteps } from './view-steps.ts';

export type Outcome = {
  readonly effects: readonly string[];
  /** Effects that are no more than that a view puts many rows into one value: who looks into the view can count them. */
  readonly folds: readonly string[];
  /** Functions of users that look names up when they run are among what the steps lead to. */
  readonly runsUserCode: boolean;
};

const TRIGGER_BIT = { insert: 4, delete: 8, update: 16 } as const;
const RULE_EVENT = { insert: '3', update: '2', delete: '4' } as const;

/**
 * What an access sets off, what that sets off, and so on, until nothing new comes. The answer is a list of sentences,
 * each naming user code (or another effect) that is not proved harmless; empty means that there is none.
 *
 * `scan` is a read below policies and view bodies: what reading a child through its parent, or a check of a foreign
 * key, sets off.
 */
export class Closure {
  readonly #snapshot: Snapshot;
  readonly #judges: Judges;
  readonly #columns: Map<number, readonly ColumnRow[]>;

  /** `columns`: decoded ones, shared with other closures over the same snapshot. */
  constructor(snapshot: Snapshot, judges: Judges, columns: Map<number, readonly ColumnRow[]>) {
    this.#snapshot = snapshot;
    this.#judges = judges;
    this.#columns = columns;
  }

  /**
   * Effects of everything that the steps lead to, each said once, in order of name. `writes`: the access is a write, so
   * that functions which are known to write (and nothing worse) add nothing to it.
   */
  effects(start: readonly Step[], writes = false): readonly string[] {
    const { effects, folds } = this.outcome(start, writes);
    return folds.length === 0 ? effects : [...effects, ...folds].sort();
  }

  outcome(start: readonly Step[], writes: boolean): Outcome {
    let runsUserCode = false;
    const seen = new Set<string>();
    const found = new Set<string>();
    const folds = new Set<string>();
    const open = [...start];
    for (let step = open.pop(); step !== undefined; step = open.pop()) {
      if (step.kind === 'effect') {
        (step.folds === true ? folds : found).add(step.text);
        continue;
      }
      const key = stepKey(step);
      if (seen.has(key)) continue;
      seen.add(key);
      if (step.kind === 'function' && looksNamesUp(this.#snapshot.functions.get(step.oid)))
        runsUserCode = true;
      for (const next of this.#expand(step, writes)) open.push(next);
    }
    return { effects: [...found].sort(), folds: [...folds].sort(), runsUserCode };
  }

  /** Columns of a relation, decoded once. */
  columns(relation: RelationRow): readonly ColumnRow[] {
    return decodeColumns(this.#columns, relation);
  }

  #expand(step: Exclude<Step, { kind: 'effect' }>, writes: boolean): readonly Step[] {
    switch (step.kind) {
      case 'relation':
        return this.#relation(step.oid, step.access);
      case 'type':
        return typeSteps(this.#snapshot, step, (oid) => this.#columnTypes(oid));
      case 'function':
        return functionSteps(this.#snapshot, this.#judges, step, writes);
      case 'later':
        return this.#judges.later(step.oid, step.via).map((text) => ({ kind: 'effect', text }));
      case 'operator':
        return operatorSteps(this.#snapshot, step.oid, step.via);
      case 'class':
        return classSteps(this.#snapshot, step.oid);
      case 'expression':
        return expressionSteps(this.#snapshot, step);
    }
  }

  #relation(oid: number, access: Access): readonly Step[] {
    const relation = this.#snapshot.relations.get(oid);
    if (relation === undefined) return [];
    switch (access) {
      case 'casts':
        // A literal beside such a value becomes one of its type, and jsonb_populate_record makes one: by its input.
        return this.columns(relation).flatMap(([, type]) =>
          (['casts-from', 'input'] as const).map(
            (way): Step => ({ kind: 'type', oid: type, access: way, via: `a column of ${label(relation)}` }),
          ),
        );
      case 'scan':
        return this.#scan(relation);
      case 'analyze':
        return this.#analyzed(relation);
      case 'read':
        return [
          ...this.#scan(relation),
          ...this.#policies(relation),
          ...viewSteps(this.#snapshot, relation, (r) => this.columns(r)),
        ];
      default:
        return [...this.#relation(oid, 'read'), ...this.#write(relation, access)];
    }
  }

  /** Reading rows: types that compare with user code, other servers, what the planner evaluates. */
  #scan(relation: RelationRow): readonly Step[] {
    const { indexes, constraints, statistics, partitionKeys, defaults, children } = this.#snapshot;
    const name = label(relation);
    const steps: Step[] = [];
    if (relation.kind === 'f')
      steps.push({ kind: 'effect', text: `${name} is a foreign table: it is read on another server` });
    const columns = this.columns(relation);
    for (const [column, type] of columns)
      steps.push({ kind: 'type', oid: type, access: 'compare', via: `column ${column} of ${name}` });
    for (const row of defaults.get(relation.oid) ?? [])
      if (columns.some((column) => column[7] === row.column && column[6] === 'v'))
        steps.push(expression('pg_attrdef', row, `a generated column of ${name}`));
    for (const index of indexes.get(relation.oid) ?? []) {
      steps.push(...this.#classes(index.classes, `index ${index.name} of ${name}`));
      steps.push(...this.#planned('pg_class', index, `planning over index ${index.name} of ${name}`));
    }
    for (const row of constraints.get(relation.oid) ?? [])
      if (row.kind === 'c')
        steps.push(...this.#planned('pg_constraint', row, `planning over CHECK ${row.name} of ${name}`));
    for (const row of statistics.get(relation.oid) ?? [])
      steps.push(
        ...this.#planned('pg_statistic_ext', row, `planning over statistics ${row.name} of ${name}`),
      );
    const key = partitionKeys.get(relation.oid);
    if (key !== undefined) {
      steps.push(...this.#classes(key.classes, `the partition key of ${name}`));
      steps.push(
        ...this.#planned('pg_class', { oid: relation.oid, tree: key.tree }, `planning over ${name}`),
      );
    }
    for (const oid of children.get(relation.oid) ?? []) steps.push({ kind: 'relation', oid, access: 'scan' });
    return steps;
  }

  /** ANALYZE takes rows, sorts the values of each column, and evaluates what indexes and statistics are over. */
  #analyzed(relation: RelationRow): readonly Step[] {
    const { indexes, statistics, children } = this.#snapshot;
    const name = label(relation);
    return [
      ...this.#scan(relation),
      ...(indexes.get(relation.oid) ?? []).map((row) =>
        expression('pg_class', row, `index ${row.name} of ${name}`),
      ),
      ...(statistics.get(relation.oid) ?? []).map((row) =>
        expression('pg_statistic_ext', row, `statistics ${row.name} of ${name}`),
      ),
      ...(children.get(relation.oid) ?? []).map(
        (oid): Step => ({ kind: 'relation', oid, access: 'analyze' }),
      ),
    ];
  }

  /**
   * Parts of a stored expression that are evaluated by the planner of a mere read: calls without a column, and
   * SQL functions, whose inlined body may hold such a call.
   */
  #planned(catalog: string, row: { oid: number; tree: string }, via: string): readonly Step[] {
    const uses = this.#snapshot.uses.get(`${catalog}:${row.oid}`) ?? [];
    const inlined = uses.some(
      (use) => use.catalog === 'pg_proc' && this.#snapshot.functions.get(use.oid)?.language === 'sql',
    );
    return uses.length > 0 && (inlined || hasConstantCall(row.tree)) ? [expression(catalog, row, via)] : [];
  }

  #policies(relation: RelationRow): readonly Step[] {
    if (!relation.rowSecurity) return [];
    return (this.#snapshot.policies.get(relation.oid) ?? []).map((row) =>
      expression('pg_policy', row, `policy ${row.name} of ${label(relation)}`),
    );
  }

  #write(relation: RelationRow, access: 'insert' | 'update' | 'delete'): readonly Step[] {
    const { triggers, rules, children } = this.#snapshot;
    const name = label(relation);
    const steps: Step[] = [];
    for (const row of triggers.get(relation.oid) ?? []) {
      if ((row.type & TRIGGER_BIT[access]) === 0) continue;
      const via = `trigger ${row.name} of ${name}`;
      steps.push({ kind: row.deferrable ? 'later' : 'function', oid: row.function, via });
      // A body that was proved moves values from column to column, by the casts that belong to their types.
      const fn = this.#snapshot.functions.get(row.function);
      if (fn !== undefined && this.#judges.prove(fn).proved)
        steps.push({ kind: 'relation', oid: relation.oid, access: 'casts' });
      steps.push({ kind: 'expression', catalog: 'pg_trigger', oid: row.oid, tree: row.whenTree, via });
    }
    for (const rule of rules.get(relation.oid) ?? []) {
      if (rule.event !== RULE_EVENT[access] || rule.enabled === 'D') continue;
      const via = `rule ${rule.name} of ${name}`;
      if (!rule.nothing) {
        steps.push({ kind: 'effect', text: `${via} runs other commands on ${access.toUpperCase()}` });
        continue;
      }
      // Its condition is evaluated even where it does nothing.
      steps.push({ kind: 'expression', catalog: 'pg_rewrite', oid: rule.oid, tree: '', via });
      for (const oid of rule.builtins) if (oid < FIRST_USER_OID) steps.push({ kind: 'function', oid, via });
    }
    if (relation.kind === 'v') steps.push(...this.#throughView(relation, access));
    if (access !== 'delete') steps.push(...this.#newRow(relation));
    if (access !== 'insert') steps.push(...this.#referencing(relation, access));
    // An UPDATE of a partitioned table may move a row: a DELETE here, an INSERT there.
    if (access === 'update' && relation.kind === 'p')
      steps.push(
        { kind: 'relation', oid: relation.oid, access: 'insert' },
        { kind: 'relation', oid: relation.oid, access: 'delete' },
      );
    for (const oid of children.get(relation.oid) ?? []) steps.push({ kind: 'relation', oid, access });
    return steps;
  }

  /** A write on a view goes to the relations below it, where no INSTEAD trigger or rule takes it. */
  #throughView(relation: RelationRow, access: 'insert' | 'update' | 'delete'): readonly Step[] {
    return (this.#snapshot.rules.get(relation.oid) ?? [])
      .filter((rule) => rule.event === '1')
      .flatMap((rule) => this.#snapshot.uses.get(`pg_rewrite:${rule.oid}`) ?? [])
      .filter((use) => use.catalog === 'pg_class')
      .map((use) => ({ kind: 'relation', oid: use.oid, access }));
  }

  /** What is evaluated for a row that is stored: defaults, checks, domains, casts, indexes, keys. */
  #newRow(relation: RelationRow): readonly Step[] {
    const { constraints, defaults, indexes, parents } = this.#snapshot;
    const name = label(relation);
    const steps: Step[] = [];
    for (const row of defaults.get(relation.oid) ?? []) {
      const column = this.columns(relation).find((c) => c[7] === row.column)?.[0] ?? '';
      steps.push(expression('pg_attrdef', row, `the default of column ${column} of ${name}`));
    }
    for (const row of constraints.get(relation.oid) ?? []) {
      steps.push(expression('pg_constraint', row, `constraint ${row.name} of ${name}`));
      if (row.kind === 'f') steps.push({ kind: 'relation', oid: row.referenced, access: 'scan' });
    }
    for (const [column, type] of this.columns(relation)) {
      if (type < FIRST_USER_OID) continue;
      const via = `column ${column} of ${name}`;
      steps.push({ kind: 'type', oid: type, access: 'input', via });
      steps.push({ kind: 'type', oid: type, access: 'assign', via });
    }
    for (const index of indexes.get(relation.oid) ?? [])
      steps.push(expression('pg_class', index, `index ${index.name} of ${name}`));
    for (const oid of [relation.oid, ...(parents.get(relation.oid) ?? [])])
      steps.push(...this.#partitionKey(oid));
    return steps;
  }

  /** The row is compared with the key of its partition, and of the partitions above. */
  #partitionKey(oid: number): readonly Step[] {
    const key = this.#snapshot.partitionKeys.get(oid);
    const relation = this.#snapshot.relations.get(oid);
    if (key === undefined || relation === undefined) return [];
    const via = `the partition key of ${label(relation)}`;
    return [
      expression('pg_class', { oid, tree: key.tree }, via),
      ...this.#classes(key.classes, via),
      ...(this.#snapshot.parents.get(oid) ?? []).flatMap((parent) => this.#partitionKey(parent)),
    ];
  }

  /** Foreign keys that point here: the other table is looked at, or written too. */
  #referencing(relation: RelationRow, access: 'update' | 'delete'): readonly Step[] {
    return (this.#snapshot.referencedBy.get(relation.oid) ?? []).flatMap((row): Step[] => [
      expression('pg_constraint', row, `foreign key ${row.name}`),
      {
        kind: 'relation',
        oid: row.relation,
        access: cascade(access === 'delete' ? row.onDelete : row.onUpdate, access) ?? 'scan',
      },
    ]);
  }

  #classes(classes: readonly number[], via: string): readonly Step[] {
    return classes.filter((oid) => oid >= FIRST_USER_OID).map((oid) => ({ kind: 'class', oid, via }));
  }

  #columnTypes(relation: number): readonly number[] {
    const row = this.#snapshot.relations.get(relation);
    return row === undefined ? [] : this.columns(row).map((column) => column[1]);
  }
}

/** All but those in C, and those whose names were looked up when they were made. */
function looksNamesUp(fn: FunctionRow | undefined): boolean {
  return fn !== undefined && fn.language !== 'c' && fn.language !== 'internal' && fn.sqlTree === '';
}

export function decodeColumns(
  known: Map<number, readonly ColumnRow[]>,
  relation: RelationRow,
): readonly ColumnRow[] {
  let columns = known.get(relation.oid);
  if (columns === undefined) {
    columns = relation.columns === null ? [] : (JSON.parse(relation.columns) as ColumnRow[]);
    known.set(relation.oid, columns);
  }
  return columns;
}

/** What a foreign key's action does to the referencing table; null: it is only looked at. */
export function cascade(action: string, access: 'update' | 'delete'): 'update' | 'delete' | null {
  if (action === 'c') return access;
  return action === 'n' || action === 'd' ? 'update' : null;
}

/** Two steps with one key lead to the same. `via` is never built on, so that there are finitely many. */
function stepKey(step: Exclude<Step, { kind: 'effect' }>): string {
  switch (step.kind) {
    case 'relation':
      return `relation:${step.oid}:${step.access}`;
    case 'type':
      return `type:${step.oid}:${step.access}:${step.via}`;
    case 'expression':
      return `expression:${step.catalog}:${step.oid}:${step.via}`;
    case 'function':
      return `function:${step.oid}:${step.via}:${step.deed ?? true}`;
    default:
      return `${step.kind}:${step.oid}:${step.via}`;
  }
}
