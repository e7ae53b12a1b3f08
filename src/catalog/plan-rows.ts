import type { Estimate } from '../statement/answers.ts';
import { builtinFunction } from '../statement/builtins.ts';

/**
 * What the planner expects, out of the JSON of `EXPLAIN (VERBOSE, FORMAT JSON)`. Null where the plan is not of a form
 * that is known, or rests on a guess of the planner that is no estimate (recursion, a function of which it knows
 * nothing). Names in it are attacker-controlled; nothing in them lowers a number. `ties`: the text may say WITH TIES, which
 * the plan does not show: then what stands above an inner Limit is reckoned from far too little.
 */
export function estimateOfPlan(explained: unknown, ties = false): Estimate | null {
  const [first] = Array.isArray(explained) ? explained : [];
  const plan = nodeOf(isRecord(first) ? first['Plan'] : null);
  if (plan === null) return null;
  const found = { folded: 0, known: true, ties };
  follow(plan, 1, found, 0);
  const rows = rowsOut(plan);
  if (!found.known || !Number.isFinite(rows) || !Number.isFinite(found.folded)) return null;
  return { rows, foldedRows: found.folded };
}

type PlanNode = {
  readonly type: string;
  readonly rows: number;
  readonly relationship: string;
  readonly subplan: string;
  readonly output: readonly string[];
  readonly children: readonly PlanNode[];
};

type Found = { folded: number; known: boolean; readonly ties: boolean };

const DEEPEST_PLAN = 500;
/** Writes are never asked about; the number of rounds of a recursion is a constant of the planner; others are not ours. */
const NOT_ESTIMATED = new Set([
  'ModifyTable',
  'Recursive Union',
  'WorkTable Scan',
  'Foreign Scan',
  'Custom Scan',
]);
/** pg_proc.prorows of a function about which nobody said anything. */
const KNOWS_NOTHING = 1_000;

/** `loops`: how often the node runs, with as many rows each time. */
function follow(node: PlanNode, loops: number, found: Found, depth: number): void {
  const tied = found.ties && node.type === 'Limit' && depth > 0;
  if (depth > DEEPEST_PLAN || NOT_ESTIMATED.has(node.type) || tied || isGuess(node)) {
    found.known = false;
    return;
  }
  const inputs = node.children.filter(({ relationship }) => !SUBQUERIES.has(relationship));
  if (FOLDING.has(node.type) && node.output.some(folds))
    for (const input of inputs) found.folded = Math.max(found.folded, loops * rowsOut(input));
  for (const child of node.children) {
    const each = loops * runsOf(child, node);
    // One value for all its rows, as far as can be seen: ARRAY(SELECT …) looks like any other (before 17).
    if (SUBQUERIES.has(child.relationship) && !child.subplan.startsWith('CTE '))
      found.folded = Math.max(found.folded, each * rowsOut(child));
    follow(child, each, found, depth + 1);
  }
}

const SUBQUERIES = new Set(['InitPlan', 'SubPlan']);
const FOLDING = new Set(['Aggregate', 'WindowAgg', 'Group']);

/** How often a child runs each time that its parent does. */
function runsOf(child: PlanNode, parent: PlanNode): number {
  if (child.relationship === 'SubPlan') return Math.max(1, parent.rows);
  if (child.relationship !== 'Inner' || parent.type !== 'Nested Loop') return 1;
  const outer = parent.children.find(({ relationship }) => relationship === 'Outer');
  return outer === undefined ? Number.POSITIVE_INFINITY : Math.max(1, outer.rows);
}

/** Rows that come out. A Limit may be WITH TIES, which the plan does not say: then it limits nothing. */
function rowsOut(node: PlanNode): number {
  if (node.type !== 'Limit') return node.rows;
  const [input] = node.children.filter(({ relationship }) => !SUBQUERIES.has(relationship));
  return input === undefined ? Number.POSITIVE_INFINITY : rowsOut(input);
}

/** Rows of functions of which the planner knows nothing but its default. */
function isGuess(node: PlanNode): boolean {
  if (node.type === 'Function Scan') return node.rows === KNOWS_NOTHING;
  if (node.type !== 'ProjectSet') return false;
  const [input] = node.children;
  return node.rows >= KNOWS_NOTHING * Math.max(1, input?.rows ?? 1);
}

/** Anything that looks like a call. Blanks before the parenthesis are none of the deparser's doing. */
const CALL = /([A-Za-z_][A-Za-z0-9_$]*|")\(/g;
/** What the deparser writes like a call and is none. */
const SYNTAX = new Set(
  'coalesce greatest least nullif extract grouping row cast array any all exists numeric varchar bpchar char bit varbit time timestamp interval timestamptz character varying'.split(
    ' ',
  ),
);

/** It calls something that is not known to give a value of a few bytes. */
function folds(expression: string): boolean {
  for (const [, name = ''] of expression.matchAll(CALL)) {
    if (SYNTAX.has(name.toLowerCase())) continue;
    const builtin = builtinFunction(name.toLowerCase());
    if (builtin === undefined || builtin.folds || name.startsWith('percentile_')) return true;
  }
  return false;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function nodeOf(value: unknown, depth = 0): PlanNode | null {
  if (!isRecord(value) || depth > DEEPEST_PLAN) return null;
  const { 'Node Type': type, 'Plan Rows': rows, Output: output = [], Plans: plans = [] } = value;
  if (typeof type !== 'string' || typeof rows !== 'number' || !Array.isArray(output) || !Array.isArray(plans))
    return null;
  const children: PlanNode[] = [];
  for (const plan of plans) {
    const child = nodeOf(plan, depth + 1);
    if (child === null) return null;
    children.push(child);
  }
  return {
    type,
    rows,
    relationship: textOf(value['Parent Relationship']),
    subplan: textOf(value['Subplan Name']),
    output: output.map(textOf),
    children,
  };
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
